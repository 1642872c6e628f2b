# SPDX-License-Identifier: Apache-2.0
"""``NextHops`` in memory: the test says what the network is like. Passes the contract of the real one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from ipaddress import IPv4Address, IPv6Address

from lb.core.model import Address, Hop, NextHop, Unresolved


def hop_to(address: Address) -> NextHop:
    """An on-link next hop that differs from address to address."""
    source: Address = IPv4Address("192.0.2.254") if address.version == 4 else IPv6Address("2001:db8::fe")
    mac = b"\x02\x00" + address.packed[-4:]
    return NextHop("eth0", 2, 1500, mac=mac, source_mac=b"\x02\x00\x00\x00\x00\xfe", source=source)


class FakeNextHops:
    """``network``: what each address resolves to; one that it lacks has no route."""

    def __init__(self, network: Mapping[Address, Hop] | None = None, local: Collection[Address] = ()) -> None:
        self._network = dict(network or {})
        self._local = frozenset(local)
        self._seen: dict[Address, Hop] = {}
        self._tracked: frozenset[Address] = frozenset()
        self._callbacks: list[Callable[[], None]] = []
        self._change = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def set(self, address: Address, hop: Hop | None) -> None:
        """The network changes: the address resolves to ``hop`` now, None for no route."""
        if hop is None:
            self._network.pop(address, None)
        else:
            self._network[address] = hop
        self._soon(self._look)

    def set_local(self, addresses: Collection[Address]) -> None:
        """The box's own addresses change."""
        if self._local != frozenset(addresses):
            self._local = frozenset(addresses)
            self._soon(self._tell)

    @property
    def tracked(self) -> frozenset[Address]:
        """What ``track`` was called with last."""
        return self._tracked

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._look()

    async def stop(self) -> None:
        self._loop = None

    def track(self, addresses: Collection[Address]) -> None:
        self._tracked = frozenset(addresses)
        self._seen = {address: hop for address, hop in self._seen.items() if address in self._tracked}
        self._soon(self._look)

    def hop(self, address: Address) -> Hop:
        return self._seen.get(address, Unresolved(f"the way to {address} is being looked up"))

    async def settle(self, addresses: Collection[Address], timeout_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while not all(isinstance(self.hop(address), NextHop) for address in addresses):
                    await self._change.wait()

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def local_addresses(self) -> frozenset[Address]:
        return self._local

    def _soon(self, action: Callable[[], None]) -> None:
        if self._loop is not None:
            self._loop.call_soon(action)

    def _look(self) -> None:
        seen = {address: self._resolve(address) for address in self._tracked}
        if seen != self._seen:
            self._seen = seen
            self._tell()

    def _resolve(self, address: Address) -> Hop:
        if address in self._local:
            return Unresolved(f"{address} is an address of this box: give the backend the address of another machine")
        return self._network.get(address, Unresolved(f"no route to {address}: add one with `ip route add`"))

    def _tell(self) -> None:
        if self._loop is None:
            return
        for callback in self._callbacks:
            self._loop.call_soon(callback)
        self._change.set()
        self._change = asyncio.Event()
