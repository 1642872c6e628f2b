# SPDX-License-Identifier: Apache-2.0
"""The daemon's inside among fakes: one VIP, one pool, backends b1, b2, ..."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

from fakes.data_plane import FakeDataPlane
from fakes.health import FakeHealthChecks
from fakes.next_hops import FakeNextHops, hop_to
from fakes.store import MemoryStore
from lb.core import edit
from lb.core.allocation import Allocation
from lb.core.audit import DAEMON, Caller
from lb.core.events import Body
from lb.core.model import Backend, Config, Pool, Protocol, Settings, View, Vip
from lb.core.slots import Kind, kind
from lb.daemon.controller import LocalController
from lb.daemon.events import EventHub
from lb.daemon.reconciler import Reconciler
from lb.ports import Change, Finding

NUMBERS = range(1, 10)
VIP = Vip("web", ip_address("192.0.2.1"), 80, Protocol.TCP, "web")


def backend(number: int) -> Backend:
    """b{number} at 10.0.0.{number}."""
    return Backend(f"b{number}", ip_address(f"10.0.0.{number}"))


def add(number: int) -> Change:
    """An edit that adds a backend."""
    return lambda config: edit.create_backend(config, "web", backend(number))


def config(*numbers: int, settle_seconds: int = 7500) -> Config:
    """One VIP, one pool."""
    pool = Pool("web", backends={f"b{i}": backend(i) for i in numbers}, settle_seconds=settle_seconds)
    return Config(Settings(bytes(range(16))), {"web": pool}, {"web": VIP})


class Recorder(FakeDataPlane):
    """Knows that the planner may not look at slots that were written since the last fence (I6)."""

    def slots(self, ring: int) -> array[int]:
        assert not self.unfenced, "slots were read before the fence that follows their last write"
        return super().slots(ring)


class RecordingStore(MemoryStore):
    """Writes into the data plane's calls when it commits."""

    def __init__(self, data_plane: FakeDataPlane, stored: Config) -> None:
        super().__init__(stored)
        self._data_plane = data_plane

    def commit(self, config: Config, allocation: Allocation, caller: Caller, note: str = "") -> int:
        revision = super().commit(config, allocation, caller, note)
        self._data_plane.calls.append("commit")
        return revision


async def no_findings(_view: View) -> Sequence[Finding]:
    """Nothing is diagnosed here."""
    return ()


class Daemon:
    """A reconciler among fakes."""

    def __init__(self, stored: Config) -> None:
        self.data_plane = Recorder()
        self.store = RecordingStore(self.data_plane, stored)
        self.next_hops = FakeNextHops({backend(i).address: hop_to(backend(i).address) for i in NUMBERS})
        self.health = FakeHealthChecks()
        self.said: list[Body] = []
        self.connect()

    def connect(self) -> None:
        """A new reconciler for what is there."""
        self.reconciler = Reconciler(self.store, self.data_plane, self.next_hops, self.health, self.said.append)
        self.controller = LocalController(
            self.reconciler, self.store, self.data_plane, EventHub(time.time, self.reconciler.view), no_findings, "/bpf"
        )

    def kinds(self, ring: int = 0) -> set[Kind]:
        """States of a ring's slots, also of those just written."""
        return {kind(word) for word in FakeDataPlane.slots(self.data_plane, ring)}


@asynccontextmanager
async def daemon(stored: Config, adjust: Change = lambda stored: stored) -> AsyncIterator[Daemon]:
    """Started, and stopped afterwards."""
    made = Daemon(stored)
    await made.next_hops.start()
    await made.reconciler.start(adjust, DAEMON)
    try:
        yield made
    finally:
        made.data_plane.may_apply.set()
        made.data_plane.flows.may_read.set()
        await made.reconciler.stop()
        await made.next_hops.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until it holds; fails after five seconds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - fakes have no events, and there is a deadline
            await asyncio.sleep(0.001)
