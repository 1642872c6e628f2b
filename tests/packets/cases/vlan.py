# SPDX-License-Identifier: Apache-2.0
"""802.1Q and 802.1ad: tags stay on the way out of the same interface, and stay behind on another."""

from __future__ import annotations

from packets.case import XDP_REDIRECT, Case, ether, hash_of, ip, l4
from packets.cases.encap import apart_from_identification
from packets.expect import echo_reply, icmp_error, wrapped
from packets.world import BACKENDS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q
from scapy.packet import Packet

from lb.core.verdicts import Verdict

V = Verdict
ONE = (Dot1Q(vlan=5, prio=3),)
TWO = (Dot1AD(vlan=100, prio=7), Dot1Q(vlan=5, dei=1))
TWO_Q = (Dot1Q(vlan=100), Dot1Q(vlan=5))


def tagged(tags: tuple[Packet, ...], vip: str, payload: bytes = b"") -> bytes:
    """A good frame for a VIP behind tags."""
    return ether(*tags, ip(vip), l4(vip), payload)


def kept(name: str, tags: tuple[Packet, ...], vip: str) -> Case:
    """Leaves with the tags that it had."""
    packet = tagged(tags, vip, b"abc")
    return Case(name, packet, V.FORWARDED, wrapped(packet, BACKENDS[vip], hash_of(vip)))


def dropped_tags(name: str, tags: tuple[Packet, ...], vip: str, backend: str) -> Case:
    """Leaves by another interface, without tags."""
    packet = tagged(tags, vip, b"abc")
    expected = wrapped(packet, BACKENDS[backend], hash_of(vip), tags=False)
    check = apart_from_identification(expected) if ":" in vip or vip.endswith("64") else expected
    return Case(name, packet, V.FORWARDED, check, action=XDP_REDIRECT)


def six_in_four(tags: tuple[Packet, ...]) -> Case:
    """Random identification: compared without."""
    packet = tagged(tags, "64")
    expected = wrapped(packet, BACKENDS["64"], hash_of("64"))
    at = 4 * len(tags)

    def check(frame: bytes) -> None:
        assert frame[: 12 + at] == expected[: 12 + at]
        bare = frame[:12] + frame[12 + at :]
        apart_from_identification(expected[:12] + expected[12 + at :])(bare)

    return Case(f"6 in 4, {len(tags)} tags", packet, V.FORWARDED, check)


EXPIRED = ether(*ONE, ip("44", ttl=1), l4("44"))
EXPIRED_TWO = ether(*TWO, ip("44", ttl=1), l4("44"))
EXPIRED6 = ether(*ONE, ip("66", hlim=1), l4("66"))
BIG = ether(*TWO, ip("44", flags="DF"), l4("44"), bytes(1441))
PING, PING_TWO = ether(*ONE, ip("44"), ICMP(), b"ping"), ether(*TWO, ip("44"), ICMP(), b"ping")
PING6 = ether(*TWO_Q, ip("66"), ICMPv6EchoRequest(data=b"ping"))

CASES = [
    *(kept(f"802.1Q, {vip}", ONE, vip) for vip in ("44", "46", "66")),
    *(kept(f"802.1ad and 802.1Q, {vip}", TWO, vip) for vip in ("44", "46", "66")),
    kept("802.1Q twice", TWO_Q, "44"),
    kept("802.1ad alone", (Dot1AD(vlan=7),), "44"),
    kept("priority tag (VLAN 0)", (Dot1Q(vlan=0, prio=5),), "44"),
    kept("all bits of the tag", (Dot1Q(vlan=4095, prio=7, dei=1),), "44"),
    six_in_four(ONE),
    six_in_four(TWO),
    dropped_tags("another interface, 1 tag", ONE, "out", "out"),
    dropped_tags("another interface, 2 tags", TWO, "out", "out"),
    dropped_tags("another interface, 4 in 6, 1 tag", ONE, "out-46", "out6"),
    dropped_tags("another interface, 4 in 6, 2 tags", TWO, "out-46", "out6"),
    dropped_tags("another interface, 6 in 4, 1 tag", ONE, "out-64", "out"),
    dropped_tags("another interface, 6 in 4, 2 tags", TWO, "out-64", "out"),
    Case("ping, 1 tag", PING, V.ANSWERED_ECHO, echo_reply(PING)),
    Case("ping, 2 tags", PING_TWO, V.ANSWERED_ECHO, echo_reply(PING_TWO)),
    Case("IPv6 ping, 2 tags", PING6, V.ANSWERED_ECHO, echo_reply(PING6)),
    Case("TTL ran out, 1 tag", EXPIRED, V.ANSWERED_TTL_EXCEEDED, icmp_error(EXPIRED, 11, 0)),
    Case("TTL ran out, 2 tags", EXPIRED_TWO, V.ANSWERED_TTL_EXCEEDED, icmp_error(EXPIRED_TWO, 11, 0)),
    Case("hop limit ran out, 1 tag", EXPIRED6, V.ANSWERED_TTL_EXCEEDED, icmp_error(EXPIRED6, 3, 0)),
    Case("too big, 2 tags", BIG, V.ANSWERED_TOO_BIG, icmp_error(BIG, 3, 4, 1480)),
    Case("three tags", tagged((Dot1Q(vlan=1),) * 3, "44"), V.PASS_NOT_IP),
    Case("elsewhere, 1 tag", ether(*ONE, IP(dst="192.0.2.200"), TCP(dport=80)), V.PASS_NOT_VIP),
    Case("elsewhere, 2 tags", ether(*TWO, IPv6(dst="2001:db8::200"), UDP(dport=80)), V.PASS_NOT_VIP),
    Case("ARP, 1 tag", ether(*ONE, ARP(pdst="192.0.2.1")), V.PASS_NOT_IP),
    Case("tag cut short", tagged(ONE, "44")[:17], V.PASS_NOT_IP),
    Case("second tag cut short", tagged(TWO, "44")[:20], V.PASS_NOT_IP),
    Case("IP header cut short behind a tag", tagged(ONE, "44")[:37], V.PASS_MALFORMED),
    Case("length beyond the frame by the tag's 4 bytes", ether(*ONE, ip("44", len=44), l4("44")), V.DROP_MALFORMED),
]
