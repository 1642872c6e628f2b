/* SPDX-License-Identifier: GPL-2.0-only */
/* parse.h - frame -> struct packet.
 *
 * Never writes to the packet. Returns CONTINUE with all fields set, or the verdict of a packet that is not ours.
 */
#ifndef LB_PARSE_H
#define LB_PARSE_H

#define bpf_htons(x) ((__be16)__builtin_bswap16(x))
#define bpf_ntohs(x) __builtin_bswap16(x)
#define bpf_htonl(x) ((__be32)__builtin_bswap32(x))

#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET_MASK 0x1fff

struct packet {
	struct vip_key vip;	/* destination: what the VIP lookup takes */
	__be32 src[4];
	__be32 ports;		/* source and destination port, as they stand in the header */
	__u32  frame_bytes;
	__u16  total_bytes;	/* of the IP packet, without the frame's padding */
	__be16 id;		/* IPv4 identification */
	__be16 frag_off;	/* IPv4: DF as it stood */
	__u8   tos;
};

/* IPv4 with TCP or UDP. */
static __always_inline enum verdict parse_ipv4(void *l3, void *end, struct packet *pkt)
{
	struct iphdr *ip = l3;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return PASS_MALFORMED;
	if (ip->frag_off & bpf_htons(IP_MF | IP_OFFSET_MASK))
		return PASS_FRAGMENT;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return PASS_PROTOCOL;

	pkt->total_bytes = bpf_ntohs(ip->tot_len);
	if (l3 + pkt->total_bytes > end)
		return PASS_MALFORMED;

	/* Both protocols begin with the two ports. */
	__be32 *ports = l3 + ip->ihl * 4;

	if ((void *)(ports + 1) > end || pkt->total_bytes < ip->ihl * 4 + sizeof(*ports))
		return PASS_MALFORMED;

	pkt->vip.addr[2] = bpf_htonl(0xffff);
	pkt->vip.addr[3] = ip->daddr;
	pkt->vip.port = *ports >> 16;
	pkt->vip.proto = ip->protocol;
	pkt->src[2] = bpf_htonl(0xffff);
	pkt->src[3] = ip->saddr;
	pkt->ports = *ports;
	pkt->id = ip->id;
	pkt->frag_off = ip->frag_off;
	pkt->tos = ip->tos;
	return CONTINUE;
}

static __always_inline enum verdict parse(struct xdp_md *ctx, struct packet *pkt)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;

	pkt->frame_bytes = end - data;
	if ((void *)(eth + 1) > end)
		return PASS_MALFORMED;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(eth + 1, end, pkt);
	return PASS_NOT_IP;
}

#endif
