/* SPDX-License-Identifier: GPL-2.0-only */
/* types.h - every structure that C and Python share. lb/core/layout.py packs them; both sides assert the sizes.
 *
 * Byte order: addresses, ports and MACs are network order, every other integer is host order. IPv4 addresses are
 * stored v4-mapped (::ffff:a.b.c.d), so that one key serves both families. Padding is always zero.
 */
#ifndef LB_TYPES_H
#define LB_TYPES_H

struct vip_key {
	__be32 addr[4];
	__be16 port;		/* 0 = any port */
	__u8   proto;		/* IPPROTO_TCP, IPPROTO_UDP; 0 = the address itself (VIP_ADDRESS) */
	__u8   pad;		/* zero: keys are compared whole */
};
_Static_assert(sizeof(struct vip_key) == 20, "vip_key is ABI");

/* One element of the VIP table: the entry that hashes to this place, and the displacement of the bucket with this
 * number (vip.h).
 */
struct vip {
	struct vip_key key;
	__u32 ring;		/* index into the map of rings */
	__u16 index;		/* of the VIP's counters, from 1; 0 = no VIP here */
	__u16 flags;		/* VIP_* */
	__u32 displacement;
};
_Static_assert(sizeof(struct vip) == 32, "vip is ABI");

/* Hash policy: which parts of a flow decide its slot. All zero: the 5-tuple. */
#define VIP_HASH_SOURCE		1	/* source address */
#define VIP_HASH_SOURCE_PORT	2	/* source address and destination port */
#define VIP_HASH_PORT		3	/* destination port */
#define VIP_HASH_MASK		3
/* Marks the entry of an address that has VIPs: what pings, fragments and broken packets are looked up by. */
#define VIP_ADDRESS		4

/* Two slots of a ring: array elements are padded to 8 bytes, so one slot per element would waste half a cache line.
 * A slot word is cur | base << 16 (steer.h).
 */
struct slot_pair {
	__u32 word[2];
};
_Static_assert(sizeof(struct slot_pair) == 8, "slot_pair is ABI");

/* What all slots of a ring share; read and written only where flows are tracked. */
struct ring_info {
	__u32 settle_seconds;	/* silence after which an established flow is given up */
	__u32 refused_at;	/* CLOCK_MONOTONIC seconds of the last flow that could not be tracked */
	__u32 refusals;		/* how many so far; wraps */
	__u32 hold;		/* moves are about to end: drop new flows that cannot be tracked */
};
_Static_assert(sizeof(struct ring_info) == 16, "ring_info is ABI");

/* All that encapsulation needs, in one cache line. */
struct backend {
	__u32  epoch;		/* odd = accepting; +1 on every change, never reset */
	__u32  ifindex;		/* egress interface */
	__u32  mac[3];		/* destination and source, as they stand in the frame; in words, to be copied as such */
	__be32 addr[4];
	__be32 source[4];	/* outer source; low bits come from the flow hash where source_mask has ones */
	__be32 source_mask;	/* applies to source[3] */
	__u16  mtu_bytes;	/* of the egress interface */
	__u16  csum;		/* one's complement sum of the outer IPv4 header's constant words, folded */
	__u32  pad;
};
_Static_assert(sizeof(struct backend) == 64, "backend is ABI");

struct flow_key {
	__be32 src[4];
	__be32 ports;		/* source and destination port, as they stand in the header */
	__u32  vip;		/* VIP index */
};
_Static_assert(sizeof(struct flow_key) == 24, "flow_key is ABI");

/* Where a flow of a slot that moves belongs. `who` is one aligned word: it is read and written whole. */
struct flow {
	__u64 who;		/* epoch | backend << 32 | life << 48 (steer.h) */
	__u32 seen;		/* CLOCK_MONOTONIC seconds of its last packet */
	__u32 slot;
	__u32 ring;
	__u32 pad;
};
_Static_assert(sizeof(struct flow) == 24, "flow is ABI");

enum life { HALF_OPEN = 1, ESTABLISHED = 2, CLOSING = 3 };

/* Flows that may still be entered into the table: lbd refills, the program takes away. */
struct budget {
	__s64 syn;		/* new flows */
	__s64 old;		/* flows that were there before the slot moved */
};
_Static_assert(sizeof(struct budget) == 16, "budget is ABI");

/* What happened to the flow table, per CPU. */
struct flow_counter {
	__u64 inserted_syn;
	__u64 inserted_old;
	__u64 refused_syn;
	__u64 refused_old;
};
_Static_assert(sizeof(struct flow_counter) == 32, "flow_counter is ABI");

struct fragment_key {
	__be32 src[4];
	__be32 dst[4];
	__be32 id;
	__u32  proto;		/* IPv4: protocol; IPv6: 0, since later fragments may name another next header */
};
_Static_assert(sizeof(struct fragment_key) == 40, "fragment_key is ABI");

/* Where a datagram's first fragment went. */
struct fragment {
	__u32 backend;
	__u32 epoch;		/* of the backend at that time */
	__u32 vip;		/* VIP index */
	__u32 hash;		/* of the flow, for the outer source */
	__u64 seen_at_ns;	/* CLOCK_MONOTONIC */
};
_Static_assert(sizeof(struct fragment) == 24, "fragment is ABI");

/* Tokens for ICMP errors that the program sends, per CPU. */
struct icmp_bucket {
	__u64 tokens;
	__u64 filled_at_ns;	/* CLOCK_MONOTONIC */
};
_Static_assert(sizeof(struct icmp_bucket) == 16, "icmp_bucket is ABI");

struct counter {
	__u64 packets;
	__u64 bytes;		/* whole frames as they arrived */
};
_Static_assert(sizeof(struct counter) == 16, "counter is ABI");

struct vip_counter {
	struct counter received;
	struct counter forwarded;
	__u64 too_big;		/* did not fit the egress MTU once wrapped, answered or not */
	__u64 pad;
};
_Static_assert(sizeof(struct vip_counter) == 48, "vip_counter is ABI");

/* Words that lbd flips to switch tables whole. */
struct control {
	__u64 vip_table;	/* of the table in force: first element | 32 - log2 of its size << 32 */
};
_Static_assert(sizeof(struct control) == 8, "control is ABI");

#endif
