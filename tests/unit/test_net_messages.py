# SPDX-License-Identifier: Apache-2.0
"""Rtnetlink bytes, laid out by hand after rtnetlink(7), to facts."""

from __future__ import annotations

import errno
import struct
from ipaddress import ip_address

import pytest

from lb.net import messages
from lb.net.facts import Link, LinkGone, LocalAddress, LocalAddressGone, Neighbour, Route, RoutingChanged

RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR = 16, 17, 20, 21
RTM_NEWROUTE, RTM_NEWNEIGH, RTM_DELNEIGH = 24, 28, 29
AF_INET, AF_INET6, AF_BRIDGE = 2, 10, 7
MAC = bytes.fromhex("020000000001")


def attribute(kind: int, value: bytes) -> bytes:
    return (struct.pack("=HH", 4 + len(value), kind) + value).ljust((len(value) + 7) & ~3, b"\0")


def frame(kind: int, body: bytes) -> messages.Frame:
    [cut] = messages.frames(struct.pack("=IHHII", 16 + len(body), kind, 0, 7, 0) + body)
    return cut


def link(kind: int, *, family: int = 0, hardware: int = 1, flags: int = 0x41) -> messages.Frame:
    head = struct.pack("=BxHiII", family, hardware, 5, flags, 0)
    return frame(kind, head + attribute(3, b"eth5\0") + attribute(4, struct.pack("=I", 1400)) + attribute(1, MAC))


def neighbour(kind: int, state: int, *, family: int = AF_INET, dst: bytes = bytes([10, 0, 0, 9])) -> messages.Frame:
    head = struct.pack("=B3xiHBB", family, 5, state, 0, 1)
    return frame(kind, head + attribute(1, dst) + attribute(2, MAC))


def test_links() -> None:
    assert messages.decode(link(RTM_NEWLINK)) == Link(5, "eth5", 1400, MAC, up=True, running=True)
    assert messages.decode(link(RTM_NEWLINK, flags=1)) == Link(5, "eth5", 1400, MAC, up=True, running=False)
    assert messages.decode(link(RTM_NEWLINK, hardware=65534)) == Link(5, "eth5", 1400, None, up=True, running=True)
    assert messages.decode(link(RTM_DELLINK)) == LinkGone(5)


def test_a_port_that_leaves_a_bridge_is_not_a_link_that_is_gone() -> None:
    """The bridge says DELLINK too, in its own address family."""
    assert messages.decode(link(RTM_DELLINK, family=AF_BRIDGE)) is None


@pytest.mark.parametrize(
    ("state", "mac", "stale"),
    [
        pytest.param(0x01, None, False, id="INCOMPLETE"),
        pytest.param(0x02, MAC, False, id="REACHABLE"),
        pytest.param(0x04, MAC, True, id="STALE"),
        pytest.param(0x08, MAC, False, id="DELAY"),
        pytest.param(0x10, MAC, False, id="PROBE"),
        pytest.param(0x20, None, False, id="FAILED"),
        pytest.param(0x80, MAC, False, id="PERMANENT"),
    ],
)
def test_neighbours_by_state(state: int, mac: bytes | None, stale: bool) -> None:
    assert messages.decode(neighbour(RTM_NEWNEIGH, state)) == Neighbour(5, ip_address("10.0.0.9"), mac, stale)


def test_other_neighbour_messages() -> None:
    assert messages.decode(neighbour(RTM_DELNEIGH, 0x02)) == Neighbour(5, ip_address("10.0.0.9"), None, False)
    assert messages.decode(neighbour(RTM_NEWNEIGH, 0x02, family=AF_BRIDGE, dst=MAC)) is None


def test_local_addresses() -> None:
    """On a point-to-point link IFA_ADDRESS (1) is the peer's and IFA_LOCAL (2) is ours."""
    ours, peer = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
    body = struct.pack("=BBBBi", AF_INET, 32, 0, 0, 5) + attribute(1, peer) + attribute(2, ours)
    local = LocalAddress(5, ip_address("10.0.0.1"), 32)
    assert messages.decode(frame(RTM_NEWADDR, body)) == local
    assert messages.decode(frame(RTM_DELADDR, body)) == LocalAddressGone(local)
    v6 = struct.pack("=BBBBi", AF_INET6, 64, 0, 0, 5) + attribute(1, ip_address("fd00::1").packed)
    assert messages.decode(frame(RTM_NEWADDR, v6)) == LocalAddress(5, ip_address("fd00::1"), 64)


def test_routes_rules_and_nexthops_are_only_hints() -> None:
    for kind in (24, 25, 32, 33, 104, 105):
        assert messages.decode(frame(kind, b"")) == RoutingChanged()
    assert messages.decode(frame(36, b"")) is None, "a qdisc is none of our business"


def test_a_route_answer() -> None:
    head = struct.pack("=BBBBBBBBI", AF_INET, 32, 0, 0, 254, 0, 0, 1, 0)
    oif = attribute(4, struct.pack("=I", 5))
    gateway, source = attribute(5, bytes([10, 0, 0, 254])), attribute(7, bytes([10, 0, 0, 1]))
    assert messages.decode_route(frame(RTM_NEWROUTE, head + oif + gateway + source)) == Route(
        1, 5, ip_address("10.0.0.254"), ip_address("10.0.0.1")
    )
    encapsulated = messages.decode_route(frame(RTM_NEWROUTE, head + oif + attribute(21, struct.pack("=H", 1))))
    assert encapsulated == Route(1, 5, None, None, encapsulated=True)


def test_a_route_through_a_router_of_the_other_family() -> None:
    """RTA_VIA (RFC 5549): the family comes before the address."""
    head = struct.pack("=BBBBBBBBI", AF_INET, 32, 0, 0, 254, 0, 0, 1, 0)
    router = ip_address("fe80::1")
    via = attribute(18, struct.pack("=H", AF_INET6) + router.packed)
    answer = messages.decode_route(frame(RTM_NEWROUTE, head + attribute(4, struct.pack("=I", 5)) + via))
    assert answer == Route(1, 5, router, None)


@pytest.mark.parametrize(("address", "family"), [("10.0.0.9", AF_INET), ("fd00::9", AF_INET6)])
def test_a_route_question(address: str, family: int) -> None:
    """Of one address: the whole of it is the prefix."""
    packed = ip_address(address).packed
    body = struct.pack("=BBBBBBBBI", family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0) + attribute(1, packed)
    header = struct.pack("=IHHII", 16 + len(body), 26, 1, 7, 0)
    assert messages.get_route(7, ip_address(address)) == header + body


@pytest.mark.parametrize("length", [0, 3, 9, 200])
def test_an_attribute_that_does_not_fit_is_malformed(length: int) -> None:
    head = struct.pack("=BBBBBBBBI", AF_INET, 32, 0, 0, 254, 0, 0, 1, 0)
    with pytest.raises(OSError, match=f"type 24: attribute 4 of {length} bytes") as caught:
        messages.decode_route(frame(RTM_NEWROUTE, head + struct.pack("=HHI", length, 4, 5)))
    assert caught.value.errno == errno.EBADMSG


def test_several_messages_in_one_buffer() -> None:
    buffer = b"".join(struct.pack("=IHHII", 18, kind, 0, 0, 0) + b"xy\0\0" for kind in (100, 101))
    assert [cut.kind for cut in messages.frames(buffer)] == [100, 101]


def test_malformed_messages_are_an_error_of_the_socket() -> None:
    """The watcher then opens a new one and reads everything again, rather than guess."""
    with pytest.raises(OSError, match="4 bytes") as caught:
        list(messages.frames(struct.pack("=IHHII", 4, RTM_NEWLINK, 0, 0, 0)))
    assert caught.value.errno == errno.EBADMSG
    with pytest.raises(OSError, match="type 20"):
        messages.decode(frame(RTM_NEWADDR, b"\2"))
    with pytest.raises(OSError, match="type 20"):
        messages.decode(frame(RTM_NEWADDR, struct.pack("=BBBBi", AF_INET, 32, 0, 0, 5)))
    with pytest.raises(OSError, match="type 24"):
        messages.decode_route(frame(RTM_NEWROUTE, b"\2"))


def test_error_numbers() -> None:
    assert messages.error_of(frame(messages.NLMSG_ERROR, struct.pack("=i", -101))) == 101
    assert messages.error_of(frame(messages.NLMSG_ERROR, struct.pack("=i", 0))) == 0
