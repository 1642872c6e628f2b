/* SPDX-License-Identifier: GPL-2.0-only */
/* maps.h - templates of the maps.
 *
 * bcc needs them to compile; lbd creates the real maps from lb/dataplane/maps.py and points the instructions at
 * those, so sizes here are as small as they can be and only the types count.
 */
#ifndef LB_MAPS_H
#define LB_MAPS_H

BPF_TABLE("array", __u32, struct control, control, 1);

BPF_TABLE("array", __u32, struct vip, vips, 1);

BPF_F_TABLE("array", __u32, struct slot_pair, ring, 1, 0);
BPF_ARRAY_OF_MAPS(rings, "ring", 1);
BPF_TABLE("array", __u32, struct ring_info, ring_infos, 1);

BPF_TABLE("array", __u32, struct backend, backends, 1);
/* bcc knows no other devmap; the real one is a BPF_MAP_TYPE_DEVMAP_HASH, keyed by interface index. */
BPF_DEVMAP(egress, 1);

/* Never LRU: it has to refuse rather than evict a flow that is alive. */
BPF_TABLE("hash", struct flow_key, struct flow, flows, 1);
BPF_TABLE("array", __u32, struct budget, budgets, 1);
BPF_TABLE("percpu_array", __u32, struct flow_counter, flow_counters, 1);

BPF_TABLE("lru_hash", struct fragment_key, struct fragment, fragments, 1);
BPF_TABLE("percpu_array", __u32, struct icmp_bucket, icmp_buckets, 1);

BPF_TABLE("percpu_array", __u32, struct counter, verdict_counters, 1);
BPF_TABLE("percpu_array", __u32, struct vip_counter, vip_counters, 1);
BPF_TABLE("percpu_array", __u32, struct counter, backend_counters, 1);

#endif
