# SPDX-License-Identifier: Apache-2.0
"""The one loop that writes the BPF maps: configuration and observation in, operations out."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from lb.core.allocation import Allocation
from lb.core.audit import DAEMON, Caller
from lb.core.diff import differences
from lb.core.edit import put_backend
from lb.core.errors import StaleError, UnavailableError
from lb.core.events import Body, ConfigChanged
from lb.core.impact import Impact, check_move, measure, upheavals
from lb.core.model import AdminState, Config, View
from lb.core.moves import Words
from lb.core.planner import Plan
from lb.core.resource_names import backend_name
from lb.core.validate import check_edit
from lb.core.verify import ReadBack, verify
from lb.daemon.addresses import Addresses, changed_addresses
from lb.daemon.drains import Key, is_overdue
from lb.daemon.map_writer import MapWriter, now
from lb.daemon.readings import LiveStates, counters, ring_states
from lb.daemon.upkeep import Upkeep
from lb.ports import (
    Applied,
    Change,
    Counters,
    DataPlane,
    HealthChecks,
    NextHops,
    Store,
    Stored,
    Verification,
)

SETTLE_SECONDS = 1.0
"""How long a change waits for the next hops of the backends that it brings."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Under what conditions a change is made; see ``ports.Controller.apply``."""

    base_revision: int = 0
    max_move_percent: float = 100.0
    validate_only: bool = False
    note: str = ""
    measured: bool = False


DEFAULT_GUARD = Guard()
DRAIN_DEADLINE = replace(DAEMON, method="drain deadline")


class Reconciler:
    """Serialises everything that changes the data plane: edits, next hops, verdicts of checks, timers of slots."""

    def __init__(
        self,
        store: Store,
        data_plane: DataPlane,
        next_hops: NextHops,
        health: HealthChecks,
        emit: Callable[[Body], None],
    ) -> None:
        self._store = store
        self._data_plane = data_plane
        self._next_hops = next_hops
        self._health = health
        self._maps = MapWriter(data_plane, next_hops, health, emit)
        self._upkeep = Upkeep(self._maps, self._disable)
        self._revision = 0
        self._coming: list[Config] = []
        self._takes_changes = False
        self._addresses = Addresses()

    async def start(self, adjust: Change, by: Caller) -> None:
        """Read the store, apply ``adjust`` (the configuration file), bring the maps up to date, attach the program.

        Raises an ``LbError``; a data plane that was there before goes on as it was.
        """
        # Now, so that nothing is missed that changes on the way.
        self._next_hops.on_change(self._upkeep.wake)
        self._health.on_change(self._upkeep.wake)
        stored = await asyncio.to_thread(self._store.load)
        config = adjust(_with_hash_key(stored.config))
        if stored.revision == 0 and not config.vips:
            await asyncio.to_thread(self._refuse_to_forget)
        check_edit(stored.config, config, self._next_hops.local_addresses())
        # Takes seconds, mostly in a process of its own; so does a large plan. It writes nothing.
        loading = asyncio.create_task(asyncio.to_thread(self._data_plane.load, config.settings.hash_key))
        try:
            first = await self._first_plan(config, stored, by)
        finally:
            await loading
        self._maps.hash_key = config.settings.hash_key
        await self._maps.write(config, first, self._revision)
        # The first plan let nobody begin to accept; this one does.
        self._upkeep.forget()
        await self._maps.write(config, await self._maps.replan(config), self._revision)
        # Not before the fence that came with the second plan: see SLOTS.md.
        await asyncio.to_thread(self._maps.hold, frozenset(first.written.rings), False)
        await asyncio.to_thread(self._maps.keeper.begin)
        await asyncio.to_thread(self._data_plane.attach)
        self._upkeep.start()
        self._takes_changes = True

    def _refuse_to_forget(self) -> None:
        """A store that is new, without a single VIP, must not empty a data plane that forwards for some."""
        if any(self._data_plane.vip_table().elements):
            raise UnavailableError(
                "the pinned data plane forwards for VIPs, but the state dir is new and holds none: give lbd the "
                "--state-dir that they are in, or a --config with them; `lbctl detach` gives them up"
            )

    async def _first_plan(self, config: Config, stored: Stored, by: Caller) -> Plan:
        """Plan for what the daemon before left in the maps, and store what is not stored yet."""
        addresses = self._addresses.of([config])
        self._next_hops.track(addresses)
        await self._next_hops.settle(addresses, SETTLE_SECONDS)
        first = await asyncio.to_thread(self._maps.first_plan, config, stored.allocation)
        self._revision = stored.revision
        if config != stored.config or first.allocation != stored.allocation:
            self._revision = await asyncio.to_thread(self._store.commit, config, first.allocation, by)
        return first

    async def crash(self) -> None:
        """Wait until upkeep ends by itself, which is a bug, and raise why. Returns when it was stopped."""
        await self._upkeep.crash()

    async def stop(self) -> None:
        """Stop writing, after the batch under way; the data plane stays as it is.

        A change that waits for next hops is refused: the store and the maps are let go of after this.
        """
        self._takes_changes = False
        await self._upkeep.stop()

    @property
    def failure(self) -> str:
        """Why the maps are not as the configuration says; "" when they are."""
        return self._maps.failure

    @property
    def allocation(self) -> Allocation:
        """The numbers in force."""
        return self._maps.plan.allocation if self._maps.plan is not None else Allocation()

    def view(self) -> View:
        """Latest consistent snapshot."""
        if self._maps.plan is None:
            return View(0, Config(), {})
        return self._view_of(self._maps.config, self._maps.plan)

    def _view_of(self, config: Config, planned: Plan) -> View:
        states = LiveStates(config, planned.backends, self._health.readings(), self._maps.drains.states())
        rings = ring_states(planned, self._data_plane.flows, now())
        return View(self._maps.revision, config, states, rings, planned.failing_open)

    async def apply(self, change: Change, by: Caller, guard: Guard = DEFAULT_GUARD) -> Applied:
        """Make one change; see ``ports.Controller.apply``."""
        # A caller that hangs up must not leave a change half made: it is carried through behind its back.
        return await asyncio.shield(asyncio.ensure_future(self._apply(change, by, guard)))

    async def _apply(self, change: Change, by: Caller, guard: Guard) -> Applied:
        async with self._maps.lock:
            before = self._maps.config
            intended = self._intend(change, guard)
            if intended == before:
                return Applied(self.view(), (), ())
            fresh = changed_addresses(before, intended)
            self._coming.append(intended)
            self._track()
        try:
            # Without the lock: a verdict of the health checks must not wait for somebody's next hop.
            await self._next_hops.settle(fresh, SETTLE_SECONDS)
            async with self._maps.lock:
                return await self._change(change, by, guard)
        finally:
            self._coming.remove(intended)
            self._track()

    def _intend(self, change: Change, guard: Guard) -> Config:
        """What the change makes of the present configuration. Raises an ``LbError`` when it is refused."""
        if not self._takes_changes:
            raise UnavailableError("lbd is starting or stopping, nothing was changed: try again when it is ready")
        if guard.base_revision not in (0, self._revision):
            raise StaleError(
                f"the configuration is at revision {self._revision} by now, not {guard.base_revision}: look at what "
                "changed, then repeat"
            )
        after = change(self._maps.config)
        if after != self._maps.config:
            check_edit(self._maps.config, after, self._next_hops.local_addresses())
        return after

    async def _change(self, change: Change, by: Caller, guard: Guard) -> Applied:
        before, after = self._maps.config, self._intend(change, guard)
        if after == before:
            return Applied(self.view(), (), ())
        await self._maps.mend()
        planned = await self._maps.replan(after)
        changes = differences(before, after)
        # Where there was no VIP there were no flows.
        check_move(planned.impacts, upheavals(changes) if before.vips else (), guard.max_move_percent)
        if guard.validate_only:
            return Applied(self._view_of(after, planned), changes, planned.impacts)
        words = await asyncio.to_thread(self._read_slots, planned) if guard.measured else {}
        self._revision = await asyncio.to_thread(self._store.commit, after, planned.allocation, by, guard.note)
        try:
            await self._maps.write(after, planned, self._revision, ConfigChanged(self._revision, by.who, changes))
        except UnavailableError as error:
            raise UnavailableError(
                f"{error.message}; the change is stored and will be written as soon as it can be"
            ) from error
        measured = await asyncio.to_thread(self._measure, planned, words)
        return Applied(self.view(), changes, planned.impacts, measured)

    def _read_slots(self, planned: Plan) -> dict[int, Words]:
        """Words of the rings that a plan will change."""
        rings = planned.allocation.rings
        numbers = [rings[found.pool, found.protocol] for found in planned.impacts]
        return {number: self._data_plane.slots(number) for number in numbers}

    def _measure(self, planned: Plan, before: dict[int, Words]) -> tuple[Impact, ...]:
        if not before:
            return ()
        self._maps.fence()
        accepting = {index for index, epoch in enumerate(self._data_plane.epochs()) if epoch % 2}
        found = []
        for predicted in planned.impacts:
            number = planned.allocation.rings[predicted.pool, predicted.protocol]
            words = self._data_plane.slots(number)
            protected = planned.written.rings[number].settle_seconds > 0
            found.append(
                measure(predicted.pool, predicted.protocol, before[number], words, accepting, protected=protected)
            )
        return tuple(found)

    async def verify(self) -> Verification:
        """Read all maps back; see ``ports.Controller.verify``."""
        async with self._maps.lock:
            if self._maps.failure or self._maps.plan is None:
                return Verification(self._revision, 0, (self._maps.failure,))
            await asyncio.to_thread(self._maps.fence)
            data_plane = self._data_plane
            read = ReadBack(
                data_plane.vip_table,
                data_plane.backends,
                data_plane.slots,
                data_plane.flows.settle_seconds,
                data_plane.has_ring,
            )
            found = await asyncio.to_thread(verify, self._maps.plan, read)
            return Verification(self._revision, found.compared, found.problems)

    async def _disable(self, keys: Collection[Key], now: float) -> Collection[Key]:
        """End these drains at their deadlines, in one change. Returns those that were to end by ``now``, still."""

        def change(config: Config) -> Config:
            for pool, name in keys:
                found = config.pools[pool].backends.get(name) if pool in config.pools else None
                if found is not None and is_overdue(found, now):
                    ended = replace(found, admin_state=AdminState.DISABLED, drain_deadline=0)
                    config = put_backend(config, pool, ended)
            return config

        names = ", ".join(map("/".join, keys))
        done = await self.apply(change, DRAIN_DEADLINE, Guard(note=f"drain deadline of {names}"))
        changed = {found.name for found in done.differences}
        return [(pool, name) for pool, name in keys if backend_name(pool, name) in changed]

    def _track(self) -> None:
        self._next_hops.track(self._addresses.of([self._maps.config, *self._coming]))

    async def counters(self) -> Counters:
        """Read the data plane's counters."""
        assert self._maps.plan is not None
        return await asyncio.to_thread(counters, self._maps.plan, self._data_plane, self._maps.keeper.count())


def _with_hash_key(config: Config) -> Config:
    if any(config.settings.hash_key):
        return config
    return replace(config, settings=replace(config.settings, hash_key=secrets.token_bytes(16)))
