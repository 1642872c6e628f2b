/* SPDX-License-Identifier: GPL-2.0-only */
/* encap.h - decrement the TTL, wrap the packet for its backend, send it.
 *
 * IPv4 in IPv4 (RFC 2003), IPv6 in IPv6 and IPv4 in IPv6 (RFC 2473), IPv6 in IPv4 (RFC 4213). The outer source is
 * RSS-friendly: its low bits come from the flow hash, so that a backend's NIC spreads tunnelled flows over its queues.
 * DSCP and ECN are copied outwards (RFC 6040).
 */
#ifndef LB_ENCAP_H
#define LB_ENCAP_H

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

static __always_inline __u32 outer_bytes_for(const struct backend *backend)
{
	return outer_is_ipv4(backend) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
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

/* As a router does, before the packet enters the tunnel (RFC 2003, 3.1). The checksum is updated, not computed anew: a
 * wrong one stays wrong and is left for the backend to refuse (RFC 1624).
 */
static __always_inline void decrement_ttl(void *inner, const struct packet *pkt)
{
	if (unlikely(pkt->v6)) {
		((struct ipv6hdr *)inner)->hop_limit--;
	} else {
		struct iphdr *ip = inner;
		__u32 check = ip->check + bpf_htons(0x0100);

		ip->check = check + (check >= 0xffff);
		ip->ttl--;
	}
}

/* Word by word: the compiler would copy a packet's bytes one at a time. */
static __always_inline void write_macs(__u32 *to, const struct backend *backend)
{
	to[0] = backend->mac[0];
	to[1] = backend->mac[1];
	to[2] = backend->mac[2];
}

/* Copies VLAN tags from the frame's old header to its new one, which lie at least an outer header apart. */
static __always_inline void copy_tags(void *to, const void *from, __u32 tag_bytes)
{
	if (likely(!tag_bytes))
		return;
	*(__u32 *)(to + 12) = *(__u32 *)(from + 12);
	if (tag_bytes > sizeof(struct vlan_tag))
		*(__u32 *)(to + 16) = *(__u32 *)(from + 16);
}

/* Wraps the frame, whose link-layer header has `tags_in` bytes of tags and is to have `tags_out`. */
static __always_inline enum verdict wrap(struct xdp_md *ctx, const struct packet *pkt, const struct backend *backend,
					 __u32 hash, __u32 tags_in, __u32 tags_out)
{
	int ipv4 = outer_is_ipv4(backend);
	__u32 outer_bytes = outer_bytes_for(backend);

	if (bpf_xdp_adjust_head(ctx, -(int)(outer_bytes + tags_out - tags_in)))
		return DROP_ENCAP_FAILED;

	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	void *old = data + outer_bytes + tags_out - tags_in;
	void *outer = data + sizeof(struct ethhdr) + tags_out;
	void *inner = outer + outer_bytes;
	__be32 low = bpf_htonl(hash) & backend->source_mask;

	/* The shorter of the two inner headers: all that is touched of either. */
	if (inner + sizeof(struct iphdr) > end || old + sizeof(struct ethhdr) + tags_in > end)
		return DROP_ENCAP_FAILED;
	decrement_ttl(inner, pkt);
	copy_tags(data, old, tags_out);
	write_macs(data, backend);
	*(__be16 *)(data + 12 + tags_out) = ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	if (likely(ipv4))
		write_outer_ipv4(outer, pkt, backend, low);
	else
		write_outer_ipv6(outer, pkt, backend, hash, low);
	return FORWARDED;
}

/* Returns FORWARDED with the frame ready to leave, or DROP_ENCAP_FAILED when there is no headroom.
 * Invalidates every pointer into the packet.
 */
static __always_inline enum verdict encapsulate(struct xdp_md *ctx, const struct packet *pkt,
						const struct backend *backend, __u32 hash)
{
	/* The mask tells the verifier what parse() knows. */
	__u32 tags = pkt->tag_bytes & 12;

	if (likely(!tags))
		return wrap(ctx, pkt, backend, hash, 0, 0);
	/* Tags belong to the link that the packet came in by. */
	return wrap(ctx, pkt, backend, hash, tags, backend->ifindex == ctx->ingress_ifindex ? tags : 0);
}

#endif
