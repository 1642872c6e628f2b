/* SPDX-License-Identifier: GPL-2.0-only */
/* driver.c - the packet source of the benchmark, and the programs that the balancer is compared with.
 *
 * A test run with repeat hands every run the frame that the last one left, so an encapsulating program would wrap its
 * own output. drive_*() therefore stand in for the network card: they take the frame back to its size, write every
 * header for the next flow, and tail-call the program under test. send_*() do the same and send the frame: the packet
 * source for live frames, whose pages come back as the last user left them.
 *
 * Headers are written as whole 8-byte words wherever a program might load one, so that no load spans two stores that
 * are still in the store buffer: a NIC's frames have no such stalls.
 *
 * Passed by the compiler's caller (workloads.py): *_BYTES, VIP4, CLIENT4 (host order), VIP6_HI, VIP6_LO, CLIENT6_HI
 * (as they lie in memory), VIP_PORT (host order). Little-endian.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/ipv6.h>

#define be16(x) ((__u64)__builtin_bswap16(x))
#define be32(x) ((__u64)__builtin_bswap32(x))

#define GOLDEN 0x9e3779b1U	/* 2^32 / golden ratio: k * GOLDEN visits every part of 0 .. 2^32 evenly */
#define FIRST_SPORT 32768
#define IP_ID 0x1234
#define IP_DF 0x4000
#define TTL 64

/* What to send next; Python writes it. */
struct workload {
	__u32 flows;
	__u32 vips;
	__u32 tcp_flags;
	__u32 pad;
};

struct drained {
	__u64 packets;
	__u64 bytes;
};

BPF_TABLE("array", __u32, struct workload, workload, 1);
BPF_TABLE("percpu_array", __u32, __u64, position, 1);
BPF_TABLE("percpu_array", __u32, struct drained, drained, 1);
BPF_PROG_ARRAY(next, 1);

/* One packet's flow. number < flows decides all the rest. */
struct flow {
	__u32 number;
	__u32 vip;
	__u32 tcp_flags;
	__be32 ports;
};

/* Stores the next flow. Not in order of their numbers, so that no prefetcher learns the way. */
static __always_inline int next_flow(struct flow *flow)
{
	__u32 zero = 0;
	struct workload *load = workload.lookup(&zero);
	__u64 *at = position.lookup(&zero);

	if (!load || !at)
		return 0;
	flow->number = (__u64)((__u32)++*at * GOLDEN) * load->flows >> 32;
	flow->vip = (__u64)(flow->number * GOLDEN) * load->vips >> 32;
	flow->tcp_flags = load->tcp_flags;
	flow->ports = be16(FIRST_SPORT + (flow->number & 0x7fff)) | be16(VIP_PORT) << 16;
	return 1;
}

/* The frame's start, with `bytes` bytes in bounds, the outer header of the last run cut off; or NULL. */
static __always_inline void *take_back(struct xdp_md *ctx, __u32 bytes)
{
	int grown = (int)(ctx->data_end - ctx->data) - (int)bytes;

	if (grown && bpf_xdp_adjust_head(ctx, grown))
		return NULL;

	void *data = (void *)(long)ctx->data;

	return data + bytes > (void *)(long)ctx->data_end ? NULL : data;
}

static __always_inline void write64(void *at, __u64 word)
{
	*(__u64 *)at = word;
}

static __always_inline void write_ethernet(void *data, __be16 proto)
{
	/* To 02:00:00:00:00:01, from 02:00:00:00:00:99. */
	write64(data, 0x0002010000000002ULL);
	*(__u32 *)(data + 8) = 0x99000000;
	*(__u16 *)(data + 12) = proto;
}

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline void write_ipv4(void *ip, const struct flow *flow, __u16 total_bytes, __u8 proto)
{
	__u64 start = 0x45 | be16(total_bytes) << 16 | be16(IP_ID) << 32 | be16(IP_DF) << 48;
	__u64 src = be32(CLIENT4 + flow->number), dst = be32(VIP4 + flow->vip);
	__u32 ttl_proto = TTL | (__u32)proto << 8;
	__u32 sum = 0x45 + be16(total_bytes) + be16(IP_ID) + be16(IP_DF) + ttl_proto + (src & 0xffff) + (src >> 16) +
		    (dst & 0xffff) + (dst >> 16);

	write64(ip, start);
	*(__u32 *)(ip + 8) = ttl_proto | (__u32)(__u16)~csum_fold(sum) << 16;
	write64(ip + 12, src | dst << 32);
}

static __always_inline void write_ipv6(void *ip, const struct flow *flow, __u16 payload_bytes, __u8 proto)
{
	write64(ip, 0x60 | be16(payload_bytes) << 32 | (__u64)proto << 48 | (__u64)TTL << 56);
	write64(ip + 8, CLIENT6_HI);
	write64(ip + 16, be32(flow->number) << 32);
	write64(ip + 24, VIP6_HI);
	write64(ip + 32, VIP6_LO | be32(flow->vip) << 32);
}

/* 20 bytes; the checksum is left zero, since nobody here looks at it. */
static __always_inline void write_tcp(void *tcp, const struct flow *flow)
{
	write64(tcp, flow->ports | be32(flow->number) << 32);
	write64(tcp + 8, be32(1) | 0x50ULL << 32 | (__u64)flow->tcp_flags << 40 | be16(64240) << 48);
	*(__u32 *)(tcp + 16) = 0;
}

static __always_inline void write_udp(void *udp, const struct flow *flow, __u16 bytes)
{
	write64(udp, flow->ports | be16(bytes) << 32);
}

static __always_inline int write_tcp4(struct xdp_md *ctx)
{
	struct flow flow;
	void *data = take_back(ctx, TCP4_BYTES);

	if (!data || !next_flow(&flow))
		return 0;
	write_ethernet(data, be16(ETH_P_IP));
	write_ipv4(data + 14, &flow, TCP4_BYTES - 14, IPPROTO_TCP);
	write_tcp(data + 34, &flow);
	return 1;
}

static __always_inline int write_udp4(struct xdp_md *ctx)
{
	struct flow flow;
	void *data = take_back(ctx, UDP4_BYTES);

	if (!data || !next_flow(&flow))
		return 0;
	write_ethernet(data, be16(ETH_P_IP));
	write_ipv4(data + 14, &flow, UDP4_BYTES - 14, IPPROTO_UDP);
	write_udp(data + 34, &flow, UDP4_BYTES - 34);
	return 1;
}

static __always_inline int write_tcp6(struct xdp_md *ctx)
{
	struct flow flow;
	void *data = take_back(ctx, TCP6_BYTES);

	if (!data || !next_flow(&flow))
		return 0;
	write_ethernet(data, be16(ETH_P_IPV6));
	write_ipv6(data + 14, &flow, TCP6_BYTES - 54, IPPROTO_TCP);
	write_tcp(data + 54, &flow);
	return 1;
}

/* A tail call that fails falls through: XDP_ABORTED says so. */
int drive_tcp4(struct xdp_md *ctx)
{
	if (write_tcp4(ctx))
		next.call(ctx, 0);
	return XDP_ABORTED;
}

int drive_udp4(struct xdp_md *ctx)
{
	if (write_udp4(ctx))
		next.call(ctx, 0);
	return XDP_ABORTED;
}

int drive_tcp6(struct xdp_md *ctx)
{
	if (write_tcp6(ctx))
		next.call(ctx, 0);
	return XDP_ABORTED;
}

int send_tcp4(struct xdp_md *ctx)
{
	return write_tcp4(ctx) ? XDP_TX : XDP_ABORTED;
}

/* The receiver of live frames. */
int drain(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct drained *counter = drained.lookup(&zero);

	if (counter) {
		counter->packets++;
		counter->bytes += ctx->data_end - ctx->data;
	}
	return XDP_DROP;
}

/* The yardsticks: what every XDP program that sends costs, ... */
int empty(struct xdp_md *ctx)
{
	return XDP_TX;
}

/* ... and what every program that wraps costs: room for an outer header, and a valid one in it; no look-ups. */
static __always_inline void *grow(struct xdp_md *ctx, __u32 bytes)
{
	if (bpf_xdp_adjust_head(ctx, -(int)bytes))
		return NULL;

	void *data = (void *)(long)ctx->data;

	/* The shortest inner header that there is. */
	return data + ETH_HLEN + bytes + sizeof(struct iphdr) > (void *)(long)ctx->data_end ? NULL : data;
}

int floor4(struct xdp_md *ctx)
{
	void *data = grow(ctx, sizeof(struct iphdr));

	if (!data)
		return XDP_ABORTED;

	struct iphdr *inner = data + ETH_HLEN + sizeof(struct iphdr);
	const struct flow backend = {};

	write_ethernet(data, be16(ETH_P_IP));
	write_ipv4(data + ETH_HLEN, &backend, __builtin_bswap16(inner->tot_len) + sizeof(*inner), IPPROTO_IPIP);
	return XDP_TX;
}

int floor6(struct xdp_md *ctx)
{
	void *data = grow(ctx, sizeof(struct ipv6hdr));

	if (!data)
		return XDP_ABORTED;

	__be16 payload_len = *(__be16 *)(data + ETH_HLEN + sizeof(struct ipv6hdr) + 4);
	const struct flow backend = {};

	write_ethernet(data, be16(ETH_P_IPV6));
	write_ipv6(data + ETH_HLEN, &backend, __builtin_bswap16(payload_len) + sizeof(struct ipv6hdr), IPPROTO_IPV6);
	return XDP_TX;
}
