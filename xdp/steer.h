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
/* Not an index: a new flow that cannot be tracked, in the instant in which its slot's move ends. */
#define BACKEND_HELD 0xffffU
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

/* What a packet with ports of its own means to its flow; guard() has seen to it that a SYN has neither FIN nor RST. */
static __always_inline enum steering steering_of(const struct packet *pkt)
{
	int syn = pkt->vip.proto == IPPROTO_TCP && (pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;

	return syn ? STEER_SYN : STEER_PACKET;
}

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

/* Epochs that this packet has read: each is read once, and everything is decided on what was read. */
struct epochs {
	__u32 backend;
	__u32 epoch;
};

static __always_inline __u32 epoch_once(const struct epochs *read, __u32 index)
{
	return read->backend == index ? read->epoch : epoch_of(index);
}

/* Enters a flow into the table; 0 when the budget is spent, the table is full or somebody else was quicker. */
static __always_inline int track(const struct flow_key *key, struct flow *flow, enum steering steering,
				 struct budget *budget, struct flow_counter *counted)
{
	if (steering == STEER_SYN) {
		/* BPF_ANY: of two SYNs on two CPUs the last one wins. */
		if (!spend(&budget->syn) || flows.update((struct flow_key *)key, flow))
			return 0;
		counted->inserted_syn++;
	} else {
		/* BPF_NOEXIST */
		if (!spend(&budget->old) || flows.insert((struct flow_key *)key, flow))
			return 0;
		counted->inserted_old++;
	}
	return 1;
}

/* The slot moves: consult the flow table, and write to it as the packet's kind asks.
 * Returns a backend index; 0 = none, BACKEND_HELD = drop for now. tests/model/steer.py says the same in Python.
 */
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
	struct epochs read = {};

	if (!info || !counted || !budget || (steering == STEER_SYN && !cur))
		return 0;

	__u32 now = bpf_ktime_get_ns() / NS_PER_SECOND;
	struct flow *flow = flows.lookup(&key);

	if (flow) {
		__u64 who = *(volatile __u64 *)&flow->who;
		__u32 epoch = who;
		__u32 backend = who >> 32 & 0xffff;
		__u32 life = who >> 48 & 0xff;
		__u32 seen = *(volatile __u32 *)&flow->seen;
		__s32 idle = now - seen;

		read.backend = backend;
		read.epoch = epoch_of(backend);
		/* Another CPU's clock may be ahead. */
		if (idle < 0)
			idle = 0;
		if (epoch & 1 && epoch == read.epoch && flow->slot == slot && flow->ring == number &&
		    (__u32)idle < life_seconds(life, info) + SLACK_SECONDS) {
			if (steering == STEER_READ_ONLY)
				return backend;
			if (steering == STEER_SYN) {
				/* A SYN always begins a new flow, whatever the entry of its port's last user says. */
				__u32 cur_epoch = epoch_once(&read, cur);

				if (cur_epoch & 1) {
					backend = cur;
					epoch = cur_epoch;
				}
				life = HALF_OPEN;
			} else if (base == BASE_TRACKED && backend == cur) {
				/* It goes there anyway. A FIN must not shorten the entry's life between a scan and the
				 * slot's becoming STABLE.
				 */
				return cur;
			} else if (pkt->tcp_flags & (TCP_FIN | TCP_RST)) {
				life = CLOSING;
			} else if (life == HALF_OPEN) {
				life = ESTABLISHED;
			}

			__u64 now_who = pack_who(epoch, backend, life);

			if (now_who != who)
				*(volatile __u64 *)&flow->who = now_who;
			if (seen != now)
				*(volatile __u32 *)&flow->seen = now;
			return backend;
		}
	}

	if (base == BASE_TRACKED)
		return cur;

	__u32 base_epoch = epoch_once(&read, base);
	__u32 old = base_epoch & 1 ? base : cur;

	if (steering == STEER_READ_ONLY || pkt->tcp_flags & TCP_RST)
		return old;

	__u32 target = steering == STEER_SYN ? cur : old;
	struct flow made = {
		.who = pack_who(target == base ? base_epoch : epoch_once(&read, target), target,
				steering == STEER_SYN ? HALF_OPEN : pkt->tcp_flags & TCP_FIN ? CLOSING : ESTABLISHED),
		.seen = now,
		.slot = slot,
		.ring = number,
	};

	/* The key of an entry that is not live is taken until the collector has been. */
	if (!flow && made.who & 1 && track(&key, &made, steering, budget, counted))
		return target;
	if (steering == STEER_SYN)
		counted->refused_syn++;
	else
		counted->refused_old++;
	info->refused_at = now;
	__sync_fetch_and_add(&info->refusals, 1);
	/* The move may end before this flow's next packet, and no entry says that it went to `old`. */
	if (info->hold && (steering == STEER_SYN || pkt->vip.proto == IPPROTO_UDP))
		return BACKEND_HELD;
	return old;
}

/* A slot's word, read once; 0 (STABLE, no backend) when there is no such ring. */
static __always_inline __u32 slot_word(__u32 number, __u32 slot)
{
	void *slots = rings.lookup(&number);

	if (!slots)
		return 0;

	__u32 element = slot / 2;
	struct slot_pair *pair = bpf_map_lookup_elem(slots, &element);

	return pair ? *(volatile __u32 *)&pair->word[slot & 1] : 0;
}

/* Index of the backend that the packet belongs to; 0 = none, BACKEND_HELD = drop for now. */
static __always_inline __u32 steer(const struct packet *pkt, const struct vip *vip, __u32 hash, enum steering steering)
{
	__u32 slot = slot_of(hash);
	__u32 word = slot_word(vip->ring, slot);
	__u32 cur = word & 0xffff;
	__u32 base = word >> 16;

#ifndef TRACK_ALL
	if (likely(cur == base))
		return cur;
#endif
	return steer_tracked(pkt, vip, slot, cur, base, steering);
}

#endif
