# SPDX-License-Identifier: Apache-2.0
"""How large a packet reaches a backend: measured on real links of several widths."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from e2e.next_hops_lab import Lab, in_new_namespace, wait_now
from fakes.next_hops import hop_to

from lb.core.model import Backend, NextHop, Pool
from lb.observe.backends import Member
from lb.observe.path_mtu import examine_paths, largest, sizes
from lb.ports import Finding, Severity

pytestmark = pytest.mark.root

HOST, HOST_6 = "10.9.0.2", "fd00:9::2"
FAR_HOST = "10.7.0.2"


def run(body: Callable[[Lab], Coroutine[Any, Any, None]]) -> None:
    """In a box of its own."""

    async def inside() -> None:
        with Lab() as lab:
            await body(lab)

    in_new_namespace(inside)


def widen(lab: Lab, here: int, there: int) -> None:
    """MTUs of both ends of link a."""
    lab.ip(f"link set a0 mtu {here}")
    lab.peer(f"link set a1 mtu {there}")


def member(address: str, mtu_bytes: int) -> Member:
    """On link a."""
    backend = Backend("b", ip_address(address))
    known = hop_to(backend.address)
    return Member("b", Pool("web"), backend, NextHop("a0", 2, mtu_bytes, known.mac, known.source_mac, known.source))


async def measure(address: str, mtu_bytes: int) -> Finding:
    (found,) = await examine_paths([member(address, mtu_bytes)])
    return found


@contextmanager
def far_host(lab: Lab) -> Iterator[None]:
    """A host behind the machine at the other end of link a, which is a router then; the link there carries 1400."""
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as host:
        try:
            there = Path(f"/proc/{host.pid}/ns/net")
            wait_now(lambda: there.readlink() != Path("/proc/thread-self/ns/net").readlink())
            lab.peer(f"link add c0 type veth peer name c1 netns {host.pid}", "link set c0 mtu 1400 up")
            lab.peer("address add 10.7.0.1/24 dev c0", f"address add {HOST}/24 dev a1")
            lab.tune_peer("ipv4/ip_forward", "1")
            lab.tune_peer("ipv4/conf/all/rp_filter", "0")
            for command in (
                "link set c1 mtu 1400 up",
                f"address add {FAR_HOST}/24 dev c1",
                "route add default via 10.7.0.1",
            ):
                subprocess.run(["nsenter", f"--net={there}", "ip", *command.split()], check=True)
            lab.ip(f"route add 10.7.0.0/24 via {HOST}")
            yield
        finally:
            host.kill()


def test_full_packets_arrive_where_all_links_are_wide_enough() -> None:
    """20 bytes for IPv4 outside, 40 for IPv6."""

    async def body(lab: Lab) -> None:
        widen(lab, 1600, 1600)
        for host, wanted in ((HOST, 1520), (HOST_6, 1540)):
            lab.host(host)
            found = await measure(host, 1600)
            assert (found.severity, found.check) == (Severity.OK, "path MTU")
            assert f"packets of {wanted} arrive" in found.observation

    run(body)


def test_a_host_whose_interface_is_too_narrow_is_found() -> None:
    """Small packets, and so all checks, come through; full ones vanish without a word."""

    async def body(lab: Lab) -> None:
        widen(lab, 1600, 1500)
        lab.host(HOST)
        lab.host(HOST_6)
        found = await examine_paths([member(HOST, 1600), member(HOST_6, 1600)])
        for each, wanted in zip(found, (1520, 1540), strict=True):
            assert (each.severity, each.subject) == (Severity.PROBLEM, "b")
            assert f"only 1500 of {wanted} bytes arrive" in each.observation
            assert f"mtu {wanted}" in each.remedy

    run(body)


def test_a_narrow_link_behind_a_router_is_found() -> None:
    """The router says what does not fit, which must not stop the smaller pings."""

    async def body(lab: Lab) -> None:
        widen(lab, 1600, 1600)
        with far_host(lab):
            assert await largest(ip_address(FAR_HOST), sizes(4, 1600)) == 1400

    run(body)


def test_a_narrow_link_of_our_own_is_no_news() -> None:
    """Clients are told what fits there: the interface's finding says so, once."""

    async def body(lab: Lab) -> None:
        lab.host(HOST)
        found = await measure(HOST, 1500)
        assert (found.severity, "packets of 1500 arrive" in found.observation) == (Severity.OK, True)

    run(body)


def test_a_host_that_answers_no_pings_is_not_judged() -> None:
    """Nor is one that there is no way to."""

    async def body(lab: Lab) -> None:
        lab.host(HOST)
        lab.tune_peer("ipv4/icmp_echo_ignore_all", "1")
        silent, unreachable = await examine_paths([member(HOST, 1500), member("198.51.100.1", 1500)])
        assert (silent.severity, "answers no pings" in silent.observation) == (Severity.OK, True)
        assert (unreachable.severity, "Network is unreachable" in unreachable.observation) == (Severity.OK, True)

    run(body)


def test_sizes_never_exceed_the_link() -> None:
    assert sizes(4, 1600) == [1520, 1500, 1400, 1280, 576, 100]
    assert sizes(6, 9000) == [1540, 1500, 1400, 1280, 576, 100]
    assert sizes(4, 1500) == [1500, 1400, 1280, 576, 100]
