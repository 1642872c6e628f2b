/* SPDX-License-Identifier: GPL-2.0-only */
/* types.h - every structure that C and Python share. lb/core/layout.py packs them; both sides assert the sizes.
 *
 * Byte order: addr, port and MAC fields are network order, every other integer is host order. IPv4 addresses are
 * stored v4-mapped (::ffff:a.b.c.d), so that one key serves both families. Padding is always zero.
 */
#ifndef LB_TYPES_H
#define LB_TYPES_H

/* Passed by the compiler's caller: RING_SIZE, VIP_SLOTS_LOG2, HASH_KEY_0 .. HASH_KEY_9. */
#define VIP_SLOTS (1U << VIP_SLOTS_LOG2)

struct vip_key {
	__be32 addr[4];
	__be16 port;		/* 0 = any port */
	__u8   proto;		/* IPPROTO_TCP, IPPROTO_UDP; 0 = the address itself, whatever the protocol */
	__u8   pad;		/* zero: keys are compared whole */
};
_Static_assert(sizeof(struct vip_key) == 20, "vip_key is ABI");

/* One element of the VIP table: the entry that hashes to this place, and the displacement of the bucket with this
 * number (vip.h). index 0 = no entry here.
 */
struct vip {
	struct vip_key key;
	__u32 ring;		/* index into the map of rings */
	__u16 index;		/* of the VIP's counters, from 1 */
	__u16 flags;		/* none yet */
	__u32 displacement;
};
_Static_assert(sizeof(struct vip) == 32, "vip is ABI");

/* Two slots of a ring: array elements are padded to 8 bytes, so one slot per element would waste half a cache line.
 * A slot word is cur | base << 16 (steer.h).
 */
struct slot_pair {
	__u32 word[2];
};
_Static_assert(sizeof(struct slot_pair) == 8, "slot_pair is ABI");

/* All that encapsulation needs, in one cache line. */
struct backend {
	__u32  epoch;		/* odd = accepting; +1 on every change, never reset */
	__u32  ifindex;		/* egress interface */
	__u8   mac[12];		/* destination and source, as they stand in the frame */
	__be32 addr[4];
	__be32 source[4];	/* outer source; low bits come from the flow hash where source_mask has ones */
	__be32 source_mask;	/* applies to source[3] */
	__u16  mtu_bytes;	/* of the egress interface */
	__u16  csum;		/* one's complement sum of the outer IPv4 header's constant words, folded */
	__u32  pad;
};
_Static_assert(sizeof(struct backend) == 64, "backend is ABI");

struct counter {
	__u64 packets;
	__u64 bytes;		/* whole frames as they arrived */
};
_Static_assert(sizeof(struct counter) == 16, "counter is ABI");

struct vip_counter {
	struct counter received;
	struct counter forwarded;
};
_Static_assert(sizeof(struct vip_counter) == 32, "vip_counter is ABI");

/* Words that lbd flips to switch tables whole. */
struct control {
	__u32 vip_table;	/* which of the two VIP tables is in force: 0 or 1 */
	__u32 pad;
};
_Static_assert(sizeof(struct control) == 8, "control is ABI");

#endif
