/* SPDX-License-Identifier: GPL-2.0-only */
/* outer.h - the outer header; the caller has made room for it.
 *
 * IPv4 in IPv4 (RFC 2003), IPv6 in IPv6 and IPv4 in IPv6 (RFC 2473), IPv6 in IPv4 (RFC 4213). The outer source is
 * RSS-friendly: its low bits come from the flow hash, so that a backend's NIC spreads tunnelled flows over its queues.
 * DSCP and ECN are copied outwards (RFC 6040). `hash`: of the flow; `low`: the outer source's share of it.
 */
#ifndef LB_OUTER_H
#define LB_OUTER_H

#define OUTER_TTL 64

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static __always_inline int outer_is_ipv4(const struct backend *backend)
{
	return backend->addr[2] == V4_MAPPED && !(backend->addr[0] | backend->addr[1]);
}

static __always_inline void write_outer_ipv4(struct iphdr *outer, const struct packet *pkt,
					     const struct backend *backend, __be32 low)
{
	/* Fragments of one datagram share an identification, the packets that carry them must not: if those are fragmented
	 * on their way, their pieces would be mixed up (RFC 6864).
	 */
	__be16 id = pkt->id ^ (pkt->frag_off & bpf_htons(IP_MF | IP_OFFSET_MASK));
	/* A packet that may not be fragmented may not be fragmented in the tunnel either (RFC 2003, 3.1). */
	__be16 frag_off = pkt->frag_off & bpf_htons(IP_DF);
	__u16 proto = IPPROTO_IPIP;

	if (pkt->v6) {
		/* The tunnel's MTU is static, so routers on the way may fragment (RFC 4213, 3.2.1). */
		id = bpf_get_prandom_u32();
		frag_off = 0;
		proto = IPPROTO_IPV6;
	}
	outer->version = 4;
	outer->ihl = 5;
	outer->tos = pkt->tos;
	outer->tot_len = bpf_htons(pkt->total_bytes + sizeof(*outer));
	outer->id = id;
	outer->frag_off = frag_off;
	outer->ttl = OUTER_TTL;
	outer->protocol = proto;
	outer->saddr = backend->source[3] | low;
	outer->daddr = backend->addr[3];
	/* One's complement sums do not care about byte order, so all terms stay as they lie in memory. backend->csum
	 * was computed for IPPROTO_IPIP.
	 */
	outer->check = ~csum_fold(backend->csum + ((__u32)pkt->tos << 8) + outer->tot_len + id + frag_off +
				  (low & 0xffff) + (low >> 16) + ((__u32)(proto - IPPROTO_IPIP) << 8));
}

static __always_inline void write_outer_ipv6(struct ipv6hdr *outer, const struct packet *pkt,
					     const struct backend *backend, __u32 hash, __be32 low)
{
	/* The flow label lets routers spread tunnelled flows too (RFC 6438). */
	*(__be32 *)outer = bpf_htonl(6U << 28 | (__u32)pkt->tos << 20 | (hash & 0xfffff));
	outer->payload_len = bpf_htons(pkt->total_bytes);
	outer->nexthdr = pkt->v6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
	outer->hop_limit = OUTER_TTL;
	__builtin_memcpy(&outer->saddr, backend->source, 12);
	outer->saddr.in6_u.u6_addr32[3] = backend->source[3] | low;
	__builtin_memcpy(&outer->daddr, backend->addr, 16);
}

#endif
