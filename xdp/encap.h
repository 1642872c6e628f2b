/* SPDX-License-Identifier: GPL-2.0-only */
/* encap.h - wrap the packet for its backend.
 *
 * IPv4 in IPv4, RFC 2003. The outer source is RSS-friendly: its low bits come from the flow hash, so that a backend's
 * NIC spreads tunnelled flows over its queues.
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

/* Returns FORWARDED with the frame ready to leave, or DROP_ENCAP_FAILED when there is no headroom.
 * Invalidates every pointer into the packet.
 */
static __always_inline enum verdict encap_ipv4(struct xdp_md *ctx, const struct packet *pkt,
					       const struct backend *backend, __u32 hash)
{
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct iphdr)))
		return DROP_ENCAP_FAILED;

	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *outer = (void *)(eth + 1);

	if ((void *)(outer + 1) > (void *)(long)ctx->data_end)
		return DROP_ENCAP_FAILED;

	__be32 low = bpf_htonl(hash) & backend->source_mask;

	__builtin_memcpy(eth, backend->mac, sizeof(backend->mac));
	eth->h_proto = bpf_htons(ETH_P_IP);

	outer->version = 4;
	outer->ihl = 5;
	outer->tos = pkt->tos;
	outer->tot_len = bpf_htons(pkt->total_bytes + sizeof(*outer));
	outer->id = pkt->id;
	/* A packet that may not be fragmented may not be fragmented in the tunnel either. */
	outer->frag_off = pkt->frag_off & bpf_htons(IP_DF);
	outer->ttl = OUTER_TTL;
	outer->protocol = IPPROTO_IPIP;
	outer->saddr = backend->source[3] | low;
	outer->daddr = backend->addr[3];
	/* One's complement sums do not care about byte order, so all terms stay as they lie in memory. */
	outer->check = ~csum_fold(backend->csum + ((__u32)pkt->tos << 8) + outer->tot_len + outer->id +
				  outer->frag_off + (low & 0xffff) + (low >> 16));
	return FORWARDED;
}

#endif
