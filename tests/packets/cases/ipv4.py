# SPDX-License-Identifier: Apache-2.0
"""IPv4 to VIPs and past them: headers, lengths, options, padding."""

from __future__ import annotations

import struct
from typing import Any

from packets.case import CLIENT, SPORT, Case, ether, hash_of, ip, l4, to_vip
from packets.expect import wrapped
from packets.wire import checksum, pseudo_header
from packets.world import BACKENDS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP
from scapy.packet import Packet

from lb.core.verdicts import Verdict

V = Verdict
ELSEWHERE = "192.0.2.200"

# Written out by hand: 192.0.2.1:80 from 198.51.100.7:40000, a bare ACK.
LITERAL_IN = bytes.fromhex(
    "0200000000010200000000990800"
    "450000281234400040063c60c6336407c0000201"
    "9c40005000000000000000005010200007080000"
)  # fmt: skip
LITERAL_OUT = bytes.fromhex(
    "02bb0a00000b0200000000010800"
    "4500003c123440004004147f0a0000010a00000b"
    "45000028123440003f063d60c6336407c0000201"
    "9c40005000000000000000005010200007080000"
)  # fmt: skip


def sent(name: str, packet: bytes, vip: str = "44", **more: Any) -> Case:
    """Forwarded to the VIP's backend, whose pool has one member."""
    pool = {"any": "44", "exact": "other", "44-udp": "44"}.get(vip, vip)
    return Case(name, packet, V.FORWARDED, wrapped(packet, BACKENDS[pool]), **more)


def elsewhere(name: str, packet: bytes, verdict: Verdict = V.PASS_NOT_VIP) -> Case:
    """Not for a VIP: passes."""
    return Case(name, packet, verdict)


def dropped(name: str, packet: bytes, verdict: Verdict = V.DROP_MALFORMED) -> Case:
    """For a VIP, and refused."""
    return Case(name, packet, verdict)


def other(*layers: Packet | bytes, **fields: Any) -> bytes:
    """To an address that is no VIP's."""
    return ether(IP(src=CLIENT, dst=ELSEWHERE, **fields), *layers)


def patched(frame: bytes, offset: int, value: bytes) -> bytes:
    """A frame with bytes at an offset replaced, checksums left as they were."""
    return frame[:offset] + value + frame[offset + len(value) :]


def with_header_check(frame: bytes) -> bytes:
    """A frame without tags or options whose IPv4 header checksum is made right."""
    zeroed = patched(frame, 24, b"\0\0")
    return patched(zeroed, 24, struct.pack("!H", checksum(zeroed[14:34])))


TCP_FRAME = to_vip("44")
UDP_FRAME = to_vip("44-udp", b"query")
SOURCE_ROUTE = b"\x83\x07\x04\xc0\x00\x02\x01\x00"
PADDED = to_vip("44-udp").ljust(60, b"\0")
ODD_CHECK = patched(TCP_FRAME, 24, b"\xde\xad")
ODD_UDP = to_vip("44-udp", b"abc")
NO_UDP_CHECK = patched(UDP_FRAME, 40, b"\0\0")


def ident_for_check(wanted: int) -> bytes:
    """A good packet to the VIP whose header checksum comes out as ``wanted``: where incremental updates wrap round."""
    for ident in range(65536):
        frame = with_header_check(patched(TCP_FRAME, 18, struct.pack("!H", ident)))
        if frame[24:26] == struct.pack("!H", wanted):
            return frame
    raise AssertionError(f"no identification gives {wanted:#06x}")


CASES = [
    Case("literal", LITERAL_IN, V.FORWARDED, LITERAL_OUT),
    sent("TCP ACK", TCP_FRAME),
    sent("TCP SYN", to_vip("44", flags="S")),
    sent("TCP SYN-ACK", to_vip("44", flags="SA")),
    sent("TCP FIN-ACK", to_vip("44", flags="FA")),
    sent("TCP RST", to_vip("44", flags="R")),
    sent("TCP RST-ACK", to_vip("44", flags="RA")),
    sent("TCP PSH-ACK-URG with ECN bits", to_vip("44", b"data", flags="PAUEC")),
    sent("TCP with options", ether(ip("44"), TCP(sport=SPORT, dport=80, flags="S", options=[("MSS", 1460)]))),
    sent("UDP", UDP_FRAME, "44-udp"),
    sent("UDP without payload", to_vip("44-udp"), "44-udp"),
    sent("UDP of odd length", ODD_UDP, "44-udp"),
    sent("UDP without checksum", NO_UDP_CHECK, "44-udp"),
    sent("UDP from port 0", ether(ip("44-udp"), UDP(sport=0, dport=53), b"x"), "44-udp"),
    sent("don't fragment is copied", ether(ip("44", flags="DF", id=7), l4("44"))),
    sent("may fragment is copied, identification too", ether(ip("44", id=0xBEEF), l4("44"))),
    *(sent(f"ECN {ecn} is copied", to_vip("44", tos=ecn)) for ecn in (1, 2, 3)),
    sent("DSCP is copied", to_vip("44", tos=0xB8)),
    sent("all of TOS is copied", to_vip("44", tos=0xFF)),
    sent("header checksum 0xffff minus 0x100 wraps", ident_for_check(0xFF00)),
    sent("header checksum 0xfeff becomes 0xffff", ident_for_check(0xFEFF)),
    sent("header checksum 0xfffe wraps", ident_for_check(0xFFFE)),
    sent("header checksum 0", ident_for_check(0)),
    sent("one option word", ether(ip("44", options=[b"\x94\x04\0\0"]), l4("44"))),
    sent("40 bytes of options", ether(ip("44", options=[b"\x01" * 40]), l4("44"), b"x")),
    sent("source route option", ether(ip("44", options=[SOURCE_ROUTE]), l4("44"))),
    sent("padding of a short frame stays behind the packet", PADDED, "44-udp"),
    sent("trailing bytes", TCP_FRAME + b"trailer" * 20),
    sent("any-port VIP, port 1", ether(ip("any"), TCP(sport=1, dport=1, flags="A")), "any"),
    sent("any-port VIP, port 65535", ether(ip("any"), TCP(sport=1, dport=65535, flags="A")), "any"),
    sent("any-port VIP, port 0", ether(ip("any"), TCP(sport=1, dport=0, flags="A")), "any"),
    sent("exact VIP beside an any-port VIP", to_vip("exact"), "exact"),
    Case(
        "wrong header checksum stays wrong by as much",
        ODD_CHECK,
        V.FORWARDED,
        patched(wrapped(TCP_FRAME, BACKENDS["44"]), 44, b"\xdf\xad"),
        defects=("inner IPv4: header checksum",),
    ),
    Case(
        "wrong TCP checksum is left alone",
        patched(TCP_FRAME, 50, b"\x12\x34"),
        V.FORWARDED,
        patched(wrapped(TCP_FRAME, BACKENDS["44"]), 70, b"\x12\x34"),
        defects=("inner TCP: checksum",),
    ),
    Case("no backend", to_vip("empty"), V.DROP_NO_BACKEND),
    elsewhere("another address", other(TCP(dport=80))),
    elsewhere("another port", ether(ip("44"), TCP(dport=81))),
    elsewhere("port 0 where the VIP has a port", ether(ip("44"), TCP(dport=0))),
    elsewhere("another protocol's port", ether(ip("44"), UDP(dport=80))),
    elsewhere("UDP to an any-port TCP VIP", ether(ip("any"), UDP(dport=80))),
    elsewhere("ping of another address", other(ICMP())),
    elsewhere("first fragment for another address", other(UDP(dport=80), b"x" * 64, flags="MF")),
    elsewhere("last fragment for another address", other(b"x" * 8, frag=9, proto=17)),
    elsewhere("options for another address", other(TCP(dport=80), options=[b"\x94\x04\0\0"])),
    elsewhere("TTL 0 for another address", other(TCP(dport=80), ttl=0)),
    elsewhere("TTL 1 for another address", other(TCP(dport=80), ttl=1)),
    elsewhere("all flags for another address", other(TCP(dport=80, flags="FSRPAU"))),
    elsewhere("no flags for another address", other(TCP(dport=80, flags=""))),
    elsewhere("land for another address", ether(IP(src=ELSEWHERE, dst=ELSEWHERE), TCP(dport=80))),
    elsewhere("jumbo for another address", other(UDP(dport=80), bytes(3000))),
    elsewhere(
        "IGMP with router alert", ether(IP(dst="224.0.0.22", proto=2, options=[b"\x94\x04\0\0"]), b"\x16" + bytes(7))
    ),
    elsewhere("multicast DNS", ether(IP(src=CLIENT, dst="224.0.0.251"), UDP(dport=5353), dst="01:00:5e:00:00:fb")),
    elsewhere(
        "DHCP broadcast",
        ether(IP(src="0.0.0.0", dst="255.255.255.255"), UDP(sport=68, dport=67), dst="ff:ff:ff:ff:ff:ff"),
    ),
    elsewhere("OSPF", ether(IP(src=CLIENT, dst="224.0.0.5", proto=89), bytes(24))),
    elsewhere("VRRP", ether(IP(src=CLIENT, dst="224.0.0.18", proto=112), bytes(8))),
    elsewhere("GRE for a VIP's address", ether(ip("44", proto=47), bytes(8))),
    elsewhere("SCTP for a VIP's address", ether(ip("44", proto=132), bytes(32))),
    elsewhere("IPIP for a VIP's address", ether(ip("44"), IP(dst=ELSEWHERE), TCP(dport=80))),
    elsewhere("IPIP from another balancer for this host", other(ip("44"), TCP(dport=80))),
    elsewhere("ESP for a VIP's address", ether(ip("44", proto=50), bytes(32))),
    elsewhere("0.0.0.0", ether(IP(src=CLIENT, dst="0.0.0.0"), TCP(dport=80))),
    elsewhere("ARP", ether(ARP(pdst="192.0.2.1"), dst="ff:ff:ff:ff:ff:ff"), V.PASS_NOT_IP),
    elsewhere("LLDP", ether(bytes(60), dst="01:80:c2:00:00:0e", type=0x88CC), V.PASS_NOT_IP),
    elsewhere("802.3 length instead of a type", ether(bytes(38), type=38), V.PASS_NOT_IP),
    elsewhere("type 0", ether(bytes(50), type=0), V.PASS_NOT_IP),
    elsewhere("MPLS", ether(bytes(4), IP(dst="192.0.2.1"), TCP(dport=80), type=0x8847), V.PASS_NOT_IP),
    elsewhere("PPPoE", ether(bytes(50), type=0x8864), V.PASS_NOT_IP),
    elsewhere("Ethernet header alone", ether(type=0x0800), V.PASS_MALFORMED),
    elsewhere("header cut short", TCP_FRAME[:33], V.PASS_MALFORMED),
    elsewhere("version 6 in an IPv4 frame", patched(TCP_FRAME, 14, b"\x65"), V.PASS_MALFORMED),
    elsewhere("version 0", patched(TCP_FRAME, 14, b"\x05"), V.PASS_MALFORMED),
    elsewhere("elsewhere: ports cut off", other(TCP(dport=80))[:36], V.PASS_MALFORMED),
    elsewhere("elsewhere: length beyond the frame", other(TCP(dport=80), len=1000), V.PASS_MALFORMED),
    elsewhere("elsewhere: length below the header", other(TCP(dport=80), len=10), V.PASS_MALFORMED),
    elsewhere("elsewhere: length 0", other(TCP(dport=80), len=0), V.PASS_MALFORMED),
    elsewhere("elsewhere: header length 4 words", other(TCP(dport=80), ihl=4), V.PASS_MALFORMED),
    dropped("ports cut off by the frame", TCP_FRAME[:36]),
    dropped("length beyond the frame", ether(ip("44", len=41), l4("44"))),
    dropped("length 65535", ether(ip("44", len=65535), l4("44"))),
    dropped("length below the header", ether(ip("44", len=19), l4("44"))),
    dropped("length 0", ether(ip("44", len=0), l4("44"))),
    dropped("header length 4 words", ether(ip("44", ihl=4), l4("44"))),
    dropped("header length 0", ether(ip("44", ihl=0), l4("44"))),
    dropped("header length beyond the packet", ether(ip("44", ihl=15), l4("44"))),
    dropped("length without transport header", ether(ip("44", len=20), l4("44"))),
    dropped("length ends in the ports", ether(ip("44", len=23), l4("44"))),
    dropped("length ends before TCP's flags", ether(ip("44", len=33), l4("44"))),
    dropped("length one byte short of TCP's header", ether(ip("44", len=39), l4("44"))),
    dropped("length one byte short of UDP's header", ether(ip("44-udp", len=27), l4("44-udp"))),
    dropped("TCP header ends with the frame", TCP_FRAME[:-1]),
]

assert checksum(pseudo_header(LITERAL_IN[26:30], LITERAL_IN[30:34], 6, 20) + LITERAL_IN[34:]) == 0
assert hash_of("44")
