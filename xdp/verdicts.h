/* SPDX-License-Identifier: GPL-2.0-only */
/* verdicts.h - what became of a packet: every packet ends in exactly one verdict.
 *
 * The list is append-only: numbers are stored, exported and documented. lb/core/verdicts.py, proto/lb/v1/stats.proto
 * and xdp/README.md hold the same list; a test compares them.
 */
#ifndef LB_VERDICTS_H
#define LB_VERDICTS_H

enum verdict {
	CONTINUE = 0,		/* not a verdict: the next stage decides */
	FORWARDED = 1,
	PASS_NOT_IP = 2,
	PASS_NOT_VIP = 3,
	PASS_MALFORMED = 4,
	PASS_FRAGMENT = 5,
	PASS_PROTOCOL = 6,
	DROP_NO_BACKEND = 7,
	DROP_ENCAP_FAILED = 8,
	VERDICT_COUNT
};

/* The XDP action of every verdict but FORWARDED, whose action depends on the egress interface. */
static __always_inline int verdict_action(enum verdict verdict)
{
	return verdict >= DROP_NO_BACKEND ? XDP_DROP : XDP_PASS;
}

#endif
