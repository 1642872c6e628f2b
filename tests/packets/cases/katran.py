# SPDX-License-Identifier: Apache-2.0
"""What Katran's program gets wrong (DESIGN section 7), a case or more each.

Not about one packet, and tested elsewhere: rings after the last backend's removal, reuse of freed indices, weights.
"""

from __future__ import annotations

from packets.case import CLIENT, Case, ether, hash_of, ip, l4, to_vip
from packets.cases import icmp_v4, icmp_v6
from packets.cases.encap import apart_from_identification
from packets.cases.mtu import exactly
from packets.expect import icmp_error, wrapped
from packets.world import BACKENDS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Dot1Q

from lb.core.verdicts import Verdict

V = Verdict
HOST, HOST6 = "192.0.2.200", "2001:db8::200"


def forwarded(name: str, packet: bytes, vip: str, verdict: Verdict = V.FORWARDED) -> Case:
    """To the VIP's backend."""
    expected = wrapped(packet, BACKENDS[vip], hash_of(vip))
    return Case(name, packet, verdict, apart_from_identification(expected) if vip == "64" else expected)


TAGGED = ether(Dot1Q(vlan=10), ip("44"), l4("44"))
PROTOCOL_58 = ether(ip("44", proto=58), b"\x80\0\x7f\xff" + bytes(4))
TTL_0 = to_vip("44", ttl=0)
CUT_4, CUT_6 = icmp_v4.reply("44", b"data")[:28], icmp_v6.reply("66", b"data")[:48]

CASES = [
    Case("fragment for the host itself", ether(IP(src=CLIENT, dst=HOST, flags="MF"), UDP(), bytes(64)), V.PASS_NOT_VIP),
    Case(
        "IP options for the host itself", ether(IP(dst=HOST, options=[b"\x94\x04\0\0"]), TCP(dport=22)), V.PASS_NOT_VIP
    ),
    Case(
        "IP options for a port that is no VIP's",
        ether(ip("44", options=[b"\x94\x04\0\0"]), TCP(dport=22)),
        V.PASS_NOT_VIP,
    ),
    Case("ping of an address that is no VIP", ether(IP(dst=HOST), ICMP()), V.PASS_NOT_VIP),
    Case("IPv6 ping of an address that is no VIP", ether(IPv6(dst=HOST6), ICMPv6EchoRequest()), V.PASS_NOT_VIP),
    forwarded("ICMP error quoting just 8 bytes of TCP", icmp_v4.error(3, 4, CUT_4), "44", V.FORWARDED_ICMP_ERROR),
    forwarded("ICMPv6 error quoting just 8 bytes of TCP", icmp_v6.error(2, 0, CUT_6), "66", V.FORWARDED_ICMP_ERROR),
    forwarded("time exceeded", icmp_v4.error(11, 0, CUT_4), "44", V.FORWARDED_ICMP_ERROR),
    forwarded("parameter problem", icmp_v4.error(12, 0, CUT_4), "44", V.FORWARDED_ICMP_ERROR),
    forwarded("ICMPv6 time exceeded", icmp_v6.error(3, 0, CUT_6), "66", V.FORWARDED_ICMP_ERROR),
    forwarded("ICMPv6 parameter problem", icmp_v6.error(4, 1, CUT_6), "66", V.FORWARDED_ICMP_ERROR),
    forwarded("IPv6 VIP with an IPv4 backend", to_vip("64", b"data"), "64"),
    forwarded("VLAN-tagged frame", TAGGED, "44"),
    forwarded("IPv6 extension headers", ether(ip("66"), IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), l4("66")), "66"),
    Case("IPv4 packet with protocol 58", PROTOCOL_58, V.PASS_NOT_VIP),
    Case("IPv6 packet with protocol 1", ether(ip("66", nh=1), b"\x08\0\xf7\xff" + bytes(4)), V.PASS_NOT_VIP),
    Case("TTL 0", TTL_0, V.ANSWERED_TTL_EXCEEDED, icmp_error(TTL_0, 11, 0)),
    Case("hop limit 0", to_vip("66", hlim=0), V.ANSWERED_TTL_EXCEEDED, icmp_error(to_vip("66", hlim=0), 3, 0)),
    Case("VIP without backends", to_vip("empty"), V.DROP_NO_BACKEND),
    Case(
        "too-big reply names what fits",
        exactly("44", 1500),
        V.ANSWERED_TOO_BIG,
        icmp_error(exactly("44", 1500), 3, 4, 1480),
    ),
    forwarded("and that does fit", exactly("44", 1480), "44"),
    Case(
        "IPv6 too-big reply names what fits",
        exactly("66", 1500),
        V.ANSWERED_TOO_BIG,
        icmp_error(exactly("66", 1500), 2, 0, 1460),
    ),
    forwarded("and that does fit over IPv6", exactly("66", 1460), "66"),
]
