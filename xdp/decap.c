/* SPDX-License-Identifier: GPL-2.0-only */
/* decap.c - the backend's end of the tunnel, for hosts whose kernel has no tunnel devices. See DECAP.md.
 *
 * Strips the outer header of a tunnel packet for this host and hands the inner packet to the kernel: IPv4 or IPv6 in
 * IPv4 or IPv6. Everything else passes untouched, so a packet that it does not understand meets what the kernel would
 * have done with it.
 *
 * Compiled with the host's addresses, so that there is no map: -DDECAP_IPV4=N as a __be32, -DDECAP_IPV6_HIGH=N and
 * -DDECAP_IPV6_LOW=N as the two halves lie in memory. A family without an address costs nothing and unwraps nothing.
 * -DMULTI_BUFFER where the driver spreads jumbo frames over several buffers.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/ipv6.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define bpf_htons(x) ((__be16)__builtin_bswap16(x))
#define bpf_ntohs(x) __builtin_bswap16(x)

#ifdef DECAP_IPV4
#define HAS_IPV4 1
#else
#define HAS_IPV4 0
#define DECAP_IPV4 0
#endif

#ifdef DECAP_IPV6_LOW
#define HAS_IPV6 1
#else
#define HAS_IPV6 0
#define DECAP_IPV6_HIGH 0
#define DECAP_IPV6_LOW 0
#endif

#define IPV4_WITHOUT_OPTIONS 0x45 /* version 4, 5 words */
#define IP_FRAGMENT_MASK 0x3fff /* "more fragments" and the offset: zero in a whole packet */
#define ECN_MASK 3
#define ECN_ECT1 1
#define ECN_ECT0 2
#define ECN_CE 3
#define ECN_DROP 4

struct vlan_tag {
	__be16 tci;
	__be16 proto;
};

/* What an outer header says about the packet inside. */
struct tunnel {
	__u32 outer_bytes;	/* 0: not a tunnel packet for us */
	__u32 inner_bytes;	/* room for the inner packet */
	__u8  proto;		/* IPPROTO_IPIP or IPPROTO_IPV6 */
	__u8  ecn;
};

/* True when the sum over an IPv4 header without options is right. The kernel's devices check it, so this does too: a
 * balancer that computes it wrongly must not look right here.
 */
static __always_inline int ipv4_checksum_ok(const struct iphdr *ip)
{
	const __u32 *words = (const void *)ip;
	__u64 sum = (__u64)words[0] + words[1] + words[2] + words[3] + words[4];

	/* At most 0x20002, then 0x10001: no further carry can give 0xffff. */
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* Options and fragments are not ours: no balancer sends the first, and only the kernel can put together the second. */
static __always_inline struct tunnel outer_ipv4(const struct iphdr *outer, const void *end, __u32 l3_bytes)
{
	struct tunnel none = {}, found = {.outer_bytes = sizeof(*outer)};

	if ((const void *)(outer + 1) > end || outer->daddr != DECAP_IPV4)
		return none;
	if (*(const __u8 *)outer != IPV4_WITHOUT_OPTIONS || (outer->frag_off & bpf_htons(IP_FRAGMENT_MASK)))
		return none;

	__u32 total_bytes = bpf_ntohs(outer->tot_len);

	if (total_bytes < sizeof(*outer) || total_bytes > l3_bytes || !ipv4_checksum_ok(outer))
		return none;
	found.inner_bytes = total_bytes - sizeof(*outer);
	found.proto = outer->protocol;
	found.ecn = outer->tos & ECN_MASK;
	return found;
}

static __always_inline __u8 ipv6_ecn(const struct ipv6hdr *ip)
{
	return ip->flow_lbl[0] >> 4 & ECN_MASK;
}

static __always_inline struct tunnel outer_ipv6(const struct ipv6hdr *outer, const void *end, __u32 l3_bytes)
{
	struct tunnel none = {}, found = {.outer_bytes = sizeof(*outer)};
	const __u64 *to = (const void *)&outer->daddr;

	if ((const void *)(outer + 1) > end || to[0] != DECAP_IPV6_HIGH || to[1] != DECAP_IPV6_LOW)
		return none;
	found.inner_bytes = bpf_ntohs(outer->payload_len);
	if (outer->version != 6 || found.inner_bytes + sizeof(*outer) > l3_bytes)
		return none;
	found.proto = outer->nexthdr;
	found.ecn = ipv6_ecn(outer);
	return found;
}

/* ECN of the packet that comes out (RFC 6040, 4.2), or ECN_DROP: a router has marked what cannot carry the mark. */
static __always_inline __u8 combined_ecn(__u8 outer, __u8 inner)
{
	if (outer == ECN_CE)
		return inner ? ECN_CE : ECN_DROP;
	return outer == ECN_ECT1 && inner == ECN_ECT0 ? ECN_ECT1 : inner;
}

/* Incremental, so that a wrong checksum stays wrong (RFC 1624). */
static __always_inline void ipv4_set_ecn(struct iphdr *ip, __u8 ecn)
{
	__be16 *first = (void *)ip;
	__u32 sum = (__u16)~ip->check + (__u16)~*first;

	ip->tos = (ip->tos & ~ECN_MASK) | ecn;
	sum += *first;
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~((sum & 0xffff) + (sum >> 16));
}

static __always_inline void ipv6_set_ecn(struct ipv6hdr *ip, __u8 ecn)
{
	ip->flow_lbl[0] = (ip->flow_lbl[0] & ~(ECN_MASK << 4)) | ecn << 4;
}

/* Each returns XDP_PASS with *proto set to the ethertype of a good inner packet, XDP_PASS with *proto unchanged when
 * it does not fit, or XDP_DROP.
 */
static __always_inline int inner_ipv4(struct iphdr *inner, const void *end, const struct tunnel *tunnel, __be16 *proto)
{
	if ((const void *)(inner + 1) > end || inner->version != 4)
		return XDP_PASS;

	__u32 total_bytes = bpf_ntohs(inner->tot_len), header_bytes = inner->ihl * 4;

	if (header_bytes < sizeof(*inner) || total_bytes < header_bytes || total_bytes > tunnel->inner_bytes)
		return XDP_PASS;
	if (unlikely((inner->tos & ECN_MASK) != tunnel->ecn)) {
		__u8 ecn = combined_ecn(tunnel->ecn, inner->tos & ECN_MASK);

		if (ecn == ECN_DROP)
			return XDP_DROP;
		ipv4_set_ecn(inner, ecn);
	}
	*proto = bpf_htons(ETH_P_IP);
	return XDP_PASS;
}

static __always_inline int inner_ipv6(struct ipv6hdr *inner, const void *end, const struct tunnel *tunnel,
				      __be16 *proto)
{
	if ((const void *)(inner + 1) > end || inner->version != 6 ||
	    bpf_ntohs(inner->payload_len) + sizeof(*inner) > tunnel->inner_bytes)
		return XDP_PASS;
	if (unlikely(ipv6_ecn(inner) != tunnel->ecn)) {
		__u8 ecn = combined_ecn(tunnel->ecn, ipv6_ecn(inner));

		if (ecn == ECN_DROP)
			return XDP_DROP;
		ipv6_set_ecn(inner, ecn);
	}
	*proto = bpf_htons(ETH_P_IPV6);
	return XDP_PASS;
}

/* Moves the Ethernet header and its tag over the end of the outer header, and cuts off what is in front of them. */
static __always_inline int strip(struct xdp_md *ctx, __u32 outer_bytes, __u32 tag_bytes, __be16 proto)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	void *to = data + outer_bytes;

	if (to + sizeof(struct ethhdr) + tag_bytes > end)
		return XDP_ABORTED; /* cannot be: the inner header lies behind; the verifier wants to see it */
	__builtin_memcpy(to, data, 2 * ETH_ALEN + tag_bytes);
	*(__be16 *)(to + 2 * ETH_ALEN + tag_bytes) = proto;
	return bpf_xdp_adjust_head(ctx, (int)outer_bytes) ? XDP_ABORTED : XDP_PASS;
}

/* Unwraps a frame whose IP header, of type `proto`, comes behind `tag_bytes` of tags. */
static __always_inline int unwrap(struct xdp_md *ctx, __be16 proto, __u32 tag_bytes)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	void *outer = data + sizeof(struct ethhdr) + tag_bytes;
#ifdef MULTI_BUFFER
	__u32 l3_bytes = bpf_xdp_get_buff_len(ctx) - sizeof(struct ethhdr) - tag_bytes;
#else
	__u32 l3_bytes = end - outer;
#endif
	struct tunnel tunnel = {};
	__be16 inner_proto = 0;
	int action = XDP_PASS;

	if (HAS_IPV4 && proto == bpf_htons(ETH_P_IP))
		tunnel = outer_ipv4(outer, end, l3_bytes);
	else if (HAS_IPV6 && proto == bpf_htons(ETH_P_IPV6))
		tunnel = outer_ipv6(outer, end, l3_bytes);
	if (!tunnel.outer_bytes)
		return XDP_PASS;

	void *inner = outer + tunnel.outer_bytes;

	if (tunnel.proto == IPPROTO_IPIP)
		action = inner_ipv4(inner, end, &tunnel, &inner_proto);
	else if (tunnel.proto == IPPROTO_IPV6)
		action = inner_ipv6(inner, end, &tunnel, &inner_proto);
	return inner_proto ? strip(ctx, tunnel.outer_bytes, tag_bytes, inner_proto) : action;
}

int decap(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct vlan_tag *tag = (void *)(eth + 1);
	void *end = (void *)(long)ctx->data_end;

	if ((void *)(eth + 1) > end)
		return XDP_PASS;
	if (likely(eth->h_proto != bpf_htons(ETH_P_8021Q)))
		return unwrap(ctx, eth->h_proto, 0);
	return (void *)(tag + 1) > end ? XDP_PASS : unwrap(ctx, tag->proto, sizeof(*tag));
}
