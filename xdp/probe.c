/* SPDX-License-Identifier: GPL-2.0-only */
/* probe.c - health checks through the tunnel: wraps what marked sockets of this box send, for the backend that the mark
 * names. See README.md.
 *
 * A tc program on the egress of the data plane's interfaces. It reads the data plane's own map of backends, so a probe
 * goes where clients' packets go, or nowhere. -DPROBE_MARK and -DPROBE_MARK_MASK say which marks are ours; the bits
 * outside the mask are the backend index.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/ipv6.h>
#include <uapi/linux/pkt_cls.h>

#include "types.h"
#include "packet.h"
#include "outer.h"

/* A template: lbd points the instructions at the map of maps.h. */
BPF_TABLE("array", __u32, struct backend, backends, 1);

/* Fills in what the outer header takes over from the inner one. Returns 0 for a packet that is not IP. */
static __always_inline int read_inner(struct __sk_buff *skb, struct packet *pkt)
{
	struct iphdr ip4;
	struct ipv6hdr ip6;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip4, sizeof(ip4)))
			return 0;
		pkt->tos = ip4.tos;
		pkt->id = ip4.id;
		pkt->frag_off = ip4.frag_off;
		pkt->total_bytes = bpf_ntohs(ip4.tot_len);
		return 1;
	}
	if (skb->protocol != bpf_htons(ETH_P_IPV6) || bpf_skb_load_bytes(skb, ETH_HLEN, &ip6, sizeof(ip6)))
		return 0;
	pkt->v6 = 1;
	pkt->tos = ip6.priority << 4 | ip6.flow_lbl[0] >> 4;
	pkt->total_bytes = bpf_ntohs(ip6.payload_len) + sizeof(ip6);
	return 1;
}

/* Puts `outer` between the Ethernet and the inner header. Returns 0 on success. The kernel is told what is inside, so
 * that checksums and segments that it has left for later are made of the inner packet. Segments keep their size: the
 * tunnel's route has room for the outer header.
 */
static __always_inline int insert(struct __sk_buff *skb, void *outer, __u32 outer_bytes, __u64 kind)
{
	__be16 proto = kind == BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);

	return bpf_skb_adjust_room(skb, outer_bytes, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | kind) ||
	       bpf_skb_store_bytes(skb, ETH_HLEN, outer, outer_bytes, 0) ||
	       bpf_skb_store_bytes(skb, 2 * ETH_ALEN, &proto, sizeof(proto), 0);
}

/* As encap.h does it; but the TTL stays: this box sends the packet, it does not forward it (RFC 2003, 3.1). */
static __always_inline int wrap(struct __sk_buff *skb, const struct packet *pkt, const struct backend *backend)
{
	__u32 hash = bpf_get_hash_recalc(skb);
	__be32 low = bpf_htonl(hash) & backend->source_mask;
	struct iphdr outer4 = {};
	struct ipv6hdr outer6 = {};

	if (outer_is_ipv4(backend)) {
		write_outer_ipv4(&outer4, pkt, backend, low);
		return insert(skb, &outer4, sizeof(outer4), BPF_F_ADJ_ROOM_ENCAP_L3_IPV4);
	}
	write_outer_ipv6(&outer6, pkt, backend, hash, low);
	return insert(skb, &outer6, sizeof(outer6), BPF_F_ADJ_ROOM_ENCAP_L3_IPV6);
}

int probe(struct __sk_buff *skb)
{
	/* Not OK: others' filters have their turn. */
	if (likely((skb->mark & PROBE_MARK_MASK) != PROBE_MARK))
		return TC_ACT_UNSPEC;

	__u32 index = skb->mark & ~PROBE_MARK_MASK;
	struct backend *backend = backends.lookup(&index);
	struct packet pkt = {};

	/* Its next hop was never known. */
	if (!backend || !backend->ifindex || !read_inner(skb, &pkt) || wrap(skb, &pkt, backend) ||
	    bpf_skb_store_bytes(skb, 0, backend->mac, sizeof(backend->mac), 0))
		return TC_ACT_SHOT;
	/* Once is enough: the other interface has this program, too. */
	skb->mark = 0;
	return backend->ifindex == skb->ifindex ? TC_ACT_OK : bpf_redirect(backend->ifindex, 0);
}
