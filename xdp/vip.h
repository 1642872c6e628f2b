/* SPDX-License-Identifier: GPL-2.0-only */
/* vip.h - VIP lookup: packet destination -> VIP.
 *
 * The table is collision-free: lbd chose, for every bucket of keys, a displacement that puts each of its keys in a
 * place of its own (hash and displace), so a lookup is two array reads and one comparison. The map has room for two
 * tables; lbd fills the idle half and flips control.vip_table. A table is no larger than its VIPs need, for the cache.
 */
#ifndef LB_VIP_H
#define LB_VIP_H

/* A VIP table in the map: `first` element, and how far to shift a 32-bit hash for a number within the table. */
struct vip_table {
	__u32 first;
	__u32 shift;
};

/* The table in force, read once. Before lbd has written one, lookups in it lead out of the map and find nothing. */
static __always_inline struct vip_table vip_table_now(void)
{
	__u32 zero = 0;
	struct control *now = control.lookup(&zero);
	__u64 word = now ? *(volatile __u64 *)&now->vip_table : 0;

	return (struct vip_table){ .first = word, .shift = word >> 32 };
}

/* Exact key. Returns NULL when there is no such VIP. */
static __always_inline struct vip *vip_find(struct vip_table table, const struct vip_key *key)
{
	__u64 h = vip_hash(key);
	__u32 bucket = table.first + ((__u32)h >> (table.shift & 31));
	struct vip *vip = vips.lookup(&bucket);

	if (!vip)
		return NULL;

	__u32 place = table.first + ((__u32)((__u32)(h >> 32) * vip->displacement) >> (table.shift & 31));

	vip = vips.lookup(&place);
	if (!vip)
		return NULL;

	__u32 differs = vip->key.addr[0] ^ key->addr[0];

	differs |= vip->key.addr[1] ^ key->addr[1];
	differs |= vip->key.addr[2] ^ key->addr[2];
	differs |= vip->key.addr[3] ^ key->addr[3];
	differs |= (vip->key.port ^ key->port) | (vip->key.proto ^ key->proto);
	return differs ? NULL : vip;
}

/* Exact (address, port, protocol) first, then the any-port entry.
 * Returns NULL when the packet is not ours: the caller passes it untouched. Clobbers key->port.
 */
static __always_inline struct vip *vip_lookup(struct vip_table table, struct vip_key *key)
{
	struct vip *vip = vip_find(table, key);

	if (unlikely(!vip)) {
		key->port = 0;
		vip = vip_find(table, key);
	}
	return vip;
}

/* Whether any VIP has this address, whatever port and protocol. Clobbers key->port and key->proto. */
static __always_inline int vip_has_address(struct vip_table table, struct vip_key *key)
{
	key->port = 0;
	key->proto = 0;

	struct vip *vip = vip_find(table, key);

	/* An empty place compares equal to the unspecified address. */
	return vip && vip->flags & VIP_ADDRESS;
}

/* Whether a packet claims to come from where it goes. */
static __always_inline int is_land(const struct packet *pkt)
{
	__u32 differs = pkt->src[3] ^ pkt->vip.addr[3];

	if (pkt->v6)
		differs |= (pkt->src[0] ^ pkt->vip.addr[0]) | (pkt->src[1] ^ pkt->vip.addr[1]) |
			   (pkt->src[2] ^ pkt->vip.addr[2]);
	return !differs;
}

#endif
