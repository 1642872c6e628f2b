/* SPDX-License-Identifier: GPL-2.0-only */
/* balancer.c - the XDP load balancer: parse -> (ICMP) -> VIP lookup -> guards -> steer -> size check -> encapsulate.
 *
 * A packet that is not for a VIP is passed to the kernel untouched, whatever it looks like. See README.md.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/ipv6.h>
#include <uapi/linux/tcp.h>
#include <uapi/linux/udp.h>

#include "types.h"
#include "verdicts.h"
#include "maps.h"
#include "parse.h"
#include "hash.h"
#include "vip.h"
#include "steer.h"
#include "fragment.h"
#include "encap.h"
#include "icmp.h"

static __always_inline void count(struct counter *counter, __u32 bytes)
{
	counter->packets++;
	counter->bytes += bytes;
}

/* Flag combinations that no TCP sends: none of the four, SYN with FIN or RST, FIN without ACK. One bit for each of
 * the 16 combinations of FIN, SYN, RST, ACK.
 */
#define BOGUS_TCP_FLAGS 0xc8ebU

/* What is for a VIP and yet must not go to a backend. Returns CONTINUE for a good packet. */
static __always_inline enum verdict guard(const struct packet *pkt)
{
	if (unlikely(is_land(pkt)))
		return DROP_LAND;
	if (pkt->vip.proto == IPPROTO_TCP && pkt->kind == KIND_FLOW) {
		__u32 flags = (pkt->tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST)) | (pkt->tcp_flags & TCP_ACK) >> 1;

		if (unlikely(BOGUS_TCP_FLAGS >> flags & 1))
			return DROP_TCP_FLAGS;
	}
	return CONTINUE;
}

#include "quick.h"

/* Where a packet goes: what steering and fragment records decide, and what forwarding carries out. */
struct decision {
	__u32 vip;		/* VIP index */
	__u32 backend;		/* backend index; 0 = none */
	__u32 hash;
	__u32 ifindex;		/* egress; set once the packet is wrapped */
};

static __always_inline void count_received(__u32 vip_index, const struct packet *pkt)
{
	struct vip_counter *counter = vip_counters.lookup(&vip_index);

	if (counter)
		count(&counter->received, pkt->frame_bytes);
}

/* A fragment without ports, for an address that has VIPs: CONTINUE when it follows a first one. */
static __always_inline enum verdict follow_fragment(const struct packet *pkt, struct decision *to)
{
	struct fragment *first = fragment_find(pkt);

	/* The first fragment of what has no ports passed, too. IPv6 may name another header here, but who does? (RFC 8200) */
	if (!first)
		return pkt->vip.proto == IPPROTO_TCP || pkt->vip.proto == IPPROTO_UDP || is_extension(pkt->vip.proto) ?
			       DROP_FRAGMENT :
			       PASS_NOT_VIP;
	to->vip = first->vip;
	to->backend = first->backend;
	to->hash = first->hash;
	count_received(to->vip, pkt);
	return pkt->ttl <= 1 ? DROP_TTL_EXCEEDED : CONTINUE;
}

/* A packet that has no ports of its own, other than ICMP and later fragments, which are looked at further. */
static __always_inline enum verdict judge_special(const struct packet *pkt, struct vip_table table)
{
	struct vip_key key = pkt->vip;

	if (pkt->kind == KIND_OTHER || !vip_has_address(table, &key))
		return pkt->kind == KIND_BROKEN ? PASS_MALFORMED : PASS_NOT_VIP;
	if (pkt->kind == KIND_BROKEN)
		return DROP_MALFORMED;
	return pkt->kind == KIND_DEEP ? DROP_HEADERS : CONTINUE;
}

/* A packet that names a flow: its own, or the one that an ICMP error is about. */
static __always_inline enum verdict steer_flow(struct xdp_md *ctx, struct packet *pkt, struct vip_table table, struct decision *to)
{
	struct vip *vip = vip_lookup(table, &pkt->vip);

	if (!vip)
		return pkt->kind == KIND_ICMP ? PASS_ICMP : PASS_NOT_VIP;
	to->vip = vip->index;
	count_received(to->vip, pkt);

	enum verdict verdict = guard(pkt);

	if (unlikely(verdict != CONTINUE))
		return verdict;
	if (unlikely(pkt->ttl <= 1))
		return icmp_ttl_exceeded(ctx, pkt);

	enum steering steering = unlikely(pkt->kind == KIND_ICMP) ? STEER_READ_ONLY : steering_of(pkt);

	to->hash = flow_hash(pkt, vip->flags);
	to->backend = steer(pkt, vip, to->hash, steering);
	if (unlikely(to->backend == BACKEND_HELD))
		return DROP_HELD;
	if (unlikely(pkt->first_fragment && to->backend))
		fragment_record(pkt, vip, to->backend, to->hash);
	return CONTINUE;
}

/* Sends the packet where it was decided. */
static __always_inline enum verdict forward(struct xdp_md *ctx, const struct packet *pkt, struct decision *to)
{
	struct backend *backend = backends.lookup(&to->backend);
	struct vip_counter *vip_counter = vip_counters.lookup(&to->vip);

	if (unlikely(!to->backend || !backend || !vip_counter))
		return DROP_NO_BACKEND;

	__u32 room_bytes = backend->mtu_bytes - outer_bytes_for(backend);

	if (unlikely(pkt->total_bytes > room_bytes)) {
		vip_counter->too_big++;
		return icmp_too_big(ctx, pkt, room_bytes);
	}

	enum verdict verdict = encapsulate(ctx, pkt, backend, to->hash);

	if (unlikely(verdict != FORWARDED))
		return verdict;

	struct counter *backend_counter = backend_counters.lookup(&to->backend);

	count(&vip_counter->forwarded, pkt->frame_bytes);
	if (backend_counter)
		count(backend_counter, pkt->frame_bytes);
	to->ifindex = backend->ifindex;
	if (unlikely(pkt->kind != KIND_FLOW))
		return pkt->kind == KIND_ICMP ? FORWARDED_ICMP_ERROR : FORWARDED_FRAGMENT;
	return FORWARDED;
}

static __always_inline enum verdict balance(struct xdp_md *ctx, struct packet *pkt, struct decision *to)
{
	enum verdict verdict = parse(ctx, pkt);

	if (unlikely(verdict != CONTINUE))
		return verdict;

	struct vip_table table = vip_table_now();

	if (unlikely(pkt->kind != KIND_FLOW)) {
		verdict = judge_special(pkt, table);
		if (verdict == CONTINUE && pkt->kind == KIND_ICMP)
			verdict = icmp_receive(ctx, pkt);
		if (verdict != CONTINUE)
			return verdict;
	}
	if (unlikely(pkt->kind == KIND_LATER_FRAGMENT))
		verdict = follow_fragment(pkt, to);
	else
		verdict = steer_flow(ctx, pkt, table, to);
	return unlikely(verdict != CONTINUE) ? verdict : forward(ctx, pkt, to);
}

/* The quick way for the common packet, the general way for all others. */
static __always_inline enum verdict dispatch(struct xdp_md *ctx, __u32 *frame_bytes, __u32 *ifindex)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	enum verdict verdict = CONTINUE;

	if ((void *)(eth + 1) <= (void *)(long)ctx->data_end) {
		if (eth->h_proto == bpf_htons(ETH_P_IP))
			verdict = quick(ctx, frame_bytes, ifindex, 0);
		else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
			verdict = quick(ctx, frame_bytes, ifindex, 1);
	}
	if (likely(verdict != CONTINUE))
		return verdict;

	struct packet pkt = {};
	struct decision to = {};

	verdict = balance(ctx, &pkt, &to);
	*frame_bytes = pkt.frame_bytes;
	*ifindex = to.ifindex;
	return verdict;
}

int balancer(struct xdp_md *ctx)
{
	__u32 frame_bytes = 0, ifindex = 0;
	__u32 verdict = dispatch(ctx, &frame_bytes, &ifindex);
	struct counter *counter = verdict_counters.lookup(&verdict);

	if (counter)
		count(counter, frame_bytes);
	if (verdict >= FIRST_DROP)
		return XDP_DROP;
	if (verdict >= FIRST_PASS)
		return XDP_PASS;
	/* Answers have no egress interface: they go back where the packet came from. */
	if (!ifindex || ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return egress.redirect_map(ifindex, 0);
}
