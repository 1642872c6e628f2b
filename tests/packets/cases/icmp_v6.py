# SPDX-License-Identifier: Apache-2.0
"""ICMPv6: pings of a VIP, errors about its flows, and everything else, which passes."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any

from packets.case import CLIENT6, SPORT, Case, ether, hash_of, ip
from packets.cases.encap import apart_from_identification
from packets.expect import echo_reply, wrapped
from packets.wire import checksum, pseudo_header
from packets.world import BACKENDS, VIPS, pool_of
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6MLQuery,
    ICMPv6ND_NA,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.packet import Packet

from lb.core.verdicts import Verdict

V = Verdict
ROUTER = "2001:db8:f::1"


def ping(payload: bytes = b"", *headers: Packet, vip: str = "66", **fields: Any) -> bytes:
    """An echo request from the client."""
    return ether(ip(vip, **fields), *headers, ICMPv6EchoRequest(id=7, seq=1, data=payload))


def reply(vip: str, payload: bytes = b"", *headers: Packet, **fields: Any) -> bytes:
    """What a backend sent to the client, as a router on its way saw it: from the VIP."""
    address, port, protocol, _ = VIPS[vip]
    packet = IPv6(**{"src": address, "dst": CLIENT6, "hlim": 3, **fields})
    for header in headers:
        packet = packet / header
    return bytes(packet / (TCP if protocol == 6 else UDP)(sport=port or 8080, dport=SPORT) / payload)


def error(kind: int, code: int, quote: bytes, *headers: Packet, vip: str = "66", rest: int = 0, **fields: Any) -> bytes:
    """An ICMPv6 error from a router to the VIP."""
    header = ip(vip, **{"src": ROUTER, **({} if headers else {"nh": 58}), **fields})
    message = struct.pack("!BBHI", kind, code, 0, rest) + quote
    covered = pseudo_header(ip_address(header.src).packed, ip_address(header.dst).packed, 58, len(message))
    message = message[:2] + struct.pack("!H", checksum(covered + message)) + message[4:]
    return ether(header, *headers, message)


def delivered(name: str, packet: bytes, vip: str = "66", **more: Any) -> Case:
    """To the backend of the flow that it quotes."""
    expected = wrapped(packet, BACKENDS[pool_of(vip)], hash_of(vip))
    check = apart_from_identification(expected) if vip == "64" else expected
    return Case(name, packet, V.FORWARDED_ICMP_ERROR, check, **more)


def passes(name: str, packet: bytes) -> Case:
    """Not about a flow of a VIP."""
    return Case(name, packet, V.PASS_ICMP)


def answered(name: str, packet: bytes, **more: Any) -> Case:
    """Echo reply."""
    return Case(name, packet, V.ANSWERED_ECHO, echo_reply(packet), **more)


LITERAL_IN = bytes.fromhex(
    "02000000000102000000009986dd60000000000b3a40"
    "20010db800c10000000000000000000720010db8000000000000000000000002"
    "8000 5f13 00070001 616263"
)  # fmt: skip
LITERAL_OUT = bytes.fromhex(
    "02000000009902000000000186dd60000000000b3a40"
    "20010db800000000000000000000000220010db800c100000000000000000007"
    "8100 5e13 00070001 616263"
)  # fmt: skip

QUOTE = reply("66", b"data")
SHORTEST = QUOTE[:48]
WRONG_PING = ping(b"abc")[:56] + b"\x12\x34" + ping(b"abc")[58:]
WRONG_REPLY = echo_reply(ping(b"abc"))[:56] + b"\x11\x34" + echo_reply(ping(b"abc"))[58:]
WRONG_ERROR = error(2, 0, QUOTE)[:56] + b"\x12\x34" + error(2, 0, QUOTE)[58:]
LATER = IPv6ExtHdrFragment(nh=6, offset=9, id=1)
FIRST = IPv6ExtHdrFragment(nh=6, offset=0, m=1, id=1)
FROM_CLIENT = bytes(IPv6(src=CLIENT6, dst=VIPS["66"][0]) / TCP(sport=SPORT, dport=80))
FROM_ELSEWHERE = bytes(IPv6(src="2001:db8::200", dst=CLIENT6) / TCP(sport=80, dport=SPORT))

CASES = [
    Case("ping: literal", LITERAL_IN, V.ANSWERED_ECHO, LITERAL_OUT),
    *(answered(f"ping of {size} bytes", ping(bytes(i % 251 for i in range(size)))) for size in (0, 1, 7, 56, 57, 1452)),
    answered("ping with trailing bytes", ping(b"abc") + b"trailer"),
    answered("ping behind hop-by-hop options", ping(b"abc", IPv6ExtHdrHopByHop())),
    answered("ping behind destination options", ping(b"abc", IPv6ExtHdrDestOpt())),
    answered("ping in an atomic fragment", ping(b"abc", IPv6ExtHdrFragment(id=3))),
    answered("ping keeps traffic class and flow label", ping(b"abc", tc=0xB8, fl=0x12345)),
    *(answered(f"ping with hop limit {hops}", ping(b"abc", hlim=hops)) for hops in (0, 1, 255)),
    answered("ping of any VIP's address", ping(b"abc", vip="any6")),
    answered("ping of a VIP without backends", ping(b"abc", vip="empty6")),
    answered("ping by the other interface", ping(b"abc"), interface="out0"),
    Case(
        "ping with a wrong checksum: the reply's is as wrong",
        WRONG_PING,
        V.ANSWERED_ECHO,
        WRONG_REPLY,
        defects=("ICMP: checksum",),
    ),
    passes("ping with code 1", ether(ip("66"), ICMPv6EchoRequest(code=1, data=b"abc"))),
    passes("ping in a frame to a group", ether(ip("66"), ICMPv6EchoRequest(), dst="33:33:00:00:00:01")),
    *(passes(f"ping from {source}", ping(src=source)) for source in ("::", "::1", "ff02::1", "::ffff:198.51.100.7")),
    Case("ping of another address", ether(IPv6(dst="2001:db8::200"), ICMPv6EchoRequest()), V.PASS_NOT_VIP),
    Case("ping of all nodes", ether(IPv6(src=CLIENT6, dst="ff02::1"), ICMPv6EchoRequest()), V.PASS_NOT_VIP),
    Case("first fragment of a ping", ping(bytes(64), IPv6ExtHdrFragment(m=1)), V.PASS_NOT_VIP),
    Case("ping cut short by the length", ether(ip("66", plen=7), ICMPv6EchoRequest()), V.DROP_MALFORMED),
    Case("ping cut short by the frame", ping()[:61], V.DROP_MALFORMED),
    Case("ICMPv4 echo over IPv6", ether(ip("66", nh=1), b"\x08\0\xf7\xff" + bytes(4)), V.PASS_NOT_VIP),
    passes("echo reply", ether(ip("66"), ICMPv6EchoReply())),
    passes("neighbour advertisement", ether(ip("66"), ICMPv6ND_NA(tgt="2001:db8::99"))),
    passes("multicast listener query", ether(ip("66"), ICMPv6MLQuery())),
    *(passes(f"type {kind}", error(kind, 0, QUOTE)) for kind in (0, 5, 100, 127, 137, 160, 255)),
    *(delivered(f"unreachable, code {code}", error(1, code, QUOTE)) for code in range(8)),
    delivered("packet too big", error(2, 0, QUOTE, rest=1400)),
    *(delivered(f"time exceeded, code {code}", error(3, code, QUOTE)) for code in (0, 1)),
    *(delivered(f"parameter problem, code {code}", error(4, code, QUOTE)) for code in (0, 1, 2, 3)),
    delivered("packet too big with 8 bytes of TCP", error(2, 0, SHORTEST, rest=1280)),
    delivered("packet too big with 4 bytes of TCP", error(2, 0, QUOTE[:44], rest=1280)),
    delivered("about UDP", error(1, 4, reply("66-udp", b"abc"), vip="66-udp"), "66-udp"),
    delivered("about an any-port VIP", error(1, 4, reply("any6", b"abc"), vip="any6"), "any6"),
    delivered("about a flow to an IPv4 backend", error(2, 0, reply("64"), vip="64", rest=1400), "64"),
    delivered(
        "quoted with extension headers", error(2, 0, reply("66", b"", IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt()))
    ),
    delivered("quoted first fragment", error(2, 0, reply("66", b"", FIRST))),
    delivered("quoted in 1232 bytes", error(2, 0, reply("66", bytes(1400))[:1232])),
    delivered("behind extension headers", error(2, 0, QUOTE, IPv6ExtHdrDestOpt(nh=58))),
    Case(
        "wrong checksum is left alone",
        WRONG_ERROR,
        V.FORWARDED_ICMP_ERROR,
        wrapped(WRONG_ERROR, BACKENDS["66"], hash_of("66")),
        defects=("inner ICMP: checksum",),
    ),
    Case("with hop limit 1 is dropped, never answered", error(2, 0, QUOTE, hlim=1), V.DROP_TTL_EXCEEDED),
    Case("too big is dropped, never answered", error(2, 0, QUOTE + bytes(1500)), V.DROP_TOO_BIG),
    Case("about a VIP without backends", error(2, 0, reply("empty6"), vip="empty6"), V.DROP_NO_BACKEND),
    passes("about a port that is no VIP's", error(2, 0, bytes(IPv6(src=VIPS["66"][0], dst=CLIENT6) / TCP(sport=81)))),
    passes("about another protocol", error(2, 0, bytes(IPv6(src=VIPS["66"][0], dst=CLIENT6, nh=47)) + bytes(8))),
    passes("about a ping", error(1, 0, bytes(IPv6(src=VIPS["66"][0], dst=CLIENT6) / ICMPv6EchoReply()))),
    passes("quoted from another address", error(2, 0, FROM_ELSEWHERE)),
    passes("quoted the wrong way round", error(2, 0, FROM_CLIENT)),
    passes("quoted later fragment", error(3, 1, reply("66", b"", LATER))),
    passes("quoted 7 extension headers", error(2, 0, reply("66", b"", *[IPv6ExtHdrDestOpt()] * 7))),
    passes("quoted version 4", error(2, 0, b"\x45" + QUOTE[1:])),
    passes("quoted header cut short", error(2, 0, QUOTE[:39])),
    passes("quoted ports cut short", error(2, 0, QUOTE[:43])),
    passes("quoted ports only behind the packet's end", error(2, 0, QUOTE[:43]) + QUOTE[43:]),
    passes("nothing quoted", error(2, 0, b"")),
    Case("elsewhere: about a VIP's flow", error(2, 0, QUOTE, dst="2001:db8::200"), V.PASS_NOT_VIP),
    Case("error header cut short", ether(ip("66", nh=58), b"\x02\0\0\0"), V.DROP_MALFORMED),
]
