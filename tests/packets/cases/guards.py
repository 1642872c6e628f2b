# SPDX-License-Identifier: Apache-2.0
"""What is for a VIP and never goes to a backend: forged sources, flags that no TCP sends, time run out."""

from __future__ import annotations

from typing import Any

from packets.case import SPORT, Case, ether, hash_of, ip, l4, to_vip
from packets.expect import icmp_error, wrapped
from packets.world import BACKENDS, VIPS
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6ExtHdrDestOpt

from lb.core.verdicts import Verdict

V = Verdict
BOGUS = ("", "P", "U", "PU", "F", "FPU", "FS", "FSA", "SR", "SRA", "FR", "FSR", "FSRPAU", "FSRA", "EC")
GOOD = ("S", "SA", "A", "PA", "FA", "FPA", "R", "RA", "FRA", "SEC", "UA", "RP")


def flags(value: str, vip: str = "44") -> bytes:
    """A TCP segment with these flags."""
    return ether(ip(vip), TCP(sport=SPORT, dport=80, flags=value), b"x")


def land(vip: str, *, sport: int = SPORT) -> bytes:
    """From the VIP to itself."""
    header = ip(vip, src=VIPS[vip][0])
    return ether(header, UDP(sport=sport, dport=53) if vip.endswith("udp") else TCP(sport=sport, dport=80, flags="S"))


def expired(vip: str, ttl: int, payload: bytes = b"", **more: Any) -> bytes:
    """A packet whose time runs out here."""
    field = "hlim" if ":" in VIPS[vip][0] else "ttl"
    return ether(ip(vip, **{field: ttl}), l4(vip), payload, **more)


def answered(name: str, packet: bytes) -> Case:
    """Time exceeded, from the VIP to the sender."""
    kind = 11 if packet[12] == 8 else 3
    return Case(f"{name} is answered", packet, V.ANSWERED_TTL_EXCEEDED, icmp_error(packet, kind, 0))


def silent(name: str, packet: bytes) -> Case:
    """Nobody to answer."""
    return Case(f"{name} is not answered", packet, V.DROP_TTL_EXCEEDED)


LITERAL_IN = bytes.fromhex(
    "0200000000010200000000990800"
    "45000028123440000106 7b60 c6336407c0000201"
    "9c4000500000000000000000501020000708 0000"
)  # fmt: skip
LITERAL_OUT = bytes.fromhex(
    "0200000000990200000000010800"
    "45c00044000040004001 4dbd c0000201c6336407"
    "0b00 e156 00000000"
    "45000028123440000106 7b60 c6336407c0000201"
    "9c4000500000000000000000501020000708 0000"
)  # fmt: skip

ROUTED_LAST_HOP = to_vip("44", ttl=2)
FROM_VIP_PORT = land("44", sport=80)
OPTIONS = ether(ip("44", ttl=1, options=[b"\x94\x04\0\0"]), l4("44"))
EXTENSIONS = ether(ip("66", hlim=1), IPv6ExtHdrDestOpt(), l4("66"), b"data")
FIRST = ether(ip("44-udp", ttl=1, flags="MF", id=900), UDP(sport=SPORT, dport=53, len=99, chksum=1), bytes(64))
GROUP, BROADCAST = "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff"

CASES = [
    *(Case(f"TCP flags {value or 'none'!r}", flags(value), V.DROP_TCP_FLAGS) for value in BOGUS),
    *(
        Case(f"IPv6 TCP flags {value or 'none'!r}", flags(value, "66"), V.DROP_TCP_FLAGS)
        for value in ("", "F", "FS", "SR")
    ),
    *(
        Case(f"TCP flags {value!r} are good", flags(value), V.FORWARDED, wrapped(flags(value), BACKENDS["44"]))
        for value in GOOD
    ),
    Case("land", land("44"), V.DROP_LAND),
    Case("land with equal ports", FROM_VIP_PORT, V.DROP_LAND),
    Case("land over UDP", land("44-udp"), V.DROP_LAND),
    Case("IPv6 land", land("66"), V.DROP_LAND),
    Case("IPv6 land over UDP", land("66-udp"), V.DROP_LAND),
    Case("land with TTL 1 is not answered", ether(ip("44", src=VIPS["44"][0], ttl=1), l4("44")), V.DROP_LAND),
    Case("ping from the VIP to itself", ether(ip("44", src=VIPS["44"][0]), ICMP()), V.DROP_LAND),
    Case("IPv6 ping from the VIP to itself", ether(ip("66", src=VIPS["66"][0]), ICMPv6EchoRequest()), V.DROP_LAND),
    Case(
        "from another VIP is no land",
        to_vip("44", src=VIPS["46"][0]),
        V.FORWARDED,
        wrapped(to_vip("44", src=VIPS["46"][0]), BACKENDS["44"]),
    ),
    Case(
        "from the low half of an IPv6 VIP is no land",
        to_vip("66", src="2001:db8:c1::2"),
        V.FORWARDED,
        wrapped(to_vip("66", src="2001:db8:c1::2"), BACKENDS["66"], hash_of("66", src="2001:db8:c1::2")),
    ),
    Case("TTL 1: literal", LITERAL_IN, V.ANSWERED_TTL_EXCEEDED, LITERAL_OUT),
    Case("TTL 2 goes on", ROUTED_LAST_HOP, V.FORWARDED, wrapped(ROUTED_LAST_HOP, BACKENDS["44"])),
    Case("TTL 255", to_vip("44", ttl=255), V.FORWARDED, wrapped(to_vip("44", ttl=255), BACKENDS["44"])),
    answered("TTL 1", expired("44", 1)),
    answered("TTL 0", expired("44", 0)),
    answered("TTL 1 of UDP", expired("44-udp", 1, b"abc")),
    answered("TTL 1 of UDP without payload", expired("44-udp", 1)),
    answered("TTL 1 with options", OPTIONS),
    answered("TTL 1 with padding", expired("44-udp", 1).ljust(60, b"\0")),
    answered("TTL 1 with trailing bytes", expired("44", 1) + bytes(1000)),
    answered("TTL 1, for an IPv6 backend", expired("46", 1)),
    answered("TTL 1 of a first fragment", FIRST),
    *(
        answered(f"TTL 1 of {size} payload bytes", expired("44-udp", 1, bytes(i % 251 for i in range(size))))
        for size in (1, 2, 3, 64, 519, 520, 521, 1400)
    ),
    answered("hop limit 1", expired("66", 1)),
    answered("hop limit 0", expired("66", 0)),
    answered("hop limit 1, for an IPv4 backend", expired("64", 1)),
    answered("hop limit 1 behind extension headers", EXTENSIONS),
    *(
        answered(f"hop limit 1 of {size} payload bytes", expired("66-udp", 1, bytes(i % 251 for i in range(size))))
        for size in (0, 1, 2, 3, 1183, 1184, 1185, 1400)
    ),
    silent("TTL 1 in a frame to a group", expired("44", 1, dst=GROUP)),
    silent("TTL 1 in a broadcast frame", expired("44", 1, dst=BROADCAST)),
    silent("TTL 1 in a frame from a group", expired("44", 1, src=GROUP)),
    *(
        silent(f"TTL 1 from {source}", ether(ip("44", ttl=1, src=source), l4("44")))
        for source in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255")
    ),
    *(
        silent(f"hop limit 1 from {source}", ether(ip("66", hlim=1, src=source), l4("66")))
        for source in ("::", "::1", "ff02::1", "::ffff:198.51.100.7")
    ),
    silent("hop limit 1 in a frame to a group", expired("66", 1, dst="33:33:00:00:00:01")),
    Case("TTL 1 elsewhere passes", ether(ip("44", ttl=1, dst="192.0.2.200"), l4("44")), V.PASS_NOT_VIP),
]
