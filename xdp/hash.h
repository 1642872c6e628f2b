/* SPDX-License-Identifier: GPL-2.0-only */
/* hash.h - the two hashes. lb/core/hashing.py computes the same in Python; a test compares them packet by packet.
 *
 * Both are multilinear, sum of word * constant modulo 2^64, which costs one multiplication a word with no dependency
 * between them, and end in a multiply-xorshift that spreads arithmetic progressions (ports count upwards).
 */
#ifndef LB_HASH_H
#define LB_HASH_H

static __always_inline __u64 mix(__u64 h)
{
	h ^= h >> 32;
	h *= 0x9fb21c651e98df25ULL;
	h ^= h >> 32;
	return h;
}

/* Hash of the parts of a flow that the VIP's policy names, 32 bits. HASH_KEY_* are secret and random, which makes the
 * sum strongly universal: whoever does not know the key cannot aim flows at one slot. The protocol is left out: TCP
 * and UDP have rings of their own.
 * Source: Lemire and Kaser, "Strongly universal string hashing is fast", 2014.
 */
static __always_inline __u32 flow_hash(const struct packet *pkt, __u16 flags)
{
	__u32 policy = flags & VIP_HASH_MASK;
	__be32 ports = pkt->ports;
	__u64 h = HASH_KEY_0;

	if (unlikely(policy))
		ports = policy == VIP_HASH_SOURCE ? 0 : ports & DESTINATION_PORT;
	h += pkt->vip.addr[3] * HASH_KEY_2;
	h += ports * HASH_KEY_3;
	if (likely(policy != VIP_HASH_PORT))
		h += pkt->src[3] * HASH_KEY_1;
	if (pkt->v6) {
		if (likely(policy != VIP_HASH_PORT)) {
			h += pkt->src[0] * HASH_KEY_4;
			h += pkt->src[1] * HASH_KEY_5;
			h += pkt->src[2] * HASH_KEY_6;
		}
		h += pkt->vip.addr[0] * HASH_KEY_7;
		h += pkt->vip.addr[1] * HASH_KEY_8;
		h += pkt->vip.addr[2] * HASH_KEY_9;
	}
	return mix(h);
}

/* Hash of a VIP key, 64 bits. Its constants are public: the operator chooses the VIPs, and a stranger's packet that
 * collides with one fails the comparison.
 */
static __always_inline __u64 vip_hash(const struct vip_key *key)
{
	__u64 h = ((__u32)key->port << 8 | key->proto) * 0xa0761d6478bd642fULL;

	h += key->addr[0] * 0xe7037ed1a0b428dbULL;
	h += key->addr[1] * 0x8ebc6af09c88c6e3ULL;
	h += key->addr[2] * 0x589965cc75374cc3ULL;
	h += key->addr[3] * 0x1d8e4e27c47d124fULL;
	return mix(h);
}

#endif
