/* SPDX-License-Identifier: GPL-2.0-only */
/* icmp.h - pings of a VIP, errors about our flows, and the errors that the balancer itself sends.
 *
 * Answers leave through the interface that the packet came in by, to the MAC that it came from, with the VIP as source:
 * the program has no address of its own, and the client's firewall expects the VIP.
 */
#ifndef LB_ICMP_H
#define LB_ICMP_H

#define ICMP_ERRORS_PER_SECOND 1000ULL	/* a CPU */
#define ICMP_BURST 1000ULL
#define ICMP_TOS 0xc0			/* internetwork control, as routers do (RFC 1812, 4.3.2.5) */

/* How much of the packet an error quotes at most: the error is to fit 576 and 1280 bytes (RFC 1812, 4443). */
#define QUOTE_IPV4 548
#define QUOTE_IPV6 1232

/* From <linux/icmp.h> and <linux/icmpv6.h>, which do not compile without the kernel's other headers. */
#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMP_ECHO_REQUEST 8
#define ICMP_TTL_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMPV6_UNREACHABLE 1
#define ICMPV6_TOO_BIG 2
#define ICMPV6_HOPS_EXCEEDED 3
#define ICMPV6_PARAMETER_PROBLEM 4
#define ICMPV6_ECHO_ASKED 128
#define ICMPV6_ECHO_ANSWER 129

struct icmp_header {
	__u8   type;
	__u8   code;
	__be16 check;
	__be32 rest;		/* MTU of the two "too big" kinds */
};

static __always_inline __be16 csum_update(__be16 check, __be16 from, __be16 to)
{
	return ~csum_fold((__u16)~check + (__u16)~from + to);
}

static __always_inline void swap_macs(void *data)
{
	__u16 *mac = data;

#pragma unroll
	for (int i = 0; i < 3; i++) {
		__u16 kept = mac[i];

		mac[i] = mac[i + 3];
		mac[i + 3] = kept;
	}
}

/* Whether there is one host to answer, and the packet came to this box alone (RFC 1122, 3.2.2; RFC 4443, 2.4).
 * Without it, a forged source or a broadcast frame turns VIPs into amplifiers.
 */
static __always_inline int icmp_answerable(struct xdp_md *ctx, const struct packet *pkt)
{
	__u8 *mac = (void *)(long)ctx->data;
	__u8 first = pkt->v6 ? pkt->src[0] : pkt->src[3];	/* in network order, the low byte comes first */

	if ((void *)(mac + 2 * ETH_ALEN) > (void *)(long)ctx->data_end || (mac[0] | mac[ETH_ALEN]) & 1)
		return 0;
	if (!pkt->v6)
		return first != 0 && first != 127 && first < 224;
	/* Unspecified, loopback and v4-mapped addresses all begin with 8 zero bytes. */
	return first != 0xff && (pkt->src[0] | pkt->src[1]);
}

/* Turns an echo request for a VIP into its reply, in place. */
static __always_inline enum verdict icmp_answer_echo(struct xdp_md *ctx, const struct packet *pkt)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	void *l3 = data + l2_bytes(pkt);
	struct icmp_header *icmp = l3 + pkt->l4;

	if ((void *)(icmp + 1) > end || l3 + sizeof(struct iphdr) > end)
		return DROP_MALFORMED;

	__be16 before = *(__be16 *)icmp;

	if (pkt->v6) {
		struct ipv6hdr *ip = l3;

		if ((void *)(ip + 1) > end)
			return DROP_MALFORMED;
		icmp->type = ICMPV6_ECHO_ANSWER;
		__builtin_memcpy(&ip->saddr, pkt->vip.addr, sizeof(ip->saddr));
		__builtin_memcpy(&ip->daddr, pkt->src, sizeof(ip->daddr));
		ip->hop_limit = OUTER_TTL;
	} else {
		struct iphdr *ip = l3;
		__be16 ttl_before = *(__be16 *)&ip->ttl;

		icmp->type = ICMP_ECHO_REPLY;
		ip->saddr = pkt->vip.addr[3];
		ip->daddr = pkt->src[3];
		ip->ttl = OUTER_TTL;
		ip->check = csum_update(ip->check, ttl_before, *(__be16 *)&ip->ttl);
	}
	icmp->check = csum_update(icmp->check, before, *(__be16 *)icmp);
	swap_macs(data);
	return ANSWERED_ECHO;
}

static __always_inline int icmp_is_error(const struct packet *pkt, __u8 type)
{
	if (pkt->v6)
		return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM;
	return type == ICMP_UNREACHABLE || type == ICMP_TTL_EXCEEDED || type == ICMP_PARAMETER_PROBLEM;
}

/* Makes the packet's addresses and ports those of the flow that an error quotes: the backend sent the quoted packet,
 * from the VIP to the client, so the flow is its reverse. 8 bytes of its transport header are enough.
 * Returns CONTINUE, or PASS_ICMP when it is about no flow that the ports tell.
 */
static __always_inline enum verdict icmp_quoted_flow(void *l3, void *end, struct packet *pkt)
{
	__be32 differs;
	__u8 proto;

	pkt->l4 += sizeof(struct icmp_header);
	if (pkt->v6) {
		struct ipv6hdr *quoted = l3 + pkt->l4;

		if ((void *)(quoted + 1) > end || quoted->version != 6)
			return PASS_ICMP;
		differs = quoted->saddr.in6_u.u6_addr32[0] ^ pkt->vip.addr[0];
		differs |= quoted->saddr.in6_u.u6_addr32[1] ^ pkt->vip.addr[1];
		differs |= quoted->saddr.in6_u.u6_addr32[2] ^ pkt->vip.addr[2];
		differs |= quoted->saddr.in6_u.u6_addr32[3] ^ pkt->vip.addr[3];
		__builtin_memcpy(pkt->src, &quoted->daddr, sizeof(pkt->src));
		pkt->l4 += sizeof(*quoted);
		proto = walk_extensions(l3, end, pkt, quoted->nexthdr);
		if (pkt->kind != KIND_FLOW)
			return PASS_ICMP;
	} else {
		struct iphdr *quoted = l3 + pkt->l4;

		if ((void *)(quoted + 1) > end || quoted->version != 4 || quoted->ihl < 5 ||
		    quoted->frag_off & bpf_htons(IP_OFFSET_MASK))
			return PASS_ICMP;
		differs = quoted->saddr ^ pkt->vip.addr[3];
		pkt->src[3] = quoted->daddr;
		pkt->l4 += quoted->ihl * 4;
		proto = quoted->protocol;
	}

	__be32 *ports = l3 + pkt->l4;

	if (differs || (proto != IPPROTO_TCP && proto != IPPROTO_UDP) || (void *)(ports + 1) > end ||
	    pkt->l4 + sizeof(*ports) > pkt->total_bytes)
		return PASS_ICMP;
	pkt->ports = *ports << 16 | *ports >> 16;
	pkt->vip.port = *ports;
	pkt->vip.proto = proto;
	pkt->first_fragment = 0;
	pkt->kind = KIND_ICMP;
	return CONTINUE;
}

/* ICMP for an address that has VIPs: answers pings, and prepares errors for steering.
 * Returns CONTINUE when pkt names the flow that the error is about.
 */
static __always_inline enum verdict icmp_receive(struct xdp_md *ctx, struct packet *pkt)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	void *l3 = data + l2_bytes(pkt);
	struct icmp_header *icmp = l3 + pkt->l4;

	if ((void *)(icmp + 1) > end || pkt->l4 + sizeof(*icmp) > pkt->total_bytes)
		return DROP_MALFORMED;
	if (icmp->type == (pkt->v6 ? ICMPV6_ECHO_ASKED : ICMP_ECHO_REQUEST) && !icmp->code) {
		if (is_land(pkt))
			return DROP_LAND;
		return icmp_answerable(ctx, pkt) ? icmp_answer_echo(ctx, pkt) : PASS_ICMP;
	}
	if (!icmp_is_error(pkt, icmp->type))
		return PASS_ICMP;
	return icmp_quoted_flow(l3, end, pkt);
}

/* Whether this CPU may send another error now. */
static __always_inline int icmp_allowed(void)
{
	__u32 zero = 0;
	struct icmp_bucket *bucket = icmp_buckets.lookup(&zero);

	if (!bucket)
		return 0;

	__u64 now_ns = bpf_ktime_get_ns();
	__u64 earned = (now_ns - bucket->filled_at_ns) * ICMP_ERRORS_PER_SECOND / NS_PER_SECOND;

	if (earned) {
		bucket->tokens = earned + bucket->tokens > ICMP_BURST ? ICMP_BURST : earned + bucket->tokens;
		bucket->filled_at_ns = now_ns;
	}
	if (!bucket->tokens)
		return 0;
	bucket->tokens--;
	return 1;
}

/* One's complement sum of what an error quotes: one block for each bit of its length, the longest first, so that the
 * verifier sees ten blocks at places of their own and not every length. bpf_csum_diff takes 4 to 512 bytes.
 */
static __always_inline __u32 quote_sum(void *quote, void *end, __u32 bytes, __u32 sum)
{
#pragma unroll
	for (int bit = 10; bit >= 2; bit--) {
		__u32 size = 1U << bit, half = size > 512 ? 512 : size;
		void *block = quote + (bytes & (2048 - 2 * size));

		if (!(bytes & size) || block + size > end)
			continue;
		sum = bpf_csum_diff(NULL, 0, block, half, sum);
		if (size > half)
			sum = bpf_csum_diff(NULL, 0, block + half, half, sum);
	}

	__u64 total = sum;
	__u8 *last = quote + (bytes & 2044);

	if (bytes & 2 && (void *)(last + 2) <= end)
		total += *(__u16 *)last;
	last = quote + (bytes & 2046);
	if (bytes & 1 && (void *)(last + 1) <= end)
		total += *last;
	return (total & 0xffffffff) + (total >> 32);
}

static __always_inline __u16 csum_fold32(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return csum_fold(sum);
}

/* Turns the packet into an ICMP error about itself: cuts it to what is quoted and puts headers in front.
 * Returns 1, or 0 with the frame spoilt when there is no headroom.
 */
static __always_inline int icmp_write_error(struct xdp_md *ctx, const struct packet *pkt, __u8 type, __u8 code,
					    __be32 rest)
{
	__u32 quote_bytes = pkt->v6 ? QUOTE_IPV6 : QUOTE_IPV4;
	__u32 ip_bytes = pkt->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u32 tags = pkt->tag_bytes;

	if (quote_bytes > pkt->total_bytes)
		quote_bytes = pkt->total_bytes;
	if (bpf_xdp_adjust_tail(ctx, (int)(l2_bytes(pkt) + quote_bytes) - (int)pkt->frame_bytes))
		return 0;
	if (bpf_xdp_adjust_head(ctx, -(int)(ip_bytes + sizeof(struct icmp_header))))
		return 0;

	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	void *old = data + ip_bytes + sizeof(struct icmp_header);
	void *l3 = data + sizeof(struct ethhdr) + (tags & 15);
	struct icmp_header *icmp = l3 + ip_bytes;
	void *quote = icmp + 1;

	/* Of a frame in several buffers, what is quoted may lie behind the first one, out of reach. */
	if (quote + sizeof(struct iphdr) > end || old + sizeof(struct ethhdr) + 2 * sizeof(struct vlan_tag) > end ||
	    quote + quote_bytes > end)
		return 0;
	__builtin_memcpy(data, old + 6, 6);
	__builtin_memcpy(data + 6, old, 6);
	copy_tags(data, old, tags);
	*(__be16 *)(l3 - sizeof(__be16)) = pkt->v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);

	icmp->type = type;
	icmp->code = code;
	icmp->rest = rest;

	__u32 sum = (__u32)(type | code << 8) + (rest & 0xffff) + (rest >> 16);

	if (pkt->v6) {
		struct ipv6hdr *ip = l3;
		__u32 length = sizeof(*icmp) + quote_bytes;

		*(__be32 *)ip = bpf_htonl(6U << 28 | ICMP_TOS << 20);
		ip->payload_len = bpf_htons(length);
		ip->nexthdr = IPPROTO_ICMPV6;
		ip->hop_limit = OUTER_TTL;
		__builtin_memcpy(&ip->saddr, pkt->vip.addr, sizeof(ip->saddr));
		__builtin_memcpy(&ip->daddr, pkt->src, sizeof(ip->daddr));
		/* The checksum covers a pseudo-header of addresses, length and protocol (RFC 4443, 2.3). */
		sum += bpf_htons(length) + bpf_htons(IPPROTO_ICMPV6);
#pragma unroll
		for (int i = 0; i < 4; i++) {
			sum += (pkt->vip.addr[i] & 0xffff) + (pkt->vip.addr[i] >> 16);
			sum += (pkt->src[i] & 0xffff) + (pkt->src[i] >> 16);
		}
	} else {
		struct iphdr *ip = l3;

		ip->version = 4;
		ip->ihl = 5;
		ip->tos = ICMP_TOS;
		ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*icmp) + quote_bytes);
		ip->id = 0;
		ip->frag_off = bpf_htons(IP_DF);
		ip->ttl = OUTER_TTL;
		ip->protocol = IPPROTO_ICMP;
		ip->saddr = pkt->vip.addr[3];
		ip->daddr = pkt->src[3];
		ip->check = ~csum_fold(bpf_htons(0x4500 | ICMP_TOS) + ip->tot_len + ip->frag_off +
				       bpf_htons(OUTER_TTL << 8 | IPPROTO_ICMP) + (ip->saddr & 0xffff) +
				       (ip->saddr >> 16) + (ip->daddr & 0xffff) + (ip->daddr >> 16));
	}
	icmp->check = ~csum_fold32(quote_sum(quote, end, quote_bytes, sum));
	return 1;
}

/* Answers a packet that died here. ICMP errors are never answered with another (RFC 1122, 3.2.2), nor are fragments
 * but the first.
 */
static __always_inline enum verdict icmp_ttl_exceeded(struct xdp_md *ctx, const struct packet *pkt)
{
	if (pkt->kind != KIND_FLOW || !icmp_answerable(ctx, pkt) || !icmp_allowed())
		return DROP_TTL_EXCEEDED;
	if (!icmp_write_error(ctx, pkt, pkt->v6 ? ICMPV6_HOPS_EXCEEDED : ICMP_TTL_EXCEEDED, 0, 0))
		return DROP_TTL_EXCEEDED;
	return ANSWERED_TTL_EXCEEDED;
}

/* Tells the sender what fits: the egress MTU without the outer header. */
static __always_inline enum verdict icmp_too_big(struct xdp_md *ctx, const struct packet *pkt, __u32 mtu_bytes)
{
	if (pkt->kind != KIND_FLOW || !icmp_answerable(ctx, pkt) || !icmp_allowed())
		return DROP_TOO_BIG;
	if (!icmp_write_error(ctx, pkt, pkt->v6 ? ICMPV6_TOO_BIG : ICMP_UNREACHABLE,
			      pkt->v6 ? 0 : ICMP_FRAGMENTATION_NEEDED, bpf_htonl(mtu_bytes)))
		return DROP_TOO_BIG;
	return ANSWERED_TOO_BIG;
}

#endif
