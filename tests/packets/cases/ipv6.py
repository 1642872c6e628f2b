# SPDX-License-Identifier: Apache-2.0
"""IPv6 to VIPs and past them: extension headers, lengths, addresses."""

from __future__ import annotations

from typing import Any

from packets.case import CLIENT6, Case, ether, hash_of, ip, l4, to_vip
from packets.expect import wrapped
from packets.world import BACKENDS
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.packet import Packet

from lb.core.verdicts import Verdict

V = Verdict
ELSEWHERE = "2001:db8::200"

# Written out by hand: [2001:db8::2]:80 from [2001:db8:c1::7]:40000, a bare ACK, to an IPv6 backend.
LITERAL_IN = bytes.fromhex(
    "02000000000102000000009986dd"
    "6ab0000000140640"
    "20010db800c10000000000000000000720010db8000000000000000000000002"
    "9c40005000000000000000005010200097080000"
)  # fmt: skip


def sent(name: str, packet: bytes, vip: str = "66", **more: Any) -> Case:
    """Forwarded to the one backend of the VIP's pool."""
    pool = {"66-udp": "66", "64-udp": "64", "any6": "66"}.get(vip, vip)
    return Case(name, packet, V.FORWARDED, wrapped(packet, BACKENDS[pool], hash_of(vip)), **more)


def chain(*headers: Packet, vip: str = "66", payload: bytes = b"") -> bytes:
    """A good packet with extension headers."""
    packet = ip(vip)
    for header in headers:
        packet = packet / header
    return ether(packet, l4(vip), payload)


def hop_by_hop() -> Packet:
    """The smallest: 8 bytes."""
    return IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])


def options(size_bytes: int = 8) -> Packet:
    """Destination options of so many bytes, a multiple of 8."""
    pads, left = [], size_bytes - 2
    while left:
        take = min(left, 250)
        pads.append(PadN(optdata=bytes(take - 2)))
        left -= take
    return IPv6ExtHdrDestOpt(options=pads)


def routing() -> Packet:
    """A routing header that has been worked off."""
    return IPv6ExtHdrRouting(type=0, segleft=0, addresses=[ELSEWHERE])


def mapped(*layers: Packet | bytes) -> bytes:
    """To ::ffff:192.0.2.1, which is not the IPv4 VIP 192.0.2.1."""
    return ether(IPv6(src=CLIENT6, dst="::ffff:192.0.2.1"), *layers)


def truncated(frame: bytes, length: int) -> bytes:
    """A frame whose IPv6 payload is cut to so many bytes, and says so."""
    return frame[:18] + length.to_bytes(2, "big") + frame[20 : 54 + length]


ATOMIC = IPv6ExtHdrFragment(offset=0, m=0, id=99)
PLAIN = to_vip("66")


def literal(frame: bytes) -> None:
    """The whole frame, by hand but for the flow label, which comes from the hash."""
    assert frame[:14].hex() == "02bb0000001202000000000186dd"
    assert frame[14] == 0x6A and frame[15] >> 4 == 0xB  # noqa: PT018 - one field
    assert frame[18:54].hex() == "003c294020010db8000b0000000000000000000120010db8000b00000000000000000012"
    assert frame[54:62].hex() == "6ab000000014063f"
    assert frame[62:] == LITERAL_IN[22:]


CASES = [
    Case("literal", LITERAL_IN, V.FORWARDED, literal),
    sent("TCP ACK", PLAIN),
    sent("TCP SYN", to_vip("66", flags="S")),
    sent("UDP", to_vip("66-udp", b"query"), "66-udp"),
    sent("UDP of odd length", to_vip("66-udp", b"abc"), "66-udp"),
    sent("any-port VIP", to_vip("any6"), "any6"),
    sent("traffic class is copied", to_vip("66", tc=0xB9)),
    sent("all of traffic class is copied", to_vip("66", tc=0xFF)),
    sent("a flow label is not copied: the outer one is of the hash", to_vip("66", fl=0xFFFFF)),
    sent("hop limit 2", to_vip("66", hlim=2)),
    sent("trailing bytes", PLAIN + b"trailer" * 9),
    sent("hop-by-hop options", chain(hop_by_hop())),
    sent("routing header", chain(routing())),
    sent("destination options", chain(options())),
    sent("destination options of 1024 bytes", chain(options(1024))),
    sent("atomic fragment", chain(ATOMIC)),
    sent(
        "hop-by-hop, routing, atomic fragment, destination options", chain(hop_by_hop(), routing(), ATOMIC, options())
    ),
    sent("6 extension headers", chain(*[options()] * 6)),
    sent("UDP behind extension headers", chain(hop_by_hop(), options(), vip="66-udp", payload=b"abc"), "66-udp"),
    Case("7 extension headers", chain(*[options()] * 7), V.DROP_HEADERS),
    Case("20 extension headers", chain(*[options()] * 20), V.DROP_HEADERS),
    Case("no backend", to_vip("empty6"), V.DROP_NO_BACKEND),
    Case("another address", ether(IPv6(dst=ELSEWHERE), TCP(dport=80)), V.PASS_NOT_VIP),
    Case("another port", ether(ip("66"), TCP(dport=81)), V.PASS_NOT_VIP),
    Case("another protocol's port", ether(ip("66"), UDP(dport=80)), V.PASS_NOT_VIP),
    Case("elsewhere: 7 extension headers", ether(IPv6(dst=ELSEWHERE), *[options()] * 7, TCP()), V.PASS_NOT_VIP),
    Case("elsewhere: hop limit 0", ether(IPv6(dst=ELSEWHERE, hlim=0), TCP(dport=80)), V.PASS_NOT_VIP),
    Case("elsewhere: length beyond the frame", ether(IPv6(dst=ELSEWHERE, plen=99), TCP()), V.PASS_MALFORMED),
    Case("elsewhere: extension header cut short", ether(IPv6(dst=ELSEWHERE, nh=60), b"\x06"), V.PASS_MALFORMED),
    Case("v4-mapped address of an IPv4 VIP", mapped(TCP(dport=80, flags="S")), V.PASS_NOT_VIP),
    Case("ping of a v4-mapped address of an IPv4 VIP", mapped(ICMPv6EchoRequest()), V.PASS_NOT_VIP),
    Case("broken, to a v4-mapped address of an IPv4 VIP", mapped(TCP(dport=80))[:60], V.PASS_NOT_VIP),
    Case("v4-compatible address", ether(IPv6(dst="::192.0.2.1"), TCP(dport=80)), V.PASS_NOT_VIP),
    Case("unspecified address", ether(IPv6(dst="::"), TCP(dport=0)), V.PASS_NOT_VIP),
    Case("neighbour solicitation", ether(IPv6(dst="ff02::1:ff00:2"), ICMPv6ND_NS(tgt="2001:db8::2")), V.PASS_NOT_VIP),
    Case("neighbour solicitation to the VIP", ether(ip("66"), ICMPv6ND_NS(tgt="2001:db8::2")), V.PASS_ICMP),
    Case("router advertisement", ether(IPv6(src="fe80::1", dst="ff02::1"), ICMPv6ND_RA()), V.PASS_NOT_VIP),
    Case("MLD report behind hop-by-hop", ether(IPv6(dst="ff02::16"), hop_by_hop(), ICMPv6MLReport2()), V.PASS_NOT_VIP),
    Case("no next header, to a VIP's address", ether(ip("66", nh=59), b"rest"), V.PASS_NOT_VIP),
    Case("ESP for a VIP's address", ether(ip("66", nh=50), bytes(32)), V.PASS_NOT_VIP),
    Case(
        "authentication header for a VIP's address",
        ether(ip("66", nh=51), b"\x06\x04" + bytes(22), TCP(dport=80)),
        V.PASS_NOT_VIP,
    ),
    Case("IPv6 in IPv6 for a VIP's address", ether(ip("66"), IPv6(dst=ELSEWHERE), TCP(dport=80)), V.PASS_NOT_VIP),
    Case("header cut short", PLAIN[:53], V.PASS_MALFORMED),
    Case("Ethernet header alone", ether(type=0x86DD), V.PASS_MALFORMED),
    Case("version 4 in an IPv6 frame", PLAIN[:14] + b"\x45" + PLAIN[15:], V.PASS_MALFORMED),
    Case("header alone", truncated(PLAIN, 0), V.DROP_MALFORMED),
    Case("ports cut off", truncated(PLAIN, 3), V.DROP_MALFORMED),
    Case("TCP header cut short", truncated(PLAIN, 19), V.DROP_MALFORMED),
    Case("UDP header cut short", truncated(to_vip("66-udp"), 7), V.DROP_MALFORMED),
    Case("length beyond the frame", ether(ip("66", plen=21), l4("66")), V.DROP_MALFORMED),
    Case("length below the transport header", ether(ip("66", plen=19), l4("66")), V.DROP_MALFORMED),
    Case("length 0, as in a jumbogram", ether(ip("66", plen=0), l4("66")), V.DROP_MALFORMED),
    Case("hop-by-hop header cut short by the length", truncated(chain(hop_by_hop()), 7), V.DROP_MALFORMED),
    Case("hop-by-hop header cut short by the frame", chain(hop_by_hop())[:60], V.DROP_MALFORMED),
    Case("extension header longer than the packet", ether(ip("66", nh=60), b"\x06\xff" + bytes(60)), V.DROP_MALFORMED),
    Case("nothing behind the last extension header", truncated(chain(options()), 8), V.DROP_MALFORMED),
]
