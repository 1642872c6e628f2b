/* SPDX-License-Identifier: GPL-2.0-only */
/* fragment.h - later fragments follow the first.
 *
 * Only the first fragment of a datagram has ports. It leaves a record of the backend that it went to; the others look
 * it up. Records are of one backend's one life: when its epoch has changed, they are void. The table evicts the least
 * recently used: a flood of fragments costs other fragments their record, and nothing else.
 */
#ifndef LB_FRAGMENT_H
#define LB_FRAGMENT_H

/* What Linux gives a datagram to be put together (net.ipv4.ipfrag_time). */
#define FRAGMENT_NS (30 * NS_PER_SECOND)

static __always_inline void fragment_key_of(const struct packet *pkt, struct fragment_key *key)
{
	__builtin_memcpy(key->src, pkt->src, sizeof(key->src));
	__builtin_memcpy(key->dst, pkt->vip.addr, sizeof(key->dst));
	key->id = pkt->id;
	key->proto = pkt->v6 ? 0 : pkt->vip.proto;
}

/* Called for a first fragment that was steered. */
static __always_inline void fragment_record(const struct packet *pkt, const struct vip *vip, __u32 backend, __u32 hash)
{
	struct fragment_key key;
	struct fragment made = {
		.backend = backend,
		.epoch = epoch_of(backend),
		.vip = vip->index,
		.hash = hash,
		.seen_at_ns = bpf_ktime_get_ns(),
	};

	fragment_key_of(pkt, &key);
	fragments.update(&key, &made);
}

/* The record that a later fragment belongs to; NULL when there is none, or none that still holds. */
static __always_inline struct fragment *fragment_find(const struct packet *pkt)
{
	struct fragment_key key;

	fragment_key_of(pkt, &key);

	struct fragment *found = fragments.lookup(&key);

	if (!found || bpf_ktime_get_ns() - found->seen_at_ns > FRAGMENT_NS ||
	    epoch_of(found->backend) != found->epoch)
		return NULL;
	return found;
}

#endif
