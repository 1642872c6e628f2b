# SPDX-License-Identifier: Apache-2.0
"""Every reason for "no next hop", and what is in a next hop."""

from __future__ import annotations

import errno
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lb.core.model import NextHop, Unresolved
from lb.net import resolve
from lb.net.facts import Link, Route
from lb.net.resolve import Egress

HOST, V6_HOST, GATEWAY = ip_address("10.0.0.9"), ip_address("fd00::9"), ip_address("10.0.0.254")
ETH0 = Link(2, "eth0", 9000, b"\x02\0\0\0\0\1", up=True, running=True)
ROUTE = Route(resolve.RTN_UNICAST, 2, None, ip_address("10.0.0.1"))


def reason(answer: Egress | Unresolved) -> str:
    assert isinstance(answer, Unresolved)
    return answer.reason


def test_a_next_hop_names_interface_addresses_and_gateway() -> None:
    way = resolve.egress(HOST, replace(ROUTE, gateway=GATEWAY), {2: ETH0})
    assert isinstance(way, Egress)
    assert way.neighbour == (2, GATEWAY)
    assert resolve.next_hop(way, b"\x02aaaaa") == NextHop(
        "eth0", 2, 9000, b"\x02aaaaa", b"\x02\0\0\0\0\1", ip_address("10.0.0.1"), GATEWAY
    )


def test_on_the_link_the_address_itself_is_the_neighbour() -> None:
    way = resolve.egress(HOST, ROUTE, {2: ETH0})
    assert isinstance(way, Egress)
    assert way.neighbour == (2, HOST)


@pytest.mark.parametrize(
    ("route", "link", "words"),
    [
        (replace(ROUTE, kind=resolve.RTN_LOCAL), ETH0, "10.0.0.9 is an address of this box: give"),
        (replace(ROUTE, kind=resolve.RTN_BROADCAST), ETH0, "is a broadcast address: give"),
        (replace(ROUTE, kind=resolve.RTN_MULTICAST), ETH0, "is a multicast address: give"),
        (replace(ROUTE, kind=11), ETH0, "is a type 11 address: give"),
        (replace(ROUTE, ifindex=7), ETH0, "an interface that is gone: see `ip route get 10.0.0.9`"),
        (ROUTE, replace(ETH0, up=False, running=False), "eth0 is down: `ip link set eth0 up`"),
        (ROUTE, replace(ETH0, running=False), "eth0 has no carrier: check"),
        (replace(ROUTE, encapsulated=True), ETH0, "(encap): add a route without it"),
        (ROUTE, replace(ETH0, mac=None), "has no Ethernet address: route it over"),
        (replace(ROUTE, source=None), ETH0, "eth0 has no IPv4 address to send from: add one"),
    ],
)
def test_a_way_that_cannot_be_used_has_reason_and_remedy(route: Route, link: Link, words: str) -> None:
    assert words in reason(resolve.egress(HOST, route, {2: link}))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENETUNREACH, "no route to 10.0.0.9: add one"),
        (errno.EHOSTUNREACH, "an unreachable route covers 10.0.0.9"),
        (errno.EINVAL, "a blackhole route covers 10.0.0.9"),
        (errno.EACCES, "a prohibit route covers 10.0.0.9"),
        (errno.ENOMEM, "the route lookup for 10.0.0.9 failed: Cannot allocate memory"),
    ],
)
def test_a_refused_lookup_has_its_reason(code: int, words: str) -> None:
    assert words in reason(resolve.refused(HOST, code, None, {}))


def test_a_route_that_left_with_its_interface_blames_the_interface() -> None:
    """The kernel drops the routes of an interface that goes down: "no route" would send the operator astray."""
    down = replace(ETH0, up=False)
    assert "eth0 is down" in reason(resolve.refused(HOST, errno.ENETUNREACH, ETH0, {2: down}))
    assert "eth0, which led to 10.0.0.9, is gone" in reason(resolve.refused(HOST, errno.ENETUNREACH, ETH0, {}))
    assert "no route" in reason(resolve.refused(HOST, errno.ENETUNREACH, ETH0, {2: ETH0}))
    again = replace(ETH0, ifindex=3)
    assert "no route" in reason(resolve.refused(HOST, errno.ENETUNREACH, ETH0, {3: again})), "it was made again"


@pytest.mark.parametrize(
    ("address", "gateway", "refusal", "words"),
    [
        (HOST, None, 0, "10.0.0.9 does not answer ARP on eth0"),
        (V6_HOST, None, 0, "fd00::9 does not answer neighbour discovery on eth0"),
        (HOST, GATEWAY, 0, "gateway 10.0.0.254 (on the way to 10.0.0.9) does not answer ARP"),
        (HOST, ip_address("fe80::1"), 0, "gateway fe80::1 (on the way to 10.0.0.9) does not answer neighbour disc"),
        (HOST, None, errno.EPERM, "CAP_NET_ADMIN"),
        (HOST, None, errno.ENOBUFS, "raise net.ipv4.neigh.default.gc_thresh3"),
        (V6_HOST, None, errno.ENOBUFS, "raise net.ipv6.neigh.default.gc_thresh3"),
    ],
)
def test_a_silent_neighbour_has_its_reason(address, gateway, refusal, words) -> None:  # type: ignore[no-untyped-def]
    way = Egress(address, ETH0, b"\x02\0\0\0\0\1", ip_address("10.0.0.1"), gateway)
    assert words in resolve.silent(way, refusal).reason


def test_link_local_backends_are_refused_without_a_lookup() -> None:
    assert "fe80::9" in reason(resolve.unusable(ip_address("fe80::9")) or pytest.fail("accepted"))
    assert resolve.unusable(HOST) is None
    assert resolve.unusable(ip_address("169.254.1.1")) is None, "IPv4 link-local is routed like any other"
