# SPDX-License-Identifier: Apache-2.0
"""The way of health checks into the tunnel, on a real kernel: where marked packets go, and that no others do."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from e2e.next_hops_lab import Lab, in_new_namespace, wait_now

from lb.core.checks import PROBE_MARK
from lb.core.model import Address, Unresolved
from lb.net.kernel import Kernel
from lb.net.probe_route import lay

pytestmark = pytest.mark.root

VIPS = {4: "203.0.113.1", 6: "2001:db8::1"}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
SOURCES = {4: ip_address("10.9.0.1"), 6: ip_address("fd00:9::1")}
OTHERS = {4: ip_address("10.8.0.1"), 6: ip_address("fd00:8::1")}
BOTH = ("a0", "b0")
MARK = PROBE_MARK | 7


def on_a_box(test: Callable[[], None]) -> Callable[[], None]:
    """Run the test in a namespace of its own with the interfaces a0 (10.9.0.1, fd00:9::1) and b0 (10.8, fd00:8)."""

    async def body() -> None:
        with Lab():
            # They come a moment later, with a route each: what is compared would change by itself.
            wait_now(lambda: usable_link_locals() >= set(BOTH))
            test()

    def run() -> None:
        in_new_namespace(body)

    run.__doc__ = test.__doc__
    return run


def ip(*commands: str) -> None:
    """Run ``ip`` commands in the box."""
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def ip_json(*words: str) -> Any:
    done = subprocess.run(["ip", "-json", *words], check=True, capture_output=True, text=True)
    return json.loads(done.stdout or "[]")


def usable_link_locals() -> set[str]:
    """Interfaces whose link-local address the kernel has accepted."""
    found = ip_json("-6", "address", "show", "scope", "link", "-tentative")
    return {link["ifname"] for link in found if link.get("addr_info")}


def everything() -> list[Any]:
    """Rules, routes and lasting neighbours of the box."""
    shown = [
        ip_json(f"-{version}", *words) for version in (4, 6) for words in (["rule"], ["route", "show", "table", "all"])
    ]
    return [*shown, ip_json("neigh", "show", "nud", "permanent")]


def way_of(version: int, mark: int) -> tuple[str, str]:
    """Interface and gateway of a packet to the VIP; "" for no gateway."""
    (found,) = ip_json(f"-{version}", "route", "get", VIPS[version], "mark", hex(mark))
    return found["dev"], found.get("gateway", "")


def reason(ways: Mapping[int, Address | Unresolved], version: int) -> str:
    way = ways[version]
    assert isinstance(way, Unresolved), way
    return way.reason


def send_marked(version: int) -> int:
    """The errno with which a probe fails at once; 0 when it leaves."""
    with socket.socket(FAMILIES[version], socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        return sock.connect_ex((VIPS[version], 80))


@on_a_box
def test_marked_packets_alone_go_into_the_tunnel() -> None:
    """By the first interface, from its address, whatever other routes there are."""
    for version, via in ((4, "10.8.0.9"), (6, "fd00:8::9")):
        ip(f"-{version} route add default via {via} dev b0")
    before = {version: way_of(version, 0) for version in VIPS}
    assert lay(BOTH) == SOURCES
    assert way_of(4, MARK) == ("a0", "169.254.76.66")
    assert way_of(6, MARK) == ("a0", "fe80::4c42")
    for version in VIPS:
        for mark in (0, 7, 0x4C43_0007):
            assert way_of(version, mark) == before[version]


@on_a_box
def test_nothing_is_written_when_nothing_is_missing() -> None:
    """It is looked after for as long as lbd runs, and every change of routes makes others look at theirs."""
    lay(BOTH)
    shown = everything()
    kernel = Kernel()
    try:
        assert lay(BOTH) == SOURCES
        assert kernel.events() == []
    finally:
        kernel.close()
    assert everything() == shown


@on_a_box
def test_nothing_is_left_once_no_interface_wraps() -> None:
    """And nothing of others' is taken along."""
    ip("rule add pref 75 fwmark 7 lookup 100", "route add default dev b0 table 100")
    ip("neigh add 10.9.0.77 lladdr 02:00:00:00:00:77 dev a0 nud permanent")
    before = everything()
    assert lay(BOTH) == SOURCES
    assert everything() != before
    assert "no interface" in reason(lay(()), 4)
    assert everything() == before
    lay(())
    assert everything() == before


@on_a_box
def test_the_next_interface_is_taken_at_once_when_one_goes_down() -> None:
    """Backends behind the other interface are healthy, and their checks must not depend on this one."""
    lay(BOTH)
    ip("link set a0 down")
    assert [way_of(version, MARK)[0] for version in VIPS] == ["b0", "b0"]
    assert lay(BOTH)[4] == OTHERS[4]
    ip("link set a0 up", "address add fd00:9::1/64 dev a0 nodad")  # IPv6 addresses go with the link
    assert lay(BOTH) == SOURCES
    assert [way_of(version, MARK)[0] for version in VIPS] == ["a0", "a0"]


@on_a_box
def test_probes_end_where_no_interface_can_send_them() -> None:
    """By another route they would reach whoever has the VIP, this balancer's data plane perhaps, and pass."""
    ip("link add c0 type veth peer name c1", "link set c0 up", "link set c1 up")
    ip("address add 10.7.0.1/24 dev c0", "address add fd00:7::1/64 dev c0 nodad", "route add default dev c0")
    lay(BOTH)
    ip("link set a0 down", "link set b0 down")
    assert [send_marked(version) for version in VIPS] == [errno.EINVAL, errno.EINVAL]
    ways = lay(BOTH)
    for version in VIPS:
        assert "interface a0 is down: `ip link set a0 up`; interface b0 is down" in reason(ways, version)
        assert send_marked(version) == errno.EINVAL


@on_a_box
def test_what_others_took_away_comes_back() -> None:
    """Network managers remove rules that they do not know; a new MAC of the interface flushes its neighbours."""
    lay(BOTH)
    before = everything()
    for version in VIPS:
        ip(f"-{version} rule del pref 76", f"-{version} route flush table {0x4C42}")
    ip("neigh del 169.254.76.66 dev a0", "neigh replace fe80::4c42 lladdr 02:00:00:00:00:01 dev b0 nud permanent")
    assert everything() != before
    assert lay(BOTH) == SOURCES
    assert sorted(map(json.dumps, everything()[-1])) == sorted(map(json.dumps, before[-1]))
    assert everything()[:-1] == before[:-1]


@on_a_box
def test_routes_of_another_release_and_of_other_interfaces_are_replaced() -> None:
    """The table is ours alone."""
    ip(f"route add default via 169.254.76.66 dev a0 onlink metric 1 mtu 1400 table {0x4C42}")
    for version, via in ((4, "10.8.0.9"), (6, "fd00:8::9")):
        ip(f"-{version} route add default via {via} dev b0 table {0x4C42}")
    assert lay(["a0"]) == SOURCES
    for version in VIPS:
        routes = ip_json(f"-{version}", "route", "show", "table", str(0x4C42))
        assert [(route.get("type"), route.get("dev")) for route in routes if route.get("type") != "blackhole"] == [
            (None, "a0")
        ]
    lay(["b0"])
    assert {entry["dev"] for entry in ip_json("neigh", "show", "nud", "permanent")} == {"b0"}


@on_a_box
def test_a_box_without_an_address_of_a_family_is_told_so() -> None:
    """A link-local address is one that backends behind a router cannot answer. The other family works."""
    ip("address del fd00:9::1/64 dev a0", "address del fd00:8::1/64 dev b0")
    ways = lay(BOTH)
    assert ways[4] == SOURCES[4]
    assert "no IPv6 address, link-local ones aside" in reason(ways, 6)
    assert send_marked(6) == errno.EINVAL
    ip("address flush dev a0 scope global", "address flush dev b0 scope global")
    ways = lay(BOTH)
    assert "no IPv4 address" in reason(ways, 4)
    assert send_marked(4) == errno.EINVAL


@on_a_box
def test_an_address_of_another_interface_is_used_where_the_first_has_none() -> None:
    """Boxes that speak BGP have theirs on lo."""
    ip("address del 10.9.0.1/24 dev a0", "address del 10.8.0.1/24 dev b0", "address add 10.6.6.6/32 dev lo")
    assert lay(BOTH)[4] == ip_address("10.6.6.6")


@on_a_box
def test_ipv6_switched_off_is_told() -> None:
    """On one interface: the other one is used. On all: the way of IPv4 stays."""
    Path("/proc/sys/net/ipv6/conf/a0/disable_ipv6").write_text("1")
    assert lay(BOTH) == {4: SOURCES[4], 6: OTHERS[6]}
    assert "a0 takes no IPv6 route" in reason(lay(["a0"]), 6)
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    ways = lay(BOTH)
    assert ways[4] == SOURCES[4]
    assert "no IPv6 address" in reason(ways, 6)


@on_a_box
def test_interfaces_that_cannot_send_are_told() -> None:
    """Gone, or without Ethernet addresses for the next hop's MAC to be written to."""
    ip("tuntap add dev t0 mode tun", "link set t0 up")
    ways = lay(["t0", "nope"])
    assert "interface t0 has no Ethernet address" in reason(ways, 4)
    assert "interface nope is gone" in reason(ways, 6)


@on_a_box
def test_a_rule_that_comes_before_ours_is_told() -> None:
    """Some policies route all that the box sends."""
    ip("rule add pref 10 lookup main", "route add default via 10.9.0.9")
    ip("-6 rule add pref 10 prohibit")
    ways = lay(BOTH)
    assert "another rule leads IPv4 packets elsewhere: give it a priority above 76" in reason(ways, 4)
    assert "Permission denied: see `ip rule`" in reason(ways, 6)
