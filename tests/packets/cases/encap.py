# SPDX-License-Identifier: Apache-2.0
"""The four encapsulations, outer sources, next hops: everything in front of the inner packet."""

from __future__ import annotations

from typing import Any

from packets.case import XDP_REDIRECT, XDP_TX, Case, Check, ether, hash_of, ip, l4, to_vip
from packets.expect import RANDOM_CHECK, RANDOM_ID, wrapped
from packets.wire import sum16
from packets.world import BACKENDS, pool_of
from scapy.layers.inet6 import IPv6ExtHdrDestOpt

from lb.core.verdicts import Verdict


def apart_from_identification(expected: bytes) -> Check:
    """IPv6 in IPv4 carries a random identification (RFC 4213); everything else is as expected."""

    def check(frame: bytes) -> None:
        assert sum16(frame[14:34]) == 0xFFFF
        found = bytearray(frame)
        found[RANDOM_ID], found[RANDOM_CHECK] = expected[RANDOM_ID], expected[RANDOM_CHECK]
        assert found.hex(" ") == expected.hex(" ")

    return check


def sent(name: str, packet: bytes, vip: str, **more: Any) -> Case:
    """Forwarded to the one backend of the VIP's pool, next hop and interface included."""
    to = BACKENDS[pool_of(vip)]
    expected: bytes | Check = wrapped(packet, to, hash_of(vip))
    if packet[12] == 0x86 and to.address.version == 4:
        expected = apart_from_identification(wrapped(packet, to, hash_of(vip)))
    action = XDP_REDIRECT if to.interface == "out0" and more.get("interface") != "out0" else XDP_TX
    return Case(name, packet, Verdict.FORWARDED, expected, action=action, **more)


LITERAL_4_IN_6 = bytes.fromhex(
    "0200000000010200000000990800"
    "45b900281234400040063ba6c6336407c0000202"
    "9c40005000000000000000005010200007070000"
)  # fmt: skip
LITERAL_6_IN_4 = bytes.fromhex(
    "02000000000102000000009986dd"
    "6ab0000000140640"
    "20010db800c10000000000000000000720010db8000000000000000000000001"
    "9c40005000000000000000005010200097090000"
)  # fmt: skip


def literal_4_in_6(frame: bytes) -> None:
    """By hand but for the flow label."""
    assert frame[:14].hex() == "02bb0000001102000000000186dd"
    assert frame[14] == 0x6B and frame[15] >> 4 == 9  # noqa: PT018 - one field
    assert frame[18:54].hex() == "0028044020010db8000b0000000000000000000120010db8000b00000000000000000011"
    assert frame[54:74].hex() == "45b90028123440003f063ca6c6336407c0000202"
    assert frame[74:] == LITERAL_4_IN_6[34:]


def literal_6_in_4(frame: bytes) -> None:
    """By hand but for identification and checksum."""
    assert frame[:14].hex() == "02bb0a00000c0200000000010800"
    assert frame[14:18].hex() == "45ab0050"
    assert frame[20:24].hex() == "00004029"
    assert frame[26:34].hex() == "0a0000010a00000c"
    assert frame[34:42].hex() == "6ab000000014063f"
    assert frame[42:] == LITERAL_6_IN_4[22:]


CASES = [
    Case("4 in 6: literal", LITERAL_4_IN_6, Verdict.FORWARDED, literal_4_in_6),
    Case("6 in 4: literal", LITERAL_6_IN_4, Verdict.FORWARDED, literal_6_in_4),
    *(
        sent(f"{vip}: {what}", packet, vip)
        for vip in ("44", "46", "64", "66")
        for what, packet in (
            ("SYN", to_vip(vip, flags="S")),
            ("payload of 1000 bytes", to_vip(vip, bytes(range(250)) * 4)),
        )
    ),
    *(sent(f"{vip}: UDP", to_vip(vip, b"abc"), vip) for vip in ("44-udp", "46-udp", "64-udp", "66-udp")),
    *(sent(f"{vip}: DSCP and ECN", to_vip(vip, tos=0x2F), vip) for vip in ("44", "46")),
    *(sent(f"{vip}: DSCP and ECN", to_vip(vip, tc=0x2F), vip) for vip in ("64", "66")),
    sent("4 in 6: options", ether(ip("46", options=[b"\x94\x04\0\0"]), l4("46")), "46"),
    sent("4 in 6: trailing bytes", to_vip("46") + bytes(100), "46"),
    sent("6 in 4: trailing bytes", to_vip("64") + bytes(100), "64"),
    sent("6 in 4: extension headers", ether(ip("64"), IPv6ExtHdrDestOpt(), l4("64")), "64"),
    sent("outer source of 16 hash bits", to_vip("rss4"), "rss4"),
    sent("outer source of 12 hash bits", to_vip("rss4-narrow"), "rss4-narrow"),
    sent("outer source of 32 hash bits", to_vip("rss6"), "rss6"),
    sent("IPv6 inside, outer source of 16 hash bits", to_vip("rss4-6"), "rss4-6"),
    sent("IPv6 inside, outer source of 32 hash bits", to_vip("rss6-6"), "rss6-6"),
    sent("redirected to another interface", to_vip("out"), "out"),
    sent("4 in 6, redirected", to_vip("out-46"), "out-46"),
    sent("6 in 4, redirected", to_vip("out-64"), "out-64"),
    sent("sent back by the interface that it came in by", to_vip("out"), "out", interface="out0"),
    Case(
        "redirected from the other interface",
        to_vip("44"),
        Verdict.FORWARDED,
        wrapped(to_vip("44"), BACKENDS["44"]),
        interface="out0",
        action=XDP_REDIRECT,
    ),
]
