# SPDX-License-Identifier: Apache-2.0
"""The backend's decapsulator, packet by packet: it must not hide what a kernel's ipip device would refuse."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw
from testbed.xdp import compile_decap

from lb.dataplane.libbpf import prog_load, prog_run

pytestmark = pytest.mark.root

XDP_PASS = 2
HOST = "10.0.0.11"
ETHERNET = Ether(dst="02:00:00:00:00:0b", src="02:00:00:00:00:02")
INNER = IP(src="10.0.0.3", dst="192.0.2.1") / TCP(sport=4000, dport=80) / b"GET / HTTP/1.0\r\n\r\n"


def outer(**fields: object) -> Packet:
    """A right outer header, but for ``fields``."""
    return IP(**{"src": "172.16.1.2", "dst": HOST, "proto": 4, **fields})


@pytest.fixture(scope="module")
def decap() -> Iterator[int]:
    """The loaded program's fd."""
    program = prog_load("decap", compile_decap(IPv4Address(HOST)))
    yield program
    os.close(program)


@pytest.mark.parametrize(
    "inner",
    [
        INNER,
        IP(src="10.0.0.3", dst="192.0.2.1", options=[IPOption_NOP()] * 4) / UDP(sport=1, dport=2) / b"x",
        IP(src="10.0.0.3", dst="192.0.2.1", flags="MF") / Raw(b"y" * 1480),
    ],
    ids=["tcp", "inner options", "inner fragment"],
)
@pytest.mark.parametrize("tos", [0, 0xB8])
def test_tunnel_packet_is_unwrapped(decap: int, inner: Packet, tos: int) -> None:
    """The inner packet comes out as it went in, whatever it is, behind the same Ethernet header."""
    result = prog_run(decap, bytes(ETHERNET / outer(tos=tos, flags="DF") / inner))
    assert result.action == XDP_PASS
    assert result.data == bytes(ETHERNET / inner)


@pytest.mark.parametrize(
    "frame",
    [
        ETHERNET / outer(dst="10.0.0.12") / INNER,
        ETHERNET / outer(proto=17) / INNER,
        ETHERNET / outer(proto=41) / IPv6() / UDP(),
        ETHERNET / outer(chksum=0x1234) / INNER,
        ETHERNET / outer(flags="MF") / INNER,
        ETHERNET / outer(frag=8) / INNER,
        ETHERNET / outer(options=[IPOption_NOP()] * 4) / INNER,
        ETHERNET / outer() / IPv6() / UDP() / Raw(b"z" * 40),
        ETHERNET / outer() / IP(ihl=4) / Raw(b"z" * 40),
        ETHERNET / outer() / Raw(bytes(INNER)[:19]),
        ETHERNET / Raw(bytes(outer() / INNER)[:10]),
        ETHERNET / Dot1Q(vlan=7) / outer() / INNER,
        ETHERNET / IP(src="10.0.0.3", dst=HOST) / UDP(dport=7) / b"plain",
        ETHERNET / ARP(pdst=HOST),
        ETHERNET / IPv6(dst="2001:db8::1") / UDP(),
    ],
    ids=[
        "other host",
        "not a tunnel",
        "protocol 41",
        "wrong outer checksum",
        "first fragment",
        "later fragment",
        "outer options",
        "protocol 4, inner IPv6",
        "inner header too short",
        "inner truncated",
        "outer truncated",
        "VLAN",
        "plain UDP",
        "ARP",
        "IPv6",
    ],
)
def test_anything_else_passes_untouched(decap: int, frame: Packet) -> None:
    """The kernel then does with it what it does without the program."""
    result = prog_run(decap, bytes(frame))
    assert result.action == XDP_PASS
    assert result.data == bytes(frame)
