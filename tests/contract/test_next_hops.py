# SPDX-License-Identifier: Apache-2.0
"""What every ``NextHops`` does: the fake, and netlink in a network namespace of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import Protocol

import pytest
from e2e.next_hops_lab import Lab, in_new_namespace, until, until_hop
from fakes.next_hops import FakeNextHops, hop_to

from lb.core.model import Address, NextHop, Unresolved
from lb.net.next_hops import NetlinkNextHops
from lb.ports import NextHops

BOX = ip_address("10.9.0.1")
HOST = ip_address("10.9.0.11")
OTHER = ip_address("10.9.0.12")
NOWHERE = ip_address("203.0.113.9")
NEW_MAC = bytes.fromhex("02000000aabb")
LONG_SECONDS = 5.0


class World(Protocol):
    """A network with one box (10.9.0.1), and what a test may do to it."""

    hops: NextHops

    def host(self, address: Address) -> None: ...
    def change_mac(self, address: Address, mac: bytes) -> None: ...
    def add_local(self, address: Address) -> None: ...
    def remove_local(self, address: Address) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.hops = FakeNextHops(local={BOX})

    def host(self, address: Address) -> None:
        self.hops.set(address, hop_to(address))

    def change_mac(self, address: Address, mac: bytes) -> None:
        self.hops.set(address, replace(hop_to(address), mac=mac))

    def add_local(self, address: Address) -> None:
        self.hops.set_local(self.hops.local_addresses() | {address})

    def remove_local(self, address: Address) -> None:
        self.hops.set_local(self.hops.local_addresses() - {address})


class RealWorld:
    def __init__(self, lab: Lab) -> None:
        self.hops = NetlinkNextHops()
        self._lab = lab

    def host(self, address: Address) -> None:
        self._lab.host(str(address))

    def change_mac(self, address: Address, mac: bytes) -> None:
        self._lab.ip(f"neigh replace {address} lladdr {mac.hex(':')} nud permanent dev a0")

    def add_local(self, address: Address) -> None:
        self._lab.ip(f"address add {address}/32 dev a0")

    def remove_local(self, address: Address) -> None:
        self._lab.ip(f"address del {address}/32 dev a0")


Body = Callable[[World], Awaitable[None]]


def _with_fake(body: Body) -> None:
    async def run() -> None:
        await _started(FakeWorld(), body)

    asyncio.run(run())


def _with_netlink(body: Body) -> None:
    async def run() -> None:
        with Lab() as lab:
            await _started(RealWorld(lab), body)

    in_new_namespace(run)


async def _started(world: World, body: Body) -> None:
    await world.hops.start()
    try:
        await body(world)
    finally:
        await world.hops.stop()


@pytest.fixture(params=[_with_fake, pytest.param(_with_netlink, marks=pytest.mark.root)], ids=["fake", "netlink"])
def in_world(request: pytest.FixtureRequest) -> Callable[[Body], None]:
    """Runs a test's body against one implementation."""
    run: Callable[[Body], None] = request.param
    return run


def test_settle_returns_as_soon_as_a_host_is_resolved(in_world: Callable[[Body], None]) -> None:
    """Creating a backend waits for its next hop, and not a moment longer."""

    async def body(world: World) -> None:
        world.host(HOST)
        world.hops.track([HOST])
        began = time.monotonic()
        await world.hops.settle([HOST], LONG_SECONDS)
        assert time.monotonic() - began < LONG_SECONDS / 2
        hop = world.hops.hop(HOST)
        assert isinstance(hop, NextHop)
        assert (len(hop.mac), len(hop.source_mac), hop.source.version) == (6, 6, 4)
        assert hop.mtu_bytes > 0

    in_world(body)


def test_settle_gives_up_in_time(in_world: Callable[[Body], None]) -> None:
    """An address without a route must not hold up the operator's call."""

    async def body(world: World) -> None:
        world.hops.track([NOWHERE])
        began = time.monotonic()
        await world.hops.settle([NOWHERE], 0.2)
        assert 0.19 < time.monotonic() - began < LONG_SECONDS / 2
        hop = world.hops.hop(NOWHERE)
        assert isinstance(hop, Unresolved)
        assert str(NOWHERE) in hop.reason

    in_world(body)


def test_settle_of_nothing_returns_at_once(in_world: Callable[[Body], None]) -> None:
    async def body(world: World) -> None:
        await asyncio.wait_for(world.hops.settle([], LONG_SECONDS), LONG_SECONDS / 2)

    in_world(body)


def test_an_address_of_the_box_is_refused_with_the_reason(in_world: Callable[[Body], None]) -> None:
    """A backend on the balancer itself would swallow the VIP's traffic."""

    async def body(world: World) -> None:
        world.hops.track([BOX])
        await until_hop(
            world.hops, BOX, lambda hop: isinstance(hop, Unresolved) and "is an address of this box" in hop.reason
        )

    in_world(body)


def test_a_changed_mac_is_told_in_the_loop(in_world: Callable[[Body], None]) -> None:
    async def body(world: World) -> None:
        world.host(HOST)
        world.hops.track([HOST])
        await world.hops.settle([HOST], LONG_SECONDS)
        loops: list[asyncio.AbstractEventLoop] = []
        world.hops.on_change(lambda: loops.append(asyncio.get_running_loop()))
        world.change_mac(HOST, NEW_MAC)
        await until(lambda: loops)
        assert loops[0] is asyncio.get_running_loop()
        hop = world.hops.hop(HOST)
        assert isinstance(hop, NextHop)
        assert hop.mac == NEW_MAC

    in_world(body)


def test_tracking_the_same_again_tells_nothing(in_world: Callable[[Body], None]) -> None:
    """The reconciler tracks after every pass: a callback for nothing would make it run for ever."""

    async def body(world: World) -> None:
        world.host(HOST)
        world.hops.track([HOST])
        await world.hops.settle([HOST], LONG_SECONDS)
        await until(lambda: isinstance(world.hops.hop(HOST), NextHop))
        told: list[bool] = []
        world.hops.on_change(lambda: told.append(OTHER in world.hops.local_addresses()))
        world.hops.track([HOST])
        world.add_local(OTHER)  # a change that is told, after the one that must not be
        await until(lambda: told)
        assert told[0] is True

    in_world(body)


def test_what_is_tracked_no_more_is_forgotten(in_world: Callable[[Body], None]) -> None:
    async def body(world: World) -> None:
        world.host(HOST)
        world.host(OTHER)
        world.hops.track([HOST, OTHER])
        await world.hops.settle([HOST, OTHER], LONG_SECONDS)
        world.hops.track([OTHER])
        assert isinstance(world.hops.hop(HOST), Unresolved)
        assert isinstance(world.hops.hop(OTHER), NextHop)

    in_world(body)


def test_local_addresses_come_and_go_and_are_told(in_world: Callable[[Body], None]) -> None:
    async def body(world: World) -> None:
        told: list[frozenset[Address]] = []
        world.hops.on_change(lambda: told.append(world.hops.local_addresses()))
        assert BOX in world.hops.local_addresses()
        world.add_local(OTHER)
        await until(lambda: any(OTHER in local for local in told))
        world.remove_local(OTHER)
        await until(lambda: OTHER not in told[-1])

    in_world(body)


def test_stop_may_be_called_twice_and_ends_the_callbacks(in_world: Callable[[Body], None]) -> None:
    async def body(world: World) -> None:
        told: list[None] = []
        await world.hops.stop()
        world.hops.on_change(lambda: told.append(None))
        world.host(HOST)
        world.hops.track([HOST])
        world.add_local(OTHER)
        await world.hops.settle([HOST], 0.1)
        await world.hops.stop()
        assert told == []

    in_world(body)
