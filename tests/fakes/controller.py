# SPDX-License-Identifier: Apache-2.0
"""The daemon as the API sees it, in memory: no data plane, and every next hop is resolved unless told otherwise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address

from fakes.store import MemoryStore
from lb.core.allocation import Allocation
from lb.core.audit import Caller, Record
from lb.core.diff import differences
from lb.core.errors import StaleError
from lb.core.events import ConfigChanged
from lb.core.health import UNCHECKED, Health
from lb.core.impact import Impact, check_move, upheavals
from lb.core.model import (
    RING_SIZE,
    Address,
    AdminState,
    Backend,
    BackendState,
    Config,
    DrainState,
    Hop,
    NextHop,
    Protocol,
    RingState,
    Unresolved,
    View,
)
from lb.core.validate import check_edit
from lb.daemon.events import EventHub
from lb.ports import (
    Applied,
    Change,
    Counters,
    DaemonState,
    Finding,
    InterfaceState,
    Subscription,
    Verification,
    XdpMode,
)

RESOLVED = NextHop(
    "eth0", 2, 1500, bytes.fromhex("020000000001"), bytes.fromhex("020000000002"), IPv4Address("10.0.0.1")
)


class FakeController:
    """Implements ``ports.Controller``; what it answers beside the configuration is in its attributes.

    ``hops``: next hops that differ from ``RESOLVED``. ``healths`` and ``drains``: by names of pool and backend, of
    those that are checked and that drain. ``failing_open``: names of pools. ``rings``: by pool and protocol, those
    whose slots are not all stable. ``failure``: raised by every method while it is set. ``hub``: its events.
    ``problems``: what a read-back finds. ``findings``: of a diagnosis.
    """

    def __init__(self, config: Config | None = None, local_addresses: Iterable[Address] = ()) -> None:
        self.local_addresses = frozenset(local_addresses)
        self.hops: dict[Address, Hop] = {}
        self.healths: dict[tuple[str, str], Health] = {}
        self.drains: dict[tuple[str, str], DrainState] = {}
        self.failing_open: frozenset[str] = frozenset()
        self.rings: dict[tuple[str, Protocol], RingState] = {}
        self.failure: Exception | None = None
        self.reported = Counters(vips={}, backends={}, verdicts={})
        self.daemon = DaemonState(
            ready=True,
            reason="",
            started_at=1_700_000_000.5,
            bpf_dir="/run/lb/bpf",
            interfaces=(InterfaceState("eth0", attached=True, mode=XdpMode.NATIVE, reason=""),),
        )
        self.problems: tuple[str, ...] = ()
        self.findings: tuple[Finding, ...] = ()
        self._revision = 0
        self._config = config or Config()
        self._store = MemoryStore(self._config)
        self._lock = asyncio.Lock()
        self.hub = EventHub(time.time, self.view)

    def view(self) -> View:
        self._fail()
        return self._view(self._config, self._revision)

    async def mutate(self, change: Change, by: Caller, *, validate_only: bool = False) -> View:
        return (await self.apply(change, by, validate_only=validate_only)).view

    async def apply(
        self,
        change: Change,
        by: Caller,
        *,
        base_revision: int = 0,
        max_move_percent: float = 100.0,
        validate_only: bool = False,
        note: str = "",
    ) -> Applied:
        self._fail()
        async with self._lock:
            if base_revision not in (0, self._revision):
                raise StaleError(f"the configuration is at revision {self._revision} by now, not {base_revision}")
            before, after = self._config, change(self._config)
            check_edit(before, after, self.local_addresses)
            found = differences(before, after)
            predicted = tuple(_impacts(before, after))
            check_move(predicted, upheavals(found) if before.vips else (), max_move_percent)
            if not found or validate_only:
                return Applied(self._view(after, self._revision), found, predicted)
            self._config = after
            self._revision = self._store.commit(after, Allocation(), by, note)
            self.hub.emit(ConfigChanged(self._revision, by.who, found))
            return Applied(self._view(after, self._revision), found, predicted, predicted)

    async def history(self, before: int, limit: int) -> Sequence[Record]:
        self._fail()
        return self._store.history(before, limit)

    async def at(self, revision: int) -> Config:
        self._fail()
        return self._store.at(revision)

    async def denied(self, by: Caller, note: str) -> None:
        self._store.deny(by, note)

    def subscribe(self, start_revision: int = 0) -> Subscription:
        self._fail()
        return self.hub.subscribe(start_revision)

    async def verify(self) -> Verification:
        self._fail()
        return Verification(self._revision, 131_074, self.problems)

    async def diagnose(self) -> Sequence[Finding]:
        self._fail()
        return self.findings

    async def counters(self) -> Counters:
        self._fail()
        return self.reported

    async def state(self) -> DaemonState:
        self._fail()
        return self.daemon

    def _fail(self) -> None:
        if self.failure:
            raise self.failure

    def _view(self, config: Config, revision: int) -> View:
        states: dict[tuple[str, str], BackendState] = {}
        for pool in config.pools.values():
            total = sum(member.weight for member in pool.backends.values() if not self._why_not(member))
            for name, member in pool.backends.items():
                reason = self._why_not(member)
                slots = 0 if reason else RING_SIZE * member.weight // total
                key = pool.name, name
                hop = self.hops.get(member.address, RESOLVED)
                states[key] = BackendState(slots, reason, hop, self.healths.get(key, UNCHECKED), self.drains.get(key))
        rings = {pool: self._rings(config, pool) for pool in config.pools}
        return View(revision, config, states, rings, self.failing_open)

    def _rings(self, config: Config, pool: str) -> tuple[RingState, ...]:
        protocols = sorted({vip.protocol for vip in config.vips.values() if vip.pool == pool})
        return tuple(self.rings.get((pool, each), RingState(each, RING_SIZE, 0, 0)) for each in protocols)

    def _why_not(self, backend: Backend) -> str:
        """Why a backend is not in the ring; "" if it is."""
        hop = self.hops.get(backend.address, RESOLVED)
        if backend.admin_state is not AdminState.ENABLED:
            return f"admin state is {backend.admin_state.value}"
        if not backend.weight:
            return "weight is 0"
        return hop.reason if isinstance(hop, Unresolved) else ""


def _impacts(before: Config, after: Config) -> Iterator[Impact]:
    """As if rings were ideal, and a member had slots in proportion to its weight; of rings that stay."""
    for pool, protocol in sorted({(vip.pool, vip.protocol) for vip in after.vips.values()}):
        if pool not in before.pools or before.pools[pool] is after.pools[pool]:
            continue
        old, new = _slots(before, pool), _slots(after, pool)
        if old == new:
            continue
        moved = sum(max(0, slots - new.get(address, 0)) for address, slots in old.items())
        accepting = {
            member.address
            for member in after.pools[pool].backends.values()
            if member.admin_state is not AdminState.DISABLED
        }
        cut = sum(slots for address, slots in old.items() if address not in accepting)
        yield Impact(pool, protocol, moved, cut)


def _slots(config: Config, pool: str) -> dict[Address, int]:
    """Slots of the candidates, by address."""
    weights = {
        member.address: member.weight
        for member in config.pools[pool].backends.values()
        if member.admin_state is AdminState.ENABLED and member.weight
    }
    return {address: RING_SIZE * weight // sum(weights.values()) for address, weight in weights.items()}
