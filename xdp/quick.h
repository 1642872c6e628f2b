/* SPDX-License-Identifier: GPL-2.0-only */
/* quick.h - the common packet, from parse to encapsulation, in registers.
 *
 * Untagged TCP or UDP over IPv4 without options or over IPv6 without extension headers, not a fragment, with nothing
 * against it. The stages are the same functions as everywhere; but compiled for one family at a time and with nothing
 * else possible, half of their work folds away. Whatever is out of the ordinary returns CONTINUE with the packet
 * untouched and nothing counted, and goes the general way from its beginning. (A flow's entry may have been refreshed or
 * made by then: doing so twice does no harm.)
 */
#ifndef LB_QUICK_H
#define LB_QUICK_H

/* Returns 1 with pkt filled for a packet that the quick way may take. */
static __always_inline int quick_parse(struct xdp_md *ctx, struct packet *pkt, int v6)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct iphdr *ip4 = data + sizeof(struct ethhdr);
	struct ipv6hdr *ip6 = data + sizeof(struct ethhdr);
	struct tcphdr *l4 = v6 ? (void *)(ip6 + 1) : (void *)(ip4 + 1);

	/* A frame too short for a TCP header is rare, and not worth a check of its own. */
	if ((void *)(l4 + 1) > end)
		return 0;
	if (v6) {
		if (*(__u8 *)ip6 >> 4 != 6)
			return 0;
		__builtin_memcpy(pkt->src, &ip6->saddr, sizeof(pkt->src));
		__builtin_memcpy(pkt->vip.addr, &ip6->daddr, sizeof(pkt->vip.addr));
		pkt->vip.proto = ip6->nexthdr;
		pkt->tos = ip6->priority << 4 | ip6->flow_lbl[0] >> 4;
		pkt->ttl = ip6->hop_limit;
		pkt->total_bytes = bpf_ntohs(ip6->payload_len) + sizeof(*ip6);
		/* The v4-mapped addresses are IPv4's. */
		if (pkt->vip.addr[2] == V4_MAPPED)
			return 0;
	} else {
		if (*(__u8 *)ip4 != 0x45 || ip4->frag_off & bpf_htons(IP_MF | IP_OFFSET_MASK))
			return 0;
		pkt->src[2] = V4_MAPPED;
		pkt->src[3] = ip4->saddr;
		pkt->vip.addr[2] = V4_MAPPED;
		pkt->vip.addr[3] = ip4->daddr;
		pkt->vip.proto = ip4->protocol;
		pkt->id = ip4->id;
		pkt->frag_off = ip4->frag_off;
		pkt->tos = ip4->tos;
		pkt->ttl = ip4->ttl;
		pkt->total_bytes = bpf_ntohs(ip4->tot_len);
	}

	__u32 l4_bytes = (void *)l4 - (void *)ip4;

	if (pkt->vip.proto == IPPROTO_TCP) {
		pkt->tcp_flags = ((__u8 *)l4)[13];
		l4_bytes += sizeof(struct tcphdr);
	} else if (pkt->vip.proto == IPPROTO_UDP) {
		l4_bytes += sizeof(struct udphdr);
	} else {
		return 0;
	}
	pkt->v6 = v6;
	pkt->kind = KIND_FLOW;
	pkt->frame_bytes = end - data;
	pkt->ports = *(__be32 *)l4;
	pkt->vip.port = pkt->ports >> 16;
	return pkt->total_bytes >= l4_bytes && pkt->total_bytes + sizeof(struct ethhdr) <= pkt->frame_bytes;
}

/* Returns CONTINUE for a packet that has to go the general way. */
static __always_inline enum verdict quick(struct xdp_md *ctx, __u32 *frame_bytes, __u32 *ifindex, int v6)
{
	struct packet pkt = {};

	if (!quick_parse(ctx, &pkt, v6) || pkt.ttl <= 1 || guard(&pkt) != CONTINUE)
		return CONTINUE;
	*frame_bytes = pkt.frame_bytes;

	struct vip *vip = vip_lookup(vip_table_now(), &pkt.vip);

	if (!vip)
		return PASS_NOT_VIP;

	__u32 hash = flow_hash(&pkt, vip->flags);
	__u32 index = steer(&pkt, vip, hash, steering_of(&pkt));
	struct backend *backend = backends.lookup(&index);

	__u32 vip_index = vip->index;
	struct vip_counter *vip_counter = vip_counters.lookup(&vip_index);

	if (!backend || !vip_counter)
		return CONTINUE;
	if (unlikely(!index || index == BACKEND_HELD)) {
		count(&vip_counter->received, pkt.frame_bytes);
		return index ? DROP_HELD : DROP_NO_BACKEND;
	}
	if (pkt.total_bytes + outer_bytes_for(backend) > backend->mtu_bytes)
		return CONTINUE;

	enum verdict verdict = wrap(ctx, &pkt, backend, hash, 0, 0);

	count(&vip_counter->received, pkt.frame_bytes);
	if (verdict != FORWARDED)
		return verdict;

	struct counter *backend_counter = backend_counters.lookup(&index);

	count(&vip_counter->forwarded, pkt.frame_bytes);
	if (backend_counter)
		count(backend_counter, pkt.frame_bytes);
	*ifindex = backend->ifindex;
	return FORWARDED;
}

#endif
