/* SPDX-License-Identifier: GPL-2.0-only */
/* steer.h - ring and flow hash -> backend.
 *
 * A slot word is cur | base << 16, read once. STABLE: base == cur. (MOVING: another base; TRACKED: base 0xffff.)
 */
#ifndef LB_STEER_H
#define LB_STEER_H

static __always_inline __u32 slot_of(__u32 hash)
{
	return (__u64)hash * RING_SIZE >> 32;
}

/* Index of the backend that the packet belongs to; 0 = none. */
static __always_inline __u32 steer(const struct vip *vip, __u32 hash)
{
	__u32 ring_index = vip->ring;
	void *ring = rings.lookup(&ring_index);

	if (!ring)
		return 0;

	__u32 slot = slot_of(hash);
	__u32 element = slot / 2;
	struct slot_pair *pair = bpf_map_lookup_elem(ring, &element);

	if (!pair)
		return 0;

	__u32 word = *(volatile __u32 *)&pair->word[slot & 1];

	return word & 0xffff;
}

#endif
