/* SPDX-License-Identifier: GPL-2.0-only */
/* verdicts.h - what became of a packet: every packet ends in exactly one verdict.
 *
 * Numbers are stored, exported and documented, so a list grows at the end of its range only: from 1 what is sent on,
 * from 16 what passes to the kernel, from 32 what is dropped. lb/core/verdicts.py, proto/lb/v1/stats.proto and
 * xdp/README.md hold the same list; a test compares them.
 */
#ifndef LB_VERDICTS_H
#define LB_VERDICTS_H

enum verdict {
	CONTINUE = 0,		/* not a verdict: the next stage decides */

	FORWARDED = 1,
	FORWARDED_FRAGMENT = 2,
	FORWARDED_ICMP_ERROR = 3,
	ANSWERED_ECHO = 4,
	ANSWERED_TTL_EXCEEDED = 5,
	ANSWERED_TOO_BIG = 6,

	PASS_NOT_IP = 16,
	PASS_NOT_VIP = 17,
	PASS_MALFORMED = 18,
	PASS_ICMP = 19,

	DROP_NO_BACKEND = 32,
	DROP_ENCAP_FAILED = 33,
	DROP_MALFORMED = 34,
	DROP_LAND = 35,
	DROP_TCP_FLAGS = 36,
	DROP_TTL_EXCEEDED = 37,
	DROP_TOO_BIG = 38,
	DROP_FRAGMENT = 39,
	DROP_HEADERS = 40,
	DROP_HELD = 41,
};

#define FIRST_PASS 16
#define FIRST_DROP 32

#endif
