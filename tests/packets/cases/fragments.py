# SPDX-License-Identifier: Apache-2.0
"""Fragments: the first leaves a record, the others follow it."""

from __future__ import annotations

from typing import Any

from packets.case import CLIENT, CLIENT6, SPORT, Case, ether, hash_of, ip, to_vip
from packets.cases.encap import apart_from_identification
from packets.expect import wrapped
from packets.world import BACKENDS, pool_of
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment

from lb.core.verdicts import Verdict

V = Verdict
HALF = bytes(range(64))


def first(vip: str, ident: int, **fields: Any) -> bytes:
    """IPv4: UDP header and 64 bytes, more to come."""
    return ether(ip(vip, id=ident, flags="MF", **fields), UDP(sport=SPORT, dport=53, len=136, chksum=1), HALF)


def later(vip: str, ident: int, *, offset: int = 9, proto: int = 17, more: bool = False, **fields: Any) -> bytes:
    """IPv4: what comes ``offset`` * 8 bytes behind the first's beginning."""
    return ether(ip(vip, id=ident, frag=offset, proto=proto, flags="MF" if more else 0, **fields), HALF)


def first6(vip: str, ident: int, next_header: int = 17) -> bytes:
    """IPv6: the same."""
    fragment = IPv6ExtHdrFragment(nh=next_header, id=ident, m=1)
    return ether(ip(vip), fragment, UDP(sport=SPORT, dport=53, len=136, chksum=1), HALF)


def later6(vip: str, ident: int, *, next_header: int = 17, offset: int = 9, more: int = 0, **fields: Any) -> bytes:
    """IPv6: the same; its next header need not be that of the first (RFC 8200, 4.5)."""
    return ether(ip(vip, **fields), IPv6ExtHdrFragment(nh=next_header, id=ident, offset=offset, m=more), HALF)


def on_its_own(frame: bytes, vip: str) -> bytes:
    """Wrapped with an outer identification that other fragments of the datagram do not have (RFC 6864)."""
    fragment = int.from_bytes(frame[20:22], "big") & 0x3FFF
    ident = int.from_bytes(frame[18:20], "big") ^ fragment if frame[12] == 8 else None
    return wrapped(frame, BACKENDS[pool_of(vip)], hash_of(vip), ident=ident)


def follows(name: str, before: bytes, packet: bytes, vip: str, verdict: Verdict = V.FORWARDED_FRAGMENT) -> Case:
    """Goes where the first one went, by the same outer source."""
    expected = on_its_own(packet, vip)
    check = apart_from_identification(expected) if vip == "64-udp" else expected
    return Case(name, packet, verdict, check, before=(before,))


def is_first(name: str, packet: bytes, vip: str) -> Case:
    """Steered by its ports."""
    expected = on_its_own(packet, vip)
    return Case(name, packet, V.FORWARDED, apart_from_identification(expected) if vip == "64-udp" else expected)


TCP_FIRST = ether(ip("44", id=21, flags="MF"), TCP(sport=SPORT, dport=80, flags="PA"), HALF)
TINY = ether(ip("44", id=22, flags="MF", proto=6), bytes(TCP(sport=SPORT, dport=80))[:8])
TINY16 = ether(ip("44", id=23, flags="MF", proto=6), bytes(TCP(sport=SPORT, dport=80))[:16])
OTHER_CLIENT = later("44-udp", 3, src="198.51.100.8")
EMPTY_FIRST = ether(ip("empty", id=31, flags="MF"), TCP(sport=SPORT, dport=80, flags="A"), HALF)
EVIL = ether(ip("44", flags="evil", proto=6), to_vip("44")[34:])
HEADER_ONLY6 = ether(ip("66-udp"), IPv6ExtHdrFragment(nh=60, id=60, m=1), IPv6ExtHdrDestOpt(nh=17))
BEHIND_OPTIONS = ether(
    ip("66-udp"),
    IPv6ExtHdrFragment(nh=60, id=61, m=1),
    IPv6ExtHdrDestOpt(),
    UDP(sport=SPORT, dport=53, len=136, chksum=1),
    HALF,
)
PING_FIRST, PING_LATER = ether(ip("44", id=70, flags="MF"), ICMP(), HALF), later("44", 70, proto=1)
PING_FIRST6 = ether(ip("66"), IPv6ExtHdrFragment(nh=58, id=71, m=1), ICMPv6EchoRequest(data=HALF))

CASES = [
    is_first("first", first("44-udp", 1), "44-udp"),
    is_first("first, 4 in 6", first("46-udp", 1), "46-udp"),
    is_first("first, 6 in 6", first6("66-udp", 1), "66-udp"),
    is_first("first, 6 in 4", first6("64-udp", 1), "64-udp"),
    is_first("first of TCP", TCP_FIRST, "44"),
    is_first("IPv6 first with options behind the fragment header", BEHIND_OPTIONS, "66-udp"),
    follows("last", first("44-udp", 2), later("44-udp", 2), "44-udp"),
    follows("middle", first("44-udp", 2), later("44-udp", 2, more=True), "44-udp"),
    follows("last at the highest offset", first("44-udp", 2), later("44-udp", 2, offset=8190), "44-udp"),
    follows("last of TCP", TCP_FIRST, later("44", 21, proto=6), "44"),
    follows("last, 4 in 6", first("46-udp", 2), later("46-udp", 2), "46-udp"),
    follows("last, 6 in 6", first6("66-udp", 2), later6("66-udp", 2), "66-udp"),
    follows("last, 6 in 4", first6("64-udp", 2), later6("64-udp", 2), "64-udp"),
    follows("IPv6 middle", first6("66-udp", 2), later6("66-udp", 2, more=1), "66-udp"),
    follows("IPv6 last with another next header", first6("66-udp", 4), later6("66-udp", 4, next_header=60), "66-udp"),
    follows("IPv6 last that claims to be ICMP", first6("66-udp", 4), later6("66-udp", 4, next_header=58), "66-udp"),
    follows("IPv6 last that claims no next header", first6("66-udp", 4), later6("66-udp", 4, next_header=59), "66-udp"),
    follows("IPv6 last behind options", BEHIND_OPTIONS, later6("66-udp", 61, next_header=60), "66-udp"),
    Case("last before the first", later("44-udp", 100), V.DROP_FRAGMENT),
    Case("of another datagram", later("44-udp", 4), V.DROP_FRAGMENT, before=(first("44-udp", 3),)),
    Case("of another client", OTHER_CLIENT, V.DROP_FRAGMENT, before=(first("44-udp", 3),)),
    Case("of another protocol", later("44-udp", 3, proto=6), V.DROP_FRAGMENT, before=(first("44-udp", 3),)),
    Case("of another VIP", later("any", 3), V.DROP_FRAGMENT, before=(first("44-udp", 3),)),
    Case("IPv6: last before the first", later6("66-udp", 100), V.DROP_FRAGMENT),
    Case("IPv6: of another datagram", later6("66-udp", 0x10002), V.DROP_FRAGMENT, before=(first6("66-udp", 2),)),
    Case("IPv6: last that may be options", later6("66-udp", 101, next_header=60), V.DROP_FRAGMENT),
    Case(
        "without a backend, the others are dropped too",
        later("empty", 31, proto=6),
        V.DROP_FRAGMENT,
        before=(EMPTY_FIRST,),
    ),
    Case("last with TTL 1", later("44-udp", 5, ttl=1), V.DROP_TTL_EXCEEDED, before=(first("44-udp", 5),)),
    Case("last with hop limit 1", later6("66-udp", 5, hlim=1), V.DROP_TTL_EXCEEDED, before=(first6("66-udp", 5),)),
    Case(
        "first without room for ports", ether(ip("44-udp", id=8, flags="MF", proto=17), b"\x9c\x40\0"), V.DROP_MALFORMED
    ),
    Case("first with 8 bytes of TCP", TINY, V.DROP_MALFORMED),
    Case("first with 16 bytes of TCP", TINY16, V.DROP_MALFORMED),
    Case("IPv6 first that ends before the transport header", HEADER_ONLY6, V.DROP_MALFORMED),
    Case("IPv6 fragment header cut short", ether(ip("66-udp", nh=44), b"\x11\0\0"), V.DROP_MALFORMED),
    Case("first for another port passes", ether(ip("44", id=9, flags="MF"), UDP(dport=99), HALF), V.PASS_NOT_VIP),
    Case("first of a ping passes", PING_FIRST, V.PASS_NOT_VIP),
    Case("last of a ping passes, too", PING_LATER, V.PASS_NOT_VIP, before=(PING_FIRST,)),
    Case("last of GRE passes", later("44", 72, proto=47), V.PASS_NOT_VIP),
    Case("IPv6: first of a ping passes", PING_FIRST6, V.PASS_NOT_VIP),
    Case("IPv6: last of a ping passes, too", later6("66", 71, next_header=58), V.PASS_NOT_VIP, before=(PING_FIRST6,)),
    Case("elsewhere: first", ether(IP(src=CLIENT, dst="192.0.2.200", flags="MF"), UDP(), HALF), V.PASS_NOT_VIP),
    Case("elsewhere: last", ether(IP(src=CLIENT, dst="192.0.2.200", frag=9, proto=17), HALF), V.PASS_NOT_VIP),
    Case(
        "elsewhere: IPv6 last",
        ether(IPv6(src=CLIENT6, dst="2001:db8::200"), IPv6ExtHdrFragment(nh=17, offset=9), HALF),
        V.PASS_NOT_VIP,
    ),
    Case(
        "reserved bit is no fragment",
        EVIL,
        V.FORWARDED,
        wrapped(EVIL, BACKENDS["44"]),
        defects=("inner IPv4: reserved bit",),
    ),
]
