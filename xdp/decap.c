/* SPDX-License-Identifier: GPL-2.0-only */
/* decap.c - the backend's end of the tunnel, for hosts whose kernel has no ipip device.
 *
 * Attached to the backend's interface it strips the outer header of a tunnel packet that is addressed to this host
 * and hands the inner packet to the kernel; the Ethernet header stays. Everything else passes untouched, so a packet
 * that it does not understand meets what the kernel would have done with it.
 *
 * Compiled with -DDECAP_ADDRESS=N: the host's IPv4 address as a __be32, so the program needs no map.
 *
 * Now IPv4 in IPv4 (RFC 2003). Another outer family is another *_outer_len() helper; another inner one (IPv4 outer,
 * protocol 41) also means another ethertype in the header that is put back.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>

#define be16_const(x) ((__be16)__builtin_bswap16(x))
#define IP_FRAGMENT_MASK 0x3fff /* "more fragments" and the offset: zero in a whole packet */

/* True when the sum over an IPv4 header without options is right. The kernel's ipip checks it, so this does too:
 * a balancer that computes it wrongly must not look right here.
 */
static inline int ipv4_checksum_ok(const struct iphdr *ip)
{
	const __u16 *words = (const void *)ip;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < (int)(sizeof(*ip) / sizeof(*words)); i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* Bytes of the outer header in front of an IPv4 packet for us, 0 when there is nothing to unwrap.
 * Options and fragments are not ours: no balancer sends the first, and only the kernel can put together the second.
 */
static inline int ipv4_outer_len(const struct iphdr *outer, const void *end)
{
	const struct iphdr *inner = outer + 1;

	if ((const void *)(inner + 1) > end)
		return 0;
	if (outer->version != 4 || outer->ihl != 5 || outer->protocol != IPPROTO_IPIP)
		return 0;
	if (outer->daddr != (__be32)DECAP_ADDRESS || (outer->frag_off & be16_const(IP_FRAGMENT_MASK)))
		return 0;
	if (inner->version != 4 || inner->ihl < 5 || !ipv4_checksum_ok(outer))
		return 0;
	return sizeof(*outer);
}

int decap(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct ethhdr saved;
	int outer_len;

	if ((void *)(eth + 1) > end || eth->h_proto != be16_const(ETH_P_IP))
		return XDP_PASS;
	outer_len = ipv4_outer_len((void *)(eth + 1), end);
	if (!outer_len)
		return XDP_PASS;

	saved = *eth;
	if (bpf_xdp_adjust_head(ctx, outer_len))
		return XDP_PASS;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	if ((void *)(eth + 1) > end)
		return XDP_ABORTED; /* cannot be: the inner header was there; the verifier wants to see it */
	*eth = saved;
	return XDP_PASS;
}
