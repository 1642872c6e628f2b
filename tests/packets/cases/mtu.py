# SPDX-License-Identifier: Apache-2.0
"""Packets that do not fit once wrapped: answered with what fits, never silently dropped.

The backends' egress MTU is 1500: 1480 bytes fit behind an IPv4 header, 1460 behind an IPv6 one.
"""

from __future__ import annotations

from typing import Any

from packets.case import Case, ether, hash_of, ip, l4, sized, to_vip
from packets.cases.encap import apart_from_identification
from packets.cases.fragments import first, later
from packets.expect import icmp_error, wrapped
from packets.world import BACKENDS, pool_of
from scapy.layers.inet6 import IPv6ExtHdrDestOpt

from lb.core.verdicts import Verdict

V = Verdict
FITS = {"44": 1480, "46": 1460, "64": 1480, "66": 1460}


def fits(name: str, vip: str, packet: bytes) -> Case:
    """Forwarded."""
    expected = wrapped(packet, BACKENDS[pool_of(vip)], hash_of(vip))
    check = apart_from_identification(expected) if vip.startswith("64") else expected
    return Case(name, packet, V.FORWARDED, check)


def answered(name: str, vip: str, packet: bytes, mtu_bytes: int = 0) -> Case:
    """Fragmentation needed, or packet too big, with the MTU that fits."""
    mtu_bytes = mtu_bytes or FITS[vip[:2]]
    kind, code = (3, 4) if packet[12] == 8 else (2, 0)
    return Case(name, packet, V.ANSWERED_TOO_BIG, icmp_error(packet, kind, code, mtu_bytes))


def silent(name: str, packet: bytes) -> Case:
    """Nobody to tell."""
    return Case(name, packet, V.DROP_TOO_BIG)


def df(vip: str) -> dict[str, Any]:
    """Don't fragment, where there is such a bit."""
    return {"flags": "DF"} if vip in ("44", "46") else {}


def exactly(vip: str, total_bytes: int, **fields: Any) -> bytes:
    """An IP packet of so many bytes; ``fields`` go into the IP header."""
    bare = len(ether(ip(vip, **fields), l4(vip))) - 14
    return ether(ip(vip, **fields), l4(vip), bytes(i % 251 for i in range(total_bytes - bare)))


OPTIONS = ether(ip("44", flags="DF", options=[b"\x01" * 40]), l4("44"), bytes(1421))
EXTENSIONS = ether(ip("66"), IPv6ExtHdrDestOpt(), l4("66"), bytes(1393))
FIRST_BIG = ether(ip("44-udp", id=50, flags="MF"), l4("44-udp"), bytes(1464))
LAST_BIG = later("44-udp", 51)[:34] + bytes(1480)
LAST_BIG = LAST_BIG[:16] + (1500).to_bytes(2, "big") + LAST_BIG[18:]

CASES = [
    *(fits(f"{vip}: {size} bytes just fit", vip, exactly(vip, size, **df(vip))) for vip, size in FITS.items()),
    *(
        answered(f"{vip}: {size + 1} bytes do not", vip, exactly(vip, size + 1, **df(vip)))
        for vip, size in FITS.items()
    ),
    *(answered(f"{vip}: 1500 bytes", vip, exactly(vip, 1500, **df(vip))) for vip in FITS),
    *(answered(f"{vip}: 3000 bytes", vip, exactly(vip, 3000, **df(vip))) for vip in FITS),
    *(fits(f"{vip}-udp: just fits", f"{vip}-udp", sized(f"{vip}-udp", size)) for vip, size in FITS.items()),
    *(answered(f"{vip}-udp: too big", f"{vip}-udp", sized(f"{vip}-udp", size + 1)) for vip, size in FITS.items()),
    answered("without don't fragment: answered, too", "44", exactly("44", 1481)),
    answered("SYN with data", "44", to_vip("44", bytes(1441), flags="S")),
    answered("with options", "44", OPTIONS),
    answered("with extension headers", "66", EXTENSIONS),
    answered("first fragment", "44", FIRST_BIG),
    fits("jumbo frame on a jumbo link", "big", exactly("big", 2980)),
    answered("one byte more on a jumbo link", "big", exactly("big", 2981), 2980),
    fits("trailing bytes do not count", "44", exactly("44", 1480) + bytes(100)),
    answered("trailing bytes are not quoted", "44", exactly("44", 1481) + bytes(100)),
    Case("later fragment that is too big", LAST_BIG, V.DROP_TOO_BIG, before=(first("44-udp", 51),)),
    silent("too big in a broadcast frame", ether(ip("44"), l4("44"), bytes(1500), dst="ff:ff:ff:ff:ff:ff")),
    silent("too big from loopback", ether(ip("44", src="127.0.0.1"), l4("44"), bytes(1500))),
    silent("too big from a group", ether(ip("66", src="ff02::1"), l4("66"), bytes(1500))),
    Case("too big without a backend", exactly("empty", 1500), V.DROP_NO_BACKEND),
    Case(
        "too big and TTL 1: time exceeded",
        exactly("44", 1481, ttl=1),
        V.ANSWERED_TTL_EXCEEDED,
        icmp_error(exactly("44", 1481, ttl=1), 11, 0),
    ),
]
