/* SPDX-License-Identifier: GPL-2.0-only */
/* parse.h - frame -> struct packet.
 *
 * Never writes to the frame. parse() says what kind of packet it is; only a packet too short to have a destination
 * gets its verdict here, because whether a broken packet is ours to drop depends on the address it is for.
 */
#ifndef LB_PARSE_H
#define LB_PARSE_H

#include "packet.h"

#define IPV6_OFFSET_MASK 0xfff8
#define IPV6_MF 0x0001
#define MAX_VLAN_TAGS 2
#define MAX_EXTENSION_HEADERS 6

/* The half of struct packet's ports that holds the destination port. */
#define DESTINATION_PORT 0xffff0000U

/* Transport headers without options. */
#define UDP_BYTES 8U
#define TCP_BYTES 20U

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* Length of the Ethernet header with its tags. */
static __always_inline __u32 l2_bytes(const struct packet *pkt)
{
	return sizeof(struct ethhdr) + pkt->tag_bytes;
}

struct vlan_tag {
	__be16 tci;
	__be16 proto;
};

struct extension_header {
	__u8 next;
	__u8 length;		/* in 8-byte units, not counting the first */
	__be16 offset;		/* fragment header: offset and "more" */
	__be32 id;		/* fragment header: identification */
};

/* Ports, and the flags of TCP, of a packet that has its transport header at l3 + pkt->l4. */
static __always_inline void parse_ports(void *l3, void *end, struct packet *pkt)
{
	__be32 *ports = l3 + pkt->l4;

	pkt->kind = KIND_BROKEN;
	if (unlikely((void *)ports + UDP_BYTES > end || pkt->l4 + UDP_BYTES > pkt->total_bytes))
		return;
	pkt->ports = *ports;
	pkt->vip.port = *ports >> 16;
	if (pkt->vip.proto == IPPROTO_TCP) {
		/* A first fragment so short that its flags lie in the second is an evasion (RFC 1858). */
		if (unlikely((void *)ports + TCP_BYTES > end || pkt->l4 + TCP_BYTES > pkt->total_bytes))
			return;
		pkt->tcp_flags = *((__u8 *)ports + 13);
	}
	pkt->kind = KIND_FLOW;
}

static __always_inline enum verdict parse_ipv4(void *l3, void *end, struct packet *pkt)
{
	struct iphdr *ip = l3;

	if (unlikely((void *)(ip + 1) > end || ip->version != 4))
		return PASS_MALFORMED;

	pkt->src[2] = V4_MAPPED;
	pkt->src[3] = ip->saddr;
	pkt->vip.addr[2] = V4_MAPPED;
	pkt->vip.addr[3] = ip->daddr;
	pkt->vip.proto = ip->protocol;
	pkt->id = ip->id;
	pkt->frag_off = ip->frag_off;
	pkt->tos = ip->tos;
	pkt->ttl = ip->ttl;
	pkt->total_bytes = bpf_ntohs(ip->tot_len);
	pkt->l4 = ip->ihl * 4;

	if (unlikely(pkt->l4 < sizeof(*ip) || pkt->total_bytes < pkt->l4 ||
		     pkt->total_bytes + l2_bytes(pkt) > pkt->frame_bytes)) {
		pkt->kind = KIND_BROKEN;
	} else if (likely(ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP)) {
		if (unlikely(ip->frag_off & bpf_htons(IP_OFFSET_MASK))) {
			pkt->kind = KIND_LATER_FRAGMENT;
		} else {
			pkt->first_fragment = !!(ip->frag_off & bpf_htons(IP_MF));
			parse_ports(l3, end, pkt);
		}
	} else if (ip->protocol == IPPROTO_ICMP && !(ip->frag_off & bpf_htons(IP_MF | IP_OFFSET_MASK))) {
		pkt->kind = KIND_ICMP;
	} else {
		pkt->kind = KIND_OTHER;
	}
	return CONTINUE;
}

static __always_inline int is_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS || next == IPPROTO_FRAGMENT;
}

/* Steps over extension headers from pkt->l4 on, with `next` the type of the first.
 * Returns the type of the first header that is none; sets pkt->l4 to it and pkt->kind to what stopped the walk,
 * KIND_FLOW when nothing did.
 */
static __always_inline __u8 walk_extensions(void *l3, void *end, struct packet *pkt, __u8 next)
{
	pkt->kind = KIND_FLOW;
#pragma unroll
	for (int i = 0; i <= MAX_EXTENSION_HEADERS; i++) {
		struct extension_header *header = l3 + pkt->l4;

		if (likely(!is_extension(next)))
			return next;
		if (i == MAX_EXTENSION_HEADERS)
			break;
		if ((void *)(header + 1) > end || pkt->l4 + sizeof(*header) > pkt->total_bytes) {
			pkt->kind = KIND_BROKEN;
			return next;
		}
		if (next == IPPROTO_FRAGMENT) {
			pkt->id = header->id;
			pkt->l4 += sizeof(*header);
			next = header->next;
			if (header->offset & bpf_htons(IPV6_OFFSET_MASK)) {
				pkt->kind = KIND_LATER_FRAGMENT;
				return next;
			}
			/* With "more" clear as well it is an atomic fragment: whole (RFC 6946). */
			pkt->first_fragment |= !!(header->offset & bpf_htons(IPV6_MF));
		} else {
			pkt->l4 += (header->length + 1) * 8;
			next = header->next;
		}
	}
	pkt->kind = KIND_DEEP;
	return next;
}

static __always_inline enum verdict parse_ipv6(void *l3, void *end, struct packet *pkt)
{
	struct ipv6hdr *ip = l3;

	if (unlikely((void *)(ip + 1) > end || ip->version != 6))
		return PASS_MALFORMED;

	__builtin_memcpy(pkt->src, &ip->saddr, sizeof(pkt->src));
	__builtin_memcpy(pkt->vip.addr, &ip->daddr, sizeof(pkt->vip.addr));
	pkt->v6 = 1;
	pkt->tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	pkt->ttl = ip->hop_limit;
	pkt->total_bytes = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	pkt->l4 = sizeof(*ip);

	/* A v4-mapped address has no business on the wire, and its key would be that of an IPv4 VIP. */
	if (unlikely(pkt->vip.addr[2] == V4_MAPPED && !(pkt->vip.addr[0] | pkt->vip.addr[1]))) {
		pkt->kind = KIND_OTHER;
		return CONTINUE;
	}
	if (unlikely(pkt->total_bytes + l2_bytes(pkt) > pkt->frame_bytes)) {
		pkt->kind = KIND_BROKEN;
		return CONTINUE;
	}

	__u8 proto = walk_extensions(l3, end, pkt, ip->nexthdr);

	pkt->vip.proto = proto;
	if (unlikely(pkt->kind != KIND_FLOW))
		return CONTINUE;
	if (likely(proto == IPPROTO_TCP || proto == IPPROTO_UDP))
		parse_ports(l3, end, pkt);
	else if (proto == IPPROTO_ICMPV6 && !pkt->first_fragment)
		pkt->kind = KIND_ICMP;
	else
		pkt->kind = KIND_OTHER;
	return CONTINUE;
}

/* Returns CONTINUE with pkt->kind set, or the verdict of a packet without a destination address. */
static __always_inline enum verdict parse(struct xdp_md *ctx, struct packet *pkt)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;

#ifdef MULTI_BUFFER
	pkt->frame_bytes = bpf_xdp_get_buff_len(ctx);
#else
	pkt->frame_bytes = end - data;
#endif
	if (unlikely((void *)(eth + 1) > end))
		return PASS_NOT_IP;

	__be16 proto = eth->h_proto;
	void *l3 = eth + 1;

#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		struct vlan_tag *tag = l3;

		if (likely(proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD)))
			break;
		if ((void *)(tag + 1) > end)
			return PASS_NOT_IP;
		proto = tag->proto;
		l3 = tag + 1;
		pkt->tag_bytes += sizeof(*tag);
	}
	if (likely(proto == bpf_htons(ETH_P_IP)))
		return parse_ipv4(l3, end, pkt);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(l3, end, pkt);
	return PASS_NOT_IP;
}

#endif
