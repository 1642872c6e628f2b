/* SPDX-License-Identifier: GPL-2.0-only */
/* packet.h - struct packet: what is known of a packet, and the words to say it with. */
#ifndef LB_PACKET_H
#define LB_PACKET_H

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define bpf_htons(x) ((__be16)__builtin_bswap16(x))
#define bpf_ntohs(x) __builtin_bswap16(x)
#define bpf_htonl(x) ((__be32)__builtin_bswap32(x))

#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET_MASK 0x1fff

#define V4_MAPPED bpf_htonl(0xffff)

enum kind {
	KIND_FLOW,		/* TCP or UDP, whole or first fragment: ports are set */
	KIND_LATER_FRAGMENT,	/* of TCP or UDP over IPv4, of anything over IPv6; no ports: id is set */
	KIND_ICMP,		/* ICMP over IPv4, ICMPv6 over IPv6; l4 is set */
	KIND_OTHER,		/* another protocol: never ours */
	KIND_BROKEN,		/* lengths contradict each other, or headers are cut short */
	KIND_DEEP,		/* more IPv6 extension headers than we walk */
};

struct packet {
	struct vip_key vip;	/* destination: what the VIP lookup takes */
	__be32 src[4];
	__be32 ports;		/* source and destination port, as they stand in the header */
	__be32 id;		/* IPv4 identification, or that of IPv6's fragment header */
	__u32  frame_bytes;
	__u32  total_bytes;	/* of the IP packet, without the frame's padding */
	__u16  tag_bytes;	/* of VLAN tags between the addresses and the type: 0, 4 or 8 */
	__u16  l4;		/* offset of the transport header from the IP header */
	__be16 frag_off;	/* IPv4: as it stands */
	__u8   kind;
	__u8   v6;
	__u8   first_fragment;
	__u8   tos;		/* traffic class */
	__u8   ttl;
	__u8   tcp_flags;
};

#endif
