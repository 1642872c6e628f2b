# SPDX-License-Identifier: Apache-2.0
"""The backend's decapsulator, packet by packet: it must not hide what a kernel's tunnel device would refuse."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw
from testbed.programs import compile_decap

from lb.dataplane.libbpf import F_XDP_HAS_FRAGS, prog_load, prog_run

pytestmark = pytest.mark.root

XDP_DROP = 1
XDP_PASS = 2
HOST4, HOST6 = "10.0.0.11", "2001:db8::a11:b:c"
ETHERNET = Ether(dst="02:00:00:00:00:0b", src="02:00:00:00:00:02")
REQUEST = TCP(sport=4000, dport=80) / b"GET / HTTP/1.0\r\n\r\n"
DROPPED = None
CE = 3


def load(*addresses: str, jumbo: bool = False) -> int:
    code = compile_decap(map(ip_address, addresses), multi_buffer=jumbo)
    return prog_load("decap", code, F_XDP_HAS_FRAGS if jumbo else 0)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "jumbo"])
def decap(request: pytest.FixtureRequest) -> Iterator[int]:
    """The loaded program's fd, for a host with both addresses."""
    program = load(HOST4, HOST6, jumbo=request.param)
    yield program
    os.close(program)


def outer4(**fields: object) -> Packet:
    """A right outer header, but for ``fields``."""
    return IP(**{"src": "172.16.1.2", "dst": HOST4, "proto": 4, **fields})


def outer6(**fields: object) -> Packet:
    """A right outer header, but for ``fields``."""
    return IPv6(**{"src": "100::1:2", "dst": HOST6, "nh": 4, **fields})


def inner4(**fields: object) -> Packet:
    return IP(**{"src": "10.0.0.3", "dst": "192.0.2.1", **fields})


def inner6(**fields: object) -> Packet:
    return IPv6(**{"src": "2001:db8::3", "dst": "2001:db8:ffff::1", **fields})


def assert_unwrapped(program: int, frame: Packet, expected: Packet) -> None:
    result = prog_run(program, bytes(frame))
    assert result.action == XDP_PASS
    assert result.data == bytes(expected)


def assert_untouched(program: int, frame: Packet) -> None:
    result = prog_run(program, bytes(frame))
    assert result.action == XDP_PASS
    assert result.data == bytes(frame)


@pytest.mark.parametrize(
    "inner",
    [
        inner4() / REQUEST,
        inner4(flags="DF", ttl=1, tos=0xB8) / REQUEST,
        inner4(options=[IPOption_NOP()] * 40) / UDP(sport=1, dport=2) / b"x",
        inner4(flags="MF") / Raw(b"y" * 1480),
        inner4(frag=100, proto=17) / Raw(b"y" * 9),
        inner4(chksum=0x1234) / REQUEST,
        inner4(proto=17),
    ],
    ids=["tcp", "dscp", "options", "first fragment", "later fragment", "wrong checksum", "header alone"],
)
@pytest.mark.parametrize("outer", [outer4(flags="DF", tos=0xB8), outer6(tc=0xB8, fl=0x12345)], ids=["by4", "by6"])
def test_ipv4_comes_out_as_it_went_in(decap: int, outer: Packet, inner: Packet) -> None:
    """Behind the same Ethernet addresses, with its own ethertype. What is wrong inside is the kernel's to find."""
    assert_unwrapped(decap, ETHERNET / outer / inner, ETHERNET / inner)


@pytest.mark.parametrize(
    "inner",
    [
        inner6() / REQUEST,
        inner6(hlim=1, tc=0xB8, fl=0xFEDCB) / REQUEST,
        inner6() / IPv6ExtHdrDestOpt() / UDP(sport=1, dport=2) / b"x",
        inner6() / IPv6ExtHdrFragment(nh=17, m=1, id=7) / Raw(b"y" * 1440),
        inner6(nh=59),
    ],
    ids=["tcp", "traffic class", "extension header", "fragment", "header alone"],
)
@pytest.mark.parametrize(
    "outer", [outer4(proto=41, id=77, tos=0xB8), outer6(nh=41, tc=0xB8, fl=0x12345)], ids=["by4", "by6"]
)
def test_ipv6_comes_out_as_it_went_in(decap: int, outer: Packet, inner: Packet) -> None:
    """Behind the same Ethernet addresses, with its own ethertype."""
    assert_unwrapped(decap, ETHERNET / outer / inner, ETHERNET / inner)


@pytest.mark.parametrize("outer", [outer4(), outer6()], ids=["by4", "by6"])
def test_vlan_tag_stays(decap: int, outer: Packet) -> None:
    """The host's VLAN interface gets the packet."""
    tag = Dot1Q(vlan=7, prio=5)
    assert_unwrapped(decap, ETHERNET / tag / outer / inner4() / REQUEST, ETHERNET / tag / inner4() / REQUEST)


@pytest.mark.parametrize("outer", [outer4(), outer6()], ids=["by4", "by6"])
def test_padding_of_the_frame_does_not_matter(decap: int, outer: Packet) -> None:
    """Ethernet fills short frames up; the inner header says where its packet ends."""
    padding = b"\xee" * 30
    tiny = inner4() / UDP(sport=1, dport=2)
    assert_unwrapped(decap, ETHERNET / outer / tiny / Raw(padding), ETHERNET / tiny / Raw(padding))


def test_frame_in_several_buffers_is_unwrapped() -> None:
    """Which only the jumbo build is ever given."""
    program = load(HOST4, HOST6, jumbo=True)
    inner = inner6() / UDP(sport=1, dport=2) / Raw(bytes(range(250)) * 35)
    try:
        assert_unwrapped(program, ETHERNET / outer6(nh=41) / inner, ETHERNET / inner)
        assert_untouched(program, ETHERNET / outer6(nh=41, plen=len(inner) + 1) / inner)
    finally:
        os.close(program)


ECN = [
    # (outer, inner, what comes out): RFC 6040, figure 4. 0 not ECT, 1 ECT(1), 2 ECT(0), 3 CE.
    (0, 0, 0),
    (0, 1, 1),
    (0, 2, 2),
    (0, 3, 3),
    (1, 0, 0),
    (1, 1, 1),
    (1, 2, 1),
    (1, 3, 3),
    (2, 0, 0),
    (2, 1, 1),
    (2, 2, 2),
    (2, 3, 3),
    (CE, 0, DROPPED),
    (CE, 1, CE),
    (CE, 2, CE),
    (CE, 3, CE),
]


@pytest.mark.parametrize(("outside", "inside", "expected"), ECN)
@pytest.mark.parametrize("dscp", [0, 0xB8])
def test_congestion_marks_survive_the_tunnel(
    decap: int, outside: int, inside: int, expected: int | None, dscp: int
) -> None:
    """A router between balancer and backend may mark the outer header; without this nobody would slow down."""
    for outer in (outer4(tos=outside), outer6(tc=outside)):
        result = prog_run(decap, bytes(ETHERNET / outer / inner4(tos=dscp | inside) / REQUEST))
        if expected is DROPPED:
            assert result.action == XDP_DROP
        else:
            # scapy computes the checksum anew: the one that the program updated has to equal it.
            assert (result.action, result.data) == (
                XDP_PASS,
                bytes(ETHERNET / inner4(tos=dscp | expected) / REQUEST),
            )
    for outer in (outer4(proto=41, tos=outside), outer6(nh=41, tc=outside)):
        result = prog_run(decap, bytes(ETHERNET / outer / inner6(tc=dscp | inside, fl=0xFEDCB) / REQUEST))
        if expected is DROPPED:
            assert result.action == XDP_DROP
        else:
            assert (result.action, result.data) == (
                XDP_PASS,
                bytes(ETHERNET / inner6(tc=dscp | expected, fl=0xFEDCB) / REQUEST),
            )


def test_wrong_inner_checksum_stays_wrong_when_marked(decap: int) -> None:
    """Marking must not make a broken packet look right."""
    result = prog_run(decap, bytes(ETHERNET / outer4(tos=CE) / inner4(tos=2, chksum=0x1234) / REQUEST))
    marked = IP(result.data[14:])
    right = IP(bytes(inner4(tos=CE) / REQUEST)).chksum
    was_right = IP(bytes(inner4(tos=2) / REQUEST)).chksum
    assert (0x1234 - was_right) % 0xFFFF == (marked.chksum - right) % 0xFFFF


def right_ipv4_header(total_bytes: int, identification: int, tos: int, protocol: int) -> bytes:
    addresses = socket.inet_aton("172.16.1.2") + socket.inet_aton(HOST4)
    fields = [0x45, tos, total_bytes, identification, 0, 64, protocol]
    return (
        struct.pack("!BBHHHBBH", *fields, 0xFFFF - ones_sum(struct.pack("!BBHHHBBH", *fields, 0) + addresses))
        + addresses
    )


def ones_sum(header: bytes) -> int:
    """One's complement sum of 16-bit words: 0xFFFF over a header with a right checksum."""
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    return (total - 1) % 0xFFFF + 1


def test_checksums_are_right_for_every_carry() -> None:
    """Over all identifications each sum takes every value: right headers are unwrapped, marked ones stay right."""
    program = load(HOST4)
    ethernet = bytes(ETHERNET / IP())[:14]
    try:
        for identification in range(0x10000):
            inner = right_ipv4_header(20, identification, 2, 17)
            result = prog_run(program, ethernet + right_ipv4_header(40, identification, CE, 4) + inner)
            marked = result.data[14:]
            assert len(marked) == 20, hex(identification)
            assert marked[1] == CE
            assert ones_sum(marked) == 0xFFFF, hex(identification)
    finally:
        os.close(program)


def cut(packet: Packet, size: int) -> Raw:
    """The packet's first bytes."""
    return Raw(bytes(packet)[:size])


UNTOUCHED = {
    "other host": ETHERNET / outer4(dst="10.0.0.12") / inner4() / REQUEST,
    "not a tunnel": ETHERNET / outer4(proto=17) / inner4() / REQUEST,
    "wrong outer checksum": ETHERNET / outer4(chksum=0x1234) / inner4() / REQUEST,
    "first fragment": ETHERNET / outer4(flags="MF") / inner4() / REQUEST,
    "second fragment": ETHERNET / outer4(frag=1) / inner4() / REQUEST,
    "far fragment": ETHERNET / outer4(frag=0x1000) / inner4() / REQUEST,
    "outer options": ETHERNET / outer4(options=[IPOption_NOP()] * 4) / inner4() / REQUEST,
    "outer version": ETHERNET / outer4(version=5) / inner4() / REQUEST,
    "outer total below its header": ETHERNET / outer4(len=19) / inner4() / REQUEST,
    "outer total beyond the frame": ETHERNET / outer4(len=79) / inner4() / REQUEST,
    "outer total below the inner packet": ETHERNET / outer4(len=77) / inner4() / REQUEST,
    "not a tunnel, IPv6 inside": ETHERNET / outer4(proto=17) / inner6() / REQUEST,
    "protocol 4, inner IPv6": ETHERNET / outer4() / inner6() / REQUEST,
    "protocol 4, inner IPv6 that would do as IPv4": ETHERNET / outer4() / inner6(tc=0x50, fl=58) / REQUEST,
    "protocol 41, inner IPv4": ETHERNET / outer4(proto=41) / inner4() / Raw(b"z" * 40),
    "inner header too short": ETHERNET / outer4() / inner4(ihl=4) / REQUEST,
    "inner header beyond its total": ETHERNET / outer4() / inner4(ihl=15, len=58) / REQUEST,
    "inner total below its header": ETHERNET / outer4() / inner4(len=19) / REQUEST,
    "inner total beyond the outer's": ETHERNET / outer4() / inner4(len=59) / REQUEST,
    "inner truncated": ETHERNET / outer4(len=39) / cut(inner4() / REQUEST, 19),
    "outer truncated": ETHERNET / cut(outer4() / inner4(), 19),
    "outer alone": ETHERNET / outer4(),
    "6: other host, high half": ETHERNET / outer6(dst="2001:db9::a11:b:c") / inner4() / REQUEST,
    "6: other host, low half": ETHERNET / outer6(dst="2001:db8::a11:b:d") / inner4() / REQUEST,
    "6: not a tunnel": ETHERNET / outer6(nh=17) / inner4() / REQUEST,
    "6: outer extension header": ETHERNET / outer6(nh=60) / IPv6ExtHdrDestOpt(nh=4) / inner4() / REQUEST,
    "6: outer fragment": ETHERNET / outer6(nh=44) / IPv6ExtHdrFragment(nh=4, m=1) / inner4() / REQUEST,
    "6: outer version": ETHERNET / outer6(version=5) / inner4() / REQUEST,
    "6: outer length beyond the frame": ETHERNET / outer6(plen=59) / inner4() / REQUEST,
    "6: outer length below the inner packet": ETHERNET / outer6(plen=57) / inner4() / REQUEST,
    "6: next header 4, inner IPv6": ETHERNET / outer6() / inner6() / REQUEST,
    "6: next header 41, inner IPv4": ETHERNET / outer6(nh=41) / inner4() / Raw(b"z" * 40),
    "6: inner length beyond the outer's": ETHERNET / outer6(nh=41) / inner6(plen=39) / REQUEST,
    "6: inner truncated": ETHERNET / outer6(nh=41) / cut(inner6(), 39),
    "6: outer truncated": ETHERNET / cut(outer6() / inner4(), 39),
    "two VLAN tags": ETHERNET / Dot1Q(vlan=7) / Dot1Q(vlan=8) / outer4() / inner4() / REQUEST,
    "provider tag": ETHERNET / Dot1AD(vlan=7) / outer4() / inner4() / REQUEST,
    "VLAN tag truncated": ETHERNET / cut(Dot1Q(vlan=7), 3),
    "VLAN, plain": ETHERNET / Dot1Q(vlan=7) / inner4(dst=HOST4) / REQUEST,
    "plain UDP": ETHERNET / inner4(dst=HOST4) / UDP(dport=7) / b"plain",
    "plain UDP over IPv6": ETHERNET / inner6(dst=HOST6) / UDP(dport=7) / b"plain",
    "ARP": ETHERNET / ARP(pdst=HOST4),
}


def test_lengths_of_the_refused_are_off_by_one() -> None:
    """The inner packet of the cases above has 58 bytes (IPv4) or 78: one more or less is what they are about."""
    assert len(inner4() / REQUEST) == 58
    assert len(inner6() / REQUEST) == 78


@pytest.mark.parametrize("frame", UNTOUCHED.values(), ids=UNTOUCHED.keys())
def test_anything_else_passes_untouched(decap: int, frame: Packet) -> None:
    """The kernel then does with it what it does without the program."""
    assert_untouched(decap, frame)


@pytest.mark.parametrize(
    ("address", "mine", "others"),
    [(HOST4, outer4(), [outer6(), outer6(dst="::")]), (HOST6, outer6(), [outer4(), outer4(dst="0.0.0.0")])],
    ids=["IPv4 only", "IPv6 only"],
)
def test_family_without_an_address_passes_untouched(address: str, mine: Packet, others: list[Packet]) -> None:
    """A host is compiled for what it has; no address of the other family is taken for its own."""
    program = load(address)
    try:
        assert_unwrapped(program, ETHERNET / mine / inner4() / REQUEST, ETHERNET / inner4() / REQUEST)
        for other in others:
            assert_untouched(program, ETHERNET / other / inner4() / REQUEST)
    finally:
        os.close(program)


def test_two_addresses_of_a_family_are_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.12: one IPv4 address is enough"):
        compile_decap(map(ip_address, ["10.0.0.11", "2001:db8::1", "10.0.0.12"]))
