/* SPDX-License-Identifier: GPL-2.0-only */
/* steer.h - VIP and flow -> backend.
 *
 * A slot word is cur | base << 16, read once. STABLE(c): base == cur, and the flow table is not touched: that is what
 * makes the balancer quick, and what a flood cannot fill. While a slot moves, flows are tracked:
 *   MOVING(c, b): new flows go to c, and those without an entry are on b.
 *   TRACKED(c):   base is 0xffff; flows without an entry are on c, entries still say otherwise for some.
 * README.md holds the table that this implements, and why. lb/core/slots.py moves the slots.
 */
#ifndef LB_STEER_H
#define LB_STEER_H

#define BASE_TRACKED 0xffffU
#define HALF_OPEN_SECONDS 75
#define CLOSING_SECONDS 120
/* A clock that is read on two CPUs, and seconds that are cut off: an entry lives this much longer than its limit. */
#define SLACK_SECONDS 2
#define NS_PER_SECOND 1000000000ULL

/* How much a packet may change. */
enum steering {
	STEER_PACKET,		/* a packet of the flow: refreshes or inserts its entry */
	STEER_SYN,		/* the first packet of a new TCP flow */
	STEER_READ_ONLY,	/* speaks about the flow (ICMP error): changes nothing */
};

static __always_inline __u32 slot_of(__u32 hash)
{
	return (__u64)hash * RING_SIZE >> 32;
}

static __always_inline __u64 pack_who(__u32 epoch, __u32 backend, enum life life)
{
	return epoch | (__u64)backend << 32 | (__u64)life << 48;
}

/* A backend's epoch, read once; 0 (not accepting) for backend 0. */
static __always_inline __u32 epoch_of(__u32 index)
{
	struct backend *backend = backends.lookup(&index);

	return backend ? *(volatile __u32 *)&backend->epoch : 0;
}

/* How long the client may be silent; never longer than a move waits, or the move would end before the entry does. */
static __always_inline __u32 life_seconds(__u32 life, const struct ring_info *info)
{
	__u32 settle = info->settle_seconds;
	__u32 seconds = life == HALF_OPEN ? HALF_OPEN_SECONDS : life == CLOSING ? CLOSING_SECONDS : settle;

	return seconds < settle ? seconds : settle;
}

static __always_inline int spend(__s64 *tokens)
{
	if (*(volatile __s64 *)tokens <= 0)
		return 0;
	__sync_fetch_and_add(tokens, -1);
	return 1;
}

/* The slot moves: consult the flow table, and write to it as the packet's kind asks. Returns a backend index, 0 = none. */
static __always_inline __u32 steer_tracked(const struct packet *pkt, const struct vip *vip, __u32 slot, __u32 cur,
					   __u32 base, enum steering steering)
{
	__u32 zero = 0, number = vip->ring;
	struct ring_info *info = ring_infos.lookup(&number);
	struct flow_counter *counted = flow_counters.lookup(&zero);
	struct budget *budget = budgets.lookup(&zero);
	struct flow_key key = {
		.src = { pkt->src[0], pkt->src[1], pkt->src[2], pkt->src[3] },
		.ports = pkt->ports,
		.vip = vip->index,
	};

	if (!info || !counted || !budget)
		return cur;

	__u32 now = bpf_ktime_get_ns() / NS_PER_SECOND;
	__u32 cur_epoch = epoch_of(cur);
	struct flow *flow = flows.lookup(&key);

	if (flow) {
		__u64 who = *(volatile __u64 *)&flow->who;
		__u32 backend = who >> 32 & 0xffff;
		__u32 life = who >> 48 & 0xff;
		__u32 seen = *(volatile __u32 *)&flow->seen;
		__s32 idle = now - seen;

		if (idle < 0)
			idle = 0;
		if ((__u32)who & 1 && (__u32)who == epoch_of(backend) && flow->slot == slot && flow->ring == number &&
		    (__u32)idle < life_seconds(life, info) + SLACK_SECONDS) {
			if (steering == STEER_READ_ONLY)
				return backend;
			if (steering == STEER_SYN) {
				/* A SYN always begins a new flow, whatever the entry of its port's last user says. */
				if (cur_epoch & 1) {
					backend = cur;
					who = pack_who(cur_epoch, cur, HALF_OPEN);
				} else {
					who = pack_who((__u32)who, backend, HALF_OPEN);
				}
				*(volatile __u64 *)&flow->who = who;
			} else if (pkt->tcp_flags & (TCP_FIN | TCP_RST)) {
				if (life != CLOSING)
					*(volatile __u64 *)&flow->who = pack_who((__u32)who, backend, CLOSING);
			} else if (life == HALF_OPEN) {
				*(volatile __u64 *)&flow->who = pack_who((__u32)who, backend, ESTABLISHED);
			}
			if (seen != now)
				*(volatile __u32 *)&flow->seen = now;
			return backend;
		}
	}

	if (base == BASE_TRACKED)
		return cur;

	__u32 base_epoch = epoch_of(base);
	__u32 old = base_epoch & 1 ? base : cur;

	if (steering == STEER_READ_ONLY)
		return old;
	if (steering == STEER_SYN) {
		if (!cur)
			return 0;
		if (!flow && cur_epoch & 1 && spend(&budget->syn)) {
			struct flow made = {
				.who = pack_who(cur_epoch, cur, HALF_OPEN),
				.seen = now,
				.slot = slot,
				.ring = number,
			};

			/* BPF_ANY: of two SYNs on two CPUs the last one wins. */
			if (!flows.update(&key, &made)) {
				counted->inserted_syn++;
				return cur;
			}
		}
		counted->refused_syn++;
	} else {
		__u32 epoch = old == base ? base_epoch : cur_epoch;

		if (pkt->tcp_flags & TCP_RST && !flow)
			return old;
		if (!flow && epoch & 1 && spend(&budget->old)) {
			struct flow made = {
				.who = pack_who(epoch, old, pkt->tcp_flags & TCP_FIN ? CLOSING : ESTABLISHED),
				.seen = now,
				.slot = slot,
				.ring = number,
			};

			if (!flows.insert(&key, &made)) {
				counted->inserted_old++;
				return old;
			}
		}
		counted->refused_old++;
	}
	info->refused_at = now;
	__sync_fetch_and_add(&info->refusals, 1);
	return old;
}

/* Index of the backend that the packet belongs to; 0 = none. */
static __always_inline __u32 steer(const struct packet *pkt, const struct vip *vip, __u32 hash, enum steering steering)
{
	__u32 number = vip->ring;
	void *slots = rings.lookup(&number);

	if (!slots)
		return 0;

	__u32 slot = slot_of(hash);
	__u32 element = slot / 2;
	struct slot_pair *pair = bpf_map_lookup_elem(slots, &element);

	if (!pair)
		return 0;

	__u32 word = *(volatile __u32 *)&pair->word[slot & 1];
	__u32 cur = word & 0xffff;
	__u32 base = word >> 16;

#ifndef TRACK_ALL
	if (likely(cur == base))
		return cur;
#endif
	return steer_tracked(pkt, vip, slot, cur, base, steering);
}

#endif
