/* SPDX-License-Identifier: GPL-2.0-only */
/* encap.h - decrement the TTL, wrap the packet for its backend (outer.h), send it. */
#ifndef LB_ENCAP_H
#define LB_ENCAP_H

#include "outer.h"

static __always_inline __u32 outer_bytes_for(const struct backend *backend)
{
	return outer_is_ipv4(backend) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
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
