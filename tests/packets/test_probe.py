# SPDX-License-Identifier: Apache-2.0
"""What the tunnel's program makes of packets, to the last bit; expectations are written by hand from the RFCs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from packets.probe_box import ProbeBox, ip, probe_box
from packets.wire import sum16

from lb.core.layout import BackendEntry

pytestmark = pytest.mark.root

UNSPEC, OK, SHOT, REDIRECT = -1, 0, 2, 7
MARK = 0x4C42_0000
BOX_MAC = "020000000001"
FAKE_GATEWAY = "024c42000000"

INNER_4 = (
    "45b900281234400040065be10a000001c0000201"
    "9c40005000000000000000005002200000000000"
)  # fmt: skip
INNER_6 = (
    "6ab0000000140640"
    "20010db800000000000000000000000120010db8ffff00000000000000000001"
    "9c40005000000000000000005002200000000000"
)  # fmt: skip
PROBE_4 = bytes.fromhex(FAKE_GATEWAY + BOX_MAC + "0800" + INNER_4)
PROBE_6 = bytes.fromhex(FAKE_GATEWAY + BOX_MAC + "86dd" + INNER_6)

V4, V6, ELSEWHERE, RSS4, RSS6, NOBODY = 11, 12, 13, 14, 65534, 99


def entry(address: str, source: str, mac: str, mask: int = 0, interface: str = "in0") -> BackendEntry:
    """A backend whose next hop has this MAC."""
    ifindex = socket.if_nametoindex(interface)
    macs = bytes.fromhex(mac), bytes.fromhex(BOX_MAC)
    return BackendEntry(ifindex, *macs, ip_address(address), ip_address(source), mask, 1500)


@pytest.fixture(scope="module")
def box() -> Iterator[ProbeBox]:
    """A box whose interfaces wrap probes for a few backends."""
    with probe_box() as made:
        made.write(V4, entry("10.0.0.11", "10.0.0.1", "02bb0a00000b"))
        made.write(V6, entry("2001:db8:b::11", "2001:db8:b::1", "02bb00000011"))
        made.write(ELSEWHERE, entry("10.0.1.11", "10.0.1.1", "02bb0a00010b", interface="out0"))
        made.write(RSS4, entry("10.0.0.14", "172.16.0.0", "02bb0a00000e", mask=0xFFFF))
        made.write(RSS6, entry("2001:db8:b::14", "100::", "02bb00000014", mask=0xFFFFFFFF))
        ip("address add 10.0.0.1/24 dev in0")
        tunnel = made.tunnel()
        tunnel.start()
        try:
            yield made
        finally:
            tunnel.stop()


def test_ipv4_in_ipv4(box: ProbeBox) -> None:
    """DSCP, ECN, identification and DF are copied; the inner packet, its TTL too, is as the box sent it."""
    result = box.run(PROBE_4, MARK | V4)
    assert result.action == OK
    assert result.data.hex() == (
        "02bb0a00000b" + BOX_MAC + "0800"
        "45b9003c12344000400413c60a0000010a00000b" + INNER_4
    )  # fmt: skip


def test_ipv4_in_ipv6(box: ProbeBox) -> None:
    """The flow label comes from the kernel's hash of the flow."""
    result = box.run(PROBE_4, MARK | V6)
    assert result.action == OK
    assert result.data[:14].hex() == "02bb00000011" + BOX_MAC + "86dd"
    assert result.data[14:16].hex()[:3] == "6b9"
    addresses = "20010db8000b00000000000000000001" + "20010db8000b00000000000000000011"
    assert result.data[18:].hex() == "00280440" + addresses + INNER_4


def test_ipv6_in_ipv4(box: ProbeBox) -> None:
    """The identification is random, and routers may fragment (RFC 4213)."""
    result = box.run(PROBE_6, MARK | V4)
    assert result.action == OK
    assert result.data[:18].hex() == "02bb0a00000b" + BOX_MAC + "0800" + "45ab0050"
    assert result.data[20:24].hex() == "00004029"
    assert sum16(result.data[14:34]) == 0xFFFF
    assert result.data[26:].hex() == "0a0000010a00000b" + INNER_6


def test_ipv6_in_ipv6(box: ProbeBox) -> None:
    """As for IPv4 inside, but for the next header."""
    result = box.run(PROBE_6, MARK | V6)
    assert result.action == OK
    assert result.data[:14].hex() == "02bb00000011" + BOX_MAC + "86dd"
    assert result.data[14:16].hex()[:3] == "6ab"
    addresses = "20010db8000b00000000000000000001" + "20010db8000b00000000000000000011"
    assert result.data[18:].hex() == "003c2940" + addresses + INNER_6


@pytest.mark.parametrize("frame", [PROBE_4, PROBE_6], ids=["IPv4", "IPv6"])
def test_the_outer_source_has_bits_of_the_flow(box: ProbeBox, frame: bytes) -> None:
    """The backend's NIC spreads probes over its queues as it does clients' packets; a flow keeps its queue."""
    sources = {box.run(with_port(frame, port), MARK | RSS4).data[26:30] for port in range(40000, 40032)}
    assert len(sources) > 16
    assert {source[:2].hex() for source in sources} == {"ac10"}
    assert sum16(box.run(frame, MARK | RSS4).data[14:34]) == 0xFFFF
    sources = {box.run(with_port(frame, port), MARK | RSS6).data[22:38] for port in range(40000, 40032)}
    assert len(sources) > 16
    assert {source[:12].hex() for source in sources} == {"010000000000000000000000"}
    first, second = (box.run(frame, MARK | RSS6).data for _ in range(2))
    assert first == second


def with_port(frame: bytes, port: int) -> bytes:
    """From another source port."""
    l4 = 34 if frame[12] == 0x08 else 54
    return frame[:l4] + port.to_bytes(2, "big") + frame[l4 + 2 :]


def test_a_fragment_is_wrapped_apart(box: ProbeBox) -> None:
    """The outer headers of a datagram's fragments differ in identification (RFC 6864)."""
    later = PROBE_4[:20] + bytes.fromhex("0003") + PROBE_4[22:]
    assert box.run(later, MARK | V4).data[18:22].hex() == "12370000"


@pytest.mark.parametrize("mark", [0, V4, 0x4C43_0000 | V4, 0xCC42_0000 | V4], ids=hex)
def test_other_packets_are_not_touched(box: ProbeBox, mark: int) -> None:
    """Others' marks stay, and others' filters have their turn."""
    result = box.run(PROBE_4, mark)
    assert (result.action, result.data, result.mark) == (UNSPEC, PROBE_4, mark)


@pytest.mark.parametrize("index", [0, NOBODY, 65535])
@pytest.mark.parametrize("frame", [PROBE_4, PROBE_6], ids=["IPv4", "IPv6"])
def test_a_probe_for_no_backend_goes_nowhere(box: ProbeBox, frame: bytes, index: int) -> None:
    """A backend whose next hop was never known: sent on unwrapped, whoever has the VIP would answer for it."""
    assert box.run(frame, MARK | index).action == SHOT


def test_what_is_not_ip_goes_nowhere(box: ProbeBox) -> None:
    """There is nothing to wrap, and the fake gateway is nobody."""
    arp = PROBE_4[:12] + b"\x08\x06" + PROBE_4[14:]
    assert box.run(arp, MARK | V4).action == SHOT


def test_a_probe_is_marked_no_more_once_it_is_wrapped(box: ProbeBox) -> None:
    """The other interface has the program, too, and would wrap it again."""
    assert box.run(PROBE_4, MARK | V4).mark == 0
    result = box.run(PROBE_4, MARK | ELSEWHERE)
    assert (result.action, result.mark) == (REDIRECT, 0)
    assert box.run(PROBE_4, MARK | ELSEWHERE, interface="out0").action == OK


@pytest.mark.usefixtures("box")
def test_a_socket_reaches_a_backend_behind_another_interface() -> None:
    """Routed to in0, leaves by out0, wrapped once: the kernel's own packet, seen from the other end of the link."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
        wire.bind(("out0p", 0))
        wire.settimeout(5)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK | ELSEWHERE)
            sock.connect(("192.0.2.1", 53))
            assert sock.getsockname()[0] == "10.0.0.1"
            sock.send(b"hello")
        frame = wire.recv(2000)
    assert frame[:18].hex() == "02bb0a00010b" + BOX_MAC + "0800" + "45000035"
    assert frame[22:24].hex() == "4004"
    assert sum16(frame[14:34]) == 0xFFFF
    assert frame[26:38].hex() == "0a0001010a00010b" + "45000021"
    assert frame[42:44].hex() == "4011"
    assert frame[46:54].hex() == "0a000001c0000201"
    assert frame.endswith(b"hello")
