/* SPDX-License-Identifier: GPL-2.0-only */
/* balancer.c - the XDP load balancer: parse -> VIP lookup -> steer -> encapsulate -> transmit.
 *
 * A packet that is not for a VIP is passed to the kernel untouched, whatever it looks like. See README.md.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>

#include "types.h"
#include "verdicts.h"
#include "maps.h"
#include "parse.h"
#include "hash.h"
#include "vip.h"
#include "steer.h"
#include "encap.h"

static __always_inline void count(struct counter *counter, __u32 bytes)
{
	counter->packets++;
	counter->bytes += bytes;
}

/* All stages for one packet; stores the egress interface of a forwarded one. */
static __always_inline enum verdict balance(struct xdp_md *ctx, struct packet *pkt, __u32 *ifindex)
{
	enum verdict verdict = parse(ctx, pkt);

	if (verdict != CONTINUE)
		return verdict;

	struct vip *vip = vip_lookup(&pkt->vip);

	if (!vip)
		return PASS_NOT_VIP;

	__u32 vip_index = vip->index;
	struct vip_counter *vip_counter = vip_counters.lookup(&vip_index);

	if (vip_counter)
		count(&vip_counter->received, pkt->frame_bytes);

	__u32 hash = flow_hash(pkt);
	__u32 index = steer(vip, hash);
	struct backend *backend = backends.lookup(&index);

	if (!index || !backend)
		return DROP_NO_BACKEND;

	verdict = encap_ipv4(ctx, pkt, backend, hash);
	if (verdict != FORWARDED)
		return verdict;

	struct counter *backend_counter = backend_counters.lookup(&index);

	if (vip_counter)
		count(&vip_counter->forwarded, pkt->frame_bytes);
	if (backend_counter)
		count(backend_counter, pkt->frame_bytes);
	*ifindex = backend->ifindex;
	return FORWARDED;
}

int balancer(struct xdp_md *ctx)
{
	struct packet pkt = {};
	__u32 ifindex = 0;
	__u32 verdict = balance(ctx, &pkt, &ifindex);
	struct counter *counter = verdict_counters.lookup(&verdict);

	if (counter)
		count(counter, pkt.frame_bytes);
	if (verdict != FORWARDED)
		return verdict_action(verdict);
	if (ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return egress.redirect_map(ifindex, 0);
}
