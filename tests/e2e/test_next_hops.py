# SPDX-License-Identifier: Apache-2.0
"""Next hops on a real kernel: what an operator or a network does to routes, links and neighbours is seen at once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import pytest
from e2e.next_hops_lab import Lab, in_new_namespace, until, until_hop

from lb.core.model import Address, Hop, NextHop, Unresolved
from lb.net import neighbours
from lb.net.kernel import Kernel
from lb.net.next_hops import NetlinkNextHops

pytestmark = pytest.mark.root

HOST = ip_address("10.9.0.11")
FAR = ip_address("10.77.0.5")
SEEN_WITHIN_SECONDS = 1.0
NEW_MAC = bytes.fromhex("02000000aabb")


def on_a_box(test: Callable[[Lab, NetlinkNextHops], Awaitable[None]]) -> Callable[[], None]:
    """Run the test in a lab of its own, with ``NetlinkNextHops`` started in it."""

    async def body() -> None:
        hops = NetlinkNextHops()
        with Lab() as lab:
            await hops.start()
            try:
                await test(lab, hops)
            finally:
                await hops.stop()

    def run() -> None:
        in_new_namespace(body)

    run.__doc__ = test.__doc__  # not functools.wraps: pytest would take the parameters for fixtures
    return run


async def resolved(hops: NetlinkNextHops, *addresses: Address) -> list[NextHop]:
    hops.track(addresses)
    await hops.settle(addresses, 3)
    found = [hops.hop(address) for address in addresses]
    assert all(isinstance(hop, NextHop) for hop in found), found
    return [hop for hop in found if isinstance(hop, NextHop)]


def mac_is(mac: bytes) -> Callable[[Hop], bool]:
    return lambda hop: isinstance(hop, NextHop) and hop.mac == mac


def reason_has(*words: str) -> Callable[[Hop], bool]:
    return lambda hop: isinstance(hop, Unresolved) and all(word in hop.reason for word in words)


def is_resolved(hop: Hop) -> bool:
    return isinstance(hop, NextHop)


@on_a_box
async def test_a_host_on_the_link_is_resolved(lab: Lab, hops: NetlinkNextHops) -> None:
    """The kernel is asked to resolve it: nothing else on the box talks to a backend."""
    lab.host(str(HOST))
    [hop] = await resolved(hops, HOST)
    assert (hop.interface, hop.mtu_bytes, hop.gateway) == ("a0", 1500, None)
    assert (hop.mac, hop.source_mac) == (lab.mac("a1"), lab.mac("a0"))
    assert hop.source == ip_address("10.9.0.1")


@on_a_box
async def test_an_ipv6_host_on_the_link_is_resolved(lab: Lab, hops: NetlinkNextHops) -> None:
    lab.host("fd00:9::11")
    [hop] = await resolved(hops, ip_address("fd00:9::11"))
    assert (hop.interface, hop.mac, hop.source) == ("a0", lab.mac("a1"), ip_address("fd00:9::1"))


@on_a_box
async def test_a_host_behind_a_gateway_is_sent_to_the_gateway(lab: Lab, hops: NetlinkNextHops) -> None:
    lab.host("10.9.0.254")
    lab.ip("route add 10.77.0.0/16 via 10.9.0.254")
    [hop] = await resolved(hops, FAR)
    assert (hop.gateway, hop.mac) == (ip_address("10.9.0.254"), lab.mac("a1"))


@on_a_box
async def test_gateways_may_be_link_local_or_of_the_other_family(lab: Lab, hops: NetlinkNextHops) -> None:
    """Routers announce themselves with link-local addresses; RFC 5549 sends IPv4 through them too."""
    lab.peer("address add fe80::254/64 dev a1 nodad")
    lab.ip("route add fd77::/64 via fe80::254 dev a0", "route add 10.77.0.0/16 via inet6 fe80::254 dev a0")
    for hop in await resolved(hops, ip_address("fd77::5"), FAR):
        assert (hop.gateway, hop.mac) == (ip_address("fe80::254"), lab.mac("a1"))


@on_a_box
async def test_a_multipath_route_is_one_of_its_ways(lab: Lab, hops: NetlinkNextHops) -> None:
    lab.host("10.9.0.254", "a")
    lab.host("10.8.0.254", "b")
    lab.ip("route add 10.77.0.0/16 nexthop via 10.9.0.254 nexthop via 10.8.0.254")
    [hop] = await resolved(hops, FAR)
    assert (hop.interface, hop.mac) in {("a0", lab.mac("a1")), ("b0", lab.mac("b1"))}


@on_a_box
async def test_two_hundred_addresses_settle_at_once(lab: Lab, hops: NetlinkNextHops) -> None:
    """A restart of lbd on a full box must not take a second per backend."""
    addresses = [ip_address(f"10.9.0.{last}") for last in range(20, 220)]
    lab.peer(*(f"address add {address}/32 dev a1" for address in addresses), "route add 10.0.0.0/8 dev a1")
    hops.track(addresses)
    assert await until(lambda: all(is_resolved(hops.hop(address)) for address in addresses)) < SEEN_WITHIN_SECONDS


@on_a_box
async def test_a_new_mac_of_the_host_is_seen_within_a_second(lab: Lab, hops: NetlinkNextHops) -> None:
    """A backend was replaced by another machine, which announces itself (gratuitous ARP)."""
    lab.tune("ipv4/neigh/a0/locktime", "0")  # else the kernel ignores an announcement in the entry's first second
    lab.host(str(HOST))
    await resolved(hops, HOST)
    lab.tune_peer("ipv4/conf/a1/arp_notify", "1")
    lab.peer(f"link set a1 address {NEW_MAC.hex(':')}")
    assert await until_hop(hops, HOST, mac_is(NEW_MAC)) < SEEN_WITHIN_SECONDS


def test_a_mac_that_changed_without_a_word_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but lbd asks for a backend (XDP's packets are not seen by the kernel), so lbd must keep asking.

    The neighbour is lost (the old MAC does not answer) and found again (by broadcast) within the hold.
    """
    monkeypatch.setattr(neighbours, "CONFIRM_SECONDS", 0.05)

    @on_a_box
    async def body(lab: Lab, hops: NetlinkNextHops) -> None:
        told: list[Hop] = []
        lab.tune("ipv4/neigh/a0/delay_first_probe_time", "0")
        lab.tune("ipv4/neigh/a0/retrans_time_ms", "20")
        lab.host(str(HOST))
        await resolved(hops, HOST)
        hops.on_change(lambda: told.append(hops.hop(HOST)))
        lab.peer(f"link set a1 address {NEW_MAC.hex(':')}")
        lab.ip(f"neigh change {HOST} nud stale dev a0")
        await until_hop(hops, HOST, mac_is(NEW_MAC))
        assert all(map(is_resolved, told))

    body()


@on_a_box
async def test_a_flush_of_the_neighbour_table_is_not_noticed(lab: Lab, hops: NetlinkNextHops) -> None:
    """`ip neigh flush`, like the kernel's garbage collection, says nothing about the backends: none leaves the ring."""
    lab.host(str(HOST))
    [before] = await resolved(hops, HOST)
    seen: list[Hop] = []
    hops.on_change(lambda: seen.append(hops.hop(HOST)))
    lab.ip("neigh flush dev a0")
    lab.ip("address add 10.9.0.2/24 dev a0")  # a change that is told, after the one that must not be
    await until(lambda: seen)
    assert set(seen) == {before}


@on_a_box
async def test_a_host_that_is_gone_becomes_unresolved_and_returns(lab: Lab, hops: NetlinkNextHops) -> None:
    lab.host(str(HOST))
    await resolved(hops, HOST)
    lab.peer(f"address del {HOST}/32 dev a1")
    lab.ip("neigh flush dev a0")
    await until_hop(hops, HOST, reason_has("10.9.0.11 does not answer ARP on a0"))
    lab.host(str(HOST))
    await until_hop(hops, HOST, is_resolved)


@on_a_box
async def test_a_permanent_neighbour_stays_permanent(lab: Lab, hops: NetlinkNextHops) -> None:
    """NTF_USE takes permanence away on newer kernels: it must not be sent for such an entry."""
    lab.ip(f"neigh add {HOST} lladdr {NEW_MAC.hex(':')} nud permanent dev a0")
    [hop] = await resolved(hops, HOST)
    assert hop.mac == NEW_MAC
    lab.ip(f"neigh change {HOST} lladdr {NEW_MAC.hex(':')} nud permanent dev a0")


@on_a_box
async def test_a_route_change_moves_the_host_to_another_interface(lab: Lab, hops: NetlinkNextHops) -> None:
    lab.host("10.9.0.254", "a")
    lab.host("10.8.0.254", "b")
    lab.ip("route add 10.77.0.0/16 via 10.9.0.254")
    await resolved(hops, FAR)
    lab.ip("route replace 10.77.0.0/16 via 10.8.0.254")
    assert await until_hop(hops, FAR, mac_is(lab.mac("b1"))) < SEEN_WITHIN_SECONDS
    lab.ip("route del 10.77.0.0/16")
    assert await until_hop(hops, FAR, reason_has("no route to 10.77.0.5", "ip route add")) < SEEN_WITHIN_SECONDS


@on_a_box
async def test_a_rule_or_nexthop_object_moves_the_host(lab: Lab, hops: NetlinkNextHops) -> None:
    """Neither touches a route of the main table."""
    lab.host("10.9.0.254", "a")
    lab.host("10.8.0.254", "b")
    lab.ip("nexthop add id 7 via 10.9.0.254 dev a0", "route add 10.77.0.0/16 nhid 7")
    lab.ip("route add 10.77.0.0/16 via 10.8.0.254 table 100")
    await resolved(hops, FAR)
    lab.ip("nexthop replace id 7 via 10.8.0.254 dev b0")
    await until_hop(hops, FAR, mac_is(lab.mac("b1")))
    lab.ip("nexthop replace id 7 via 10.9.0.254 dev a0")
    await until_hop(hops, FAR, mac_is(lab.mac("a1")))
    lab.ip("rule add to 10.77.0.0/16 lookup 100")
    await until_hop(hops, FAR, mac_is(lab.mac("b1")))


@on_a_box
async def test_link_down_and_up(lab: Lab, hops: NetlinkNextHops) -> None:
    """The kernel says "no route" then; the operator is told which interface is down instead."""
    lab.host(str(HOST))
    await resolved(hops, HOST)
    lab.ip("link set a0 down")
    assert await until_hop(hops, HOST, reason_has("interface a0 is down", "ip link set a0 up")) < SEEN_WITHIN_SECONDS
    lab.ip("link set a0 up")
    assert await until_hop(hops, HOST, is_resolved) < SEEN_WITHIN_SECONDS


@on_a_box
async def test_carrier_lost_and_found(lab: Lab, hops: NetlinkNextHops) -> None:
    lab.host(str(HOST))
    await resolved(hops, HOST)
    lab.peer("link set a1 down")
    assert await until_hop(hops, HOST, reason_has("interface a0 has no carrier")) < SEEN_WITHIN_SECONDS
    lab.peer("link set a1 up")
    lab.host("10.9.0.12")  # puts the route back, which the host lost with its link
    assert await until_hop(hops, HOST, is_resolved) < 2 * SEEN_WITHIN_SECONDS  # the kernel tells carrier once a second


@on_a_box
async def test_mac_and_mtu_of_the_egress_interface_are_followed(lab: Lab, hops: NetlinkNextHops) -> None:
    lab.host(str(HOST))
    await resolved(hops, HOST)
    lab.ip("link set a0 mtu 1400", f"link set a0 address {NEW_MAC.hex(':')}")
    await until_hop(
        hops, HOST, lambda hop: isinstance(hop, NextHop) and (hop.mtu_bytes, hop.source_mac) == (1400, NEW_MAC)
    )


@on_a_box
async def test_an_interface_that_was_removed_and_made_again(lab: Lab, hops: NetlinkNextHops) -> None:
    """Same name, another ifindex."""
    lab.host(str(HOST))
    [before] = await resolved(hops, HOST)
    lab.ip("link del a0")
    assert await until_hop(hops, HOST, reason_has("interface a0", "is gone")) < SEEN_WITHIN_SECONDS
    lab.link("a")
    lab.ip("address add 10.9.0.1/24 dev a0")
    lab.host(str(HOST))
    assert await until_hop(hops, HOST, is_resolved) < 2 * SEEN_WITHIN_SECONDS
    after = hops.hop(HOST)
    assert isinstance(after, NextHop)
    assert after.ifindex != before.ifindex
    assert after.mac == lab.mac("a1")


@on_a_box
async def test_local_addresses_are_followed(lab: Lab, hops: NetlinkNextHops) -> None:
    """A VIP that equals one of them is refused without --force: the set must be true at any time."""
    vip = ip_address("198.51.100.7")
    assert {ip_address("10.9.0.1"), ip_address("127.0.0.1"), ip_address("fd00:8::1")} <= hops.local_addresses()
    lab.ip(f"address add {vip}/32 dev lo", f"address add {vip}/32 dev a0")
    await until(lambda: vip in hops.local_addresses())
    lab.ip(f"address del {vip}/32 dev a0", "address add 198.51.100.8/32 dev a0")
    await until(lambda: ip_address("198.51.100.8") in hops.local_addresses())
    assert vip in hops.local_addresses(), "it is still on lo"
    lab.ip(f"address del {vip}/32 dev lo")
    await until(lambda: vip not in hops.local_addresses())


@on_a_box
async def test_each_dead_end_has_its_reason(lab: Lab, hops: NetlinkNextHops) -> None:
    lab.ip("route add blackhole 10.70.0.0/16", "route add unreachable 10.71.0.0/16", "route add prohibit 10.72.0.0/16")
    lab.ip("tuntap add mode tun name t0", "link set t0 up", "address add 10.73.0.1/24 dev t0")
    dead_ends = {
        "10.9.0.1": "is an address of this box",
        "127.0.0.9": "is an address of this box",
        "10.9.0.255": "is a broadcast address",
        "10.70.0.1": "a blackhole route covers",
        "10.71.0.1": "an unreachable route covers",
        "10.72.0.1": "a prohibit route covers",
        "203.0.113.1": "no route to 203.0.113.1",
        "2001:db8::1": "no route to 2001:db8::1",
        "fe80::1": "is link-local",
        "10.73.0.2": "t0, which leads to 10.73.0.2, has no Ethernet address",
        "10.9.0.99": "10.9.0.99 does not answer ARP on a0",
        "fd00:9::99": "fd00:9::99 does not answer neighbour discovery on a0",
    }
    hops.track([ip_address(text) for text in dead_ends])
    for text, reason in dead_ends.items():
        await until_hop(hops, ip_address(text), reason_has(reason))


@on_a_box
async def test_a_burst_of_route_changes_ends_in_the_truth(lab: Lab, hops: NetlinkNextHops) -> None:
    lab.host("10.9.0.254", "a")
    lab.host("10.8.0.254", "b")
    lab.ip("route add 10.77.0.0/16 via 10.9.0.254")
    await resolved(hops, FAR)
    lab.ip(*(f"route replace 10.77.0.0/16 via 10.{8 + turn % 2}.0.254" for turn in range(2001)))
    await until_hop(hops, FAR, mac_is(lab.mac("b1")))


def test_lost_events_lead_to_a_full_read(caplog: pytest.LogCaptureFixture) -> None:
    """An overrun of the netlink buffer must never leave a stale MAC or address behind."""
    caplog.set_level(logging.INFO, "lb.net")

    async def body() -> None:
        hops = NetlinkNextHops(lambda: Kernel(event_buffer_bytes=4096))
        with Lab() as lab:
            lab.host(str(HOST))
            await hops.start()
            await resolved(hops, HOST)
            # The loop stands still meanwhile: none of these is read before the buffer is full.
            lab.ip(*(f"address add 10.66.{n // 250}.{n % 250 + 1}/32 dev b0" for n in range(500)))
            lab.ip(f"neigh replace {HOST} lladdr {NEW_MAC.hex(':')} nud permanent dev a0")
            await until_hop(hops, HOST, mac_is(NEW_MAC))
            assert ip_address("10.66.1.250") in hops.local_addresses()
            await hops.stop()

    in_new_namespace(body)
    assert "some are lost" in caplog.text
