# SPDX-License-Identifier: Apache-2.0
"""The one loop that writes the BPF maps: configuration and observation in, operations out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from dataclasses import replace

from lb.core.allocation import Allocation
from lb.core.audit import DAEMON, Caller
from lb.core.errors import UnavailableError
from lb.core.model import Address, BackendState, Config, NextHop, Protocol, RingState, Unresolved, View
from lb.core.planner import Observed, Plan, RingWork, Written, plan
from lb.core.slots import UDP_EXTENSION
from lb.core.validate import check_edit
from lb.daemon.flow_keeper import Findings, FlowKeeper
from lb.ports import Change, Counters, DaemonState, DataPlane, NextHops, Store

log = logging.getLogger("lb.reconciler")

SETTLE_SECONDS = 1.0
"""How long a change waits for the next hops of the backends that it brings."""

TICK_SECONDS = 1.0
"""Between two rounds of timers, budgets and scans; also when the kernel refused an operation."""


class Reconciler:
    """Serialises everything that changes the data plane: edits, next hops that come and go, timers of moving slots."""

    def __init__(self, store: Store, data_plane: DataPlane, next_hops: NextHops, bpf_dir: str) -> None:
        self._store = store
        self._data_plane = data_plane
        self._next_hops = next_hops
        self._bpf_dir = bpf_dir
        self._started_at = time.time()
        self._lock = asyncio.Lock()
        self._moved = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._keeper = FlowKeeper(data_plane)
        self._findings = Findings()
        self._warned: set[tuple[str, Protocol]] = set()
        self._failure = "starting"
        self._dirty = True
        self._revision = 0
        self._config = Config()
        self._plan: Plan | None = None
        self._view = View(0, self._config, {})

    async def start(self, adjust: Change) -> None:
        """Read the store, apply ``adjust`` (the configuration file), bring the maps up to date, attach the program.

        Raises an ``LbError``; a data plane that was there before goes on as it was.
        """
        stored = await asyncio.to_thread(self._store.load)
        config = adjust(_with_hash_key(stored.config))
        check_edit(stored.config, config, self._next_hops.local_addresses())
        self._track(config)
        await self._next_hops.settle(_addresses(config), SETTLE_SECONDS)

        first = await asyncio.to_thread(self._first_plan, config, stored.allocation)
        self._revision = stored.revision
        if config != stored.config or first.allocation != stored.allocation:
            self._revision = await asyncio.to_thread(self._store.commit, config, first.allocation, DAEMON)
        await asyncio.to_thread(self._data_plane.load, config.settings.hash_key)
        await self._write(config, first)
        # The first plan let nobody begin to accept; this one does.
        await self._write(config, await self._replan(config))
        # Not before the fence that came with the second plan: see SLOTS.md.
        await asyncio.to_thread(self._hold, frozenset(first.written.rings), False)
        await asyncio.to_thread(self._keeper.begin)
        await asyncio.to_thread(self._data_plane.attach)
        self._next_hops.on_change(self._moved.set)
        self._tasks = [
            asyncio.create_task(self._follow(), name="follow"),
            asyncio.create_task(self._scan(), name="scan flows"),
        ]

    async def stop(self) -> None:
        """Stop writing, after the batch under way; the data plane stays as it is."""
        async with self._lock:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def view(self) -> View:
        """Latest consistent snapshot."""
        if self._plan is None:
            return self._view
        return replace(self._view, rings=self._ring_states(self._plan))

    def _ring_states(self, planned: Plan) -> dict[str, tuple[RingState, ...]]:
        """Slots by state, with what the data plane refused until now."""
        now = _now()
        states: dict[str, tuple[RingState, ...]] = {}
        for (pool, _), number in planned.allocation.rings.items():
            work = planned.written.rings.get(number)
            if work is None:
                continue
            late = work.due_at is not None and now >= work.due_at + max(1, work.limit)
            state = replace(work.state, refusals=self._data_plane.flows.refusals(number), held_back=late)
            states[pool] = (*states.get(pool, ()), state)
        return states

    async def mutate(self, change: Change, by: Caller, *, validate_only: bool = False) -> View:
        """Apply one edit; see ``ports.Controller``."""
        # A caller that hangs up must not leave an edit half applied: it is carried through behind its back.
        return await asyncio.shield(asyncio.ensure_future(self._mutate(change, by, validate_only)))

    async def _mutate(self, change: Change, by: Caller, validate_only: bool) -> View:
        async with self._lock:
            before = self._config
            after = change(before)
            if after == before:
                return self.view()
            check_edit(before, after, self._next_hops.local_addresses())
            await self._mend()
            fresh = _addresses(after) - _addresses(before) | _changed(before, after)
            self._track(before, after)
            try:
                await self._next_hops.settle(fresh, SETTLE_SECONDS)
                planned = await self._replan(after)
                if validate_only:
                    return View(self._revision, after, planned.backends, self._ring_states(planned))
                self._revision = await asyncio.to_thread(self._store.commit, after, planned.allocation, by)
                self._config = after
            finally:
                self._track(self._config)
            try:
                await self._write(after, planned)
            except UnavailableError as error:
                raise UnavailableError(
                    f"{error.message}; the change is stored and will be written as soon as it can be"
                ) from error
            return self.view()

    def _first_plan(self, config: Config, allocation: Allocation) -> Plan:
        now = _now()
        for ring in allocation.rings.values():
            # What was refused while nobody looked is not known: moves wait their full time.
            self._data_plane.flows.mark_refused(ring, now)
        written = Written(self._data_plane.epochs())
        return plan(config, allocation, written, self._observed(first=True))

    async def _replan(self, config: Config, held: frozenset[int] = frozenset(), *, first: bool = False) -> Plan:
        assert self._plan is not None
        await asyncio.to_thread(self._fence)
        observed = self._observed(held, first=first)
        return await asyncio.to_thread(plan, config, self._plan.allocation, self._plan.written, observed)

    def _observed(self, held: frozenset[int] = frozenset(), *, first: bool = False) -> Observed:
        flows, found = self._data_plane.flows, self._findings
        return Observed(
            now=_now(),
            hop=self._next_hops.hop,
            slots=self._data_plane.slots,
            refused_at=flows.refused_at,
            settle_seconds=flows.settle_seconds,
            clear=found.clear,
            held=held,
            collected=found.collected,
            first=first,
        )

    def _fence(self) -> None:
        """Before a batch, if anything was written since the last fence: packets that saw older words have left."""
        if self._dirty:
            self._data_plane.fence()
            self._dirty = False

    async def _write(self, config: Config, planned: Plan) -> None:
        try:
            await asyncio.to_thread(self._carry_out, planned)
        except OSError as error:
            # Stored but not (wholly) in the maps: forget what was written, so that the next round writes it all.
            log.error("the kernel refused a change of the maps: %s; trying again", error)
            self._failure = f"the maps are behind the configuration: {error}"
            unknown = Written(await asyncio.to_thread(self._data_plane.epochs))
            planned = replace(planned, written=unknown)
        else:
            self._failure = ""
        self._config, self._plan = config, planned
        self._view = View(self._revision, config, planned.backends)
        if self._failure:
            raise UnavailableError(self._failure)

    async def _mend(self) -> None:
        """Clear away the remains of a batch that the kernel cut short, before any backend may begin to accept.

        A slot may still name an old backend whose flows have gone on to the new one: see ``Observed.first``. Raises
        ``UnavailableError`` while the kernel goes on refusing.
        """
        if self._failure:
            await self._write(self._config, await self._replan(self._config, first=True))

    def _carry_out(self, planned: Plan) -> None:
        # Also when the kernel refuses: what a scan said of words holds for those words only.
        self._findings = Findings()
        if planned.operations:
            self._dirty = True
            self._keeper.wrote(planned.operations)
            self._data_plane.apply(planned.operations)

    async def _follow(self) -> None:
        """Rewrite what depends on next hops when they change, and what depends on time each second."""
        while True:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._moved.wait()
            moved = self._moved.is_set()
            self._moved.clear()
            try:
                await self._tick(moved)
            except OSError as error:
                self._report(error)

    async def _tick(self, moved: bool) -> None:
        async with self._lock:
            await asyncio.to_thread(self._keeper.refill)
            due = self._due()
            if moved or self._failure or due:
                await self._round(due)
            self._warn_of_held_back()

    def _report(self, error: OSError) -> None:
        """The kernel refused upkeep: say so, stop being ready, and have the next tick write everything anew."""
        log.error("the kernel refused upkeep of the maps: %s; trying again", error)
        self._failure = f"the maps are not kept up: {error}"

    def _due(self) -> frozenset[int]:
        """Rings with moves that may end now: old enough, and no flow was refused for as long."""
        assert self._plan is not None
        now, flows = _now(), self._data_plane.flows
        return frozenset(
            number
            for number, work in self._plan.written.rings.items()
            if work.due_at is not None
            and now >= work.due_at
            and (now - flows.refused_at(number) >= work.limit or _is_overdue(work, now))
        )

    async def _round(self, due: frozenset[int] = frozenset()) -> None:
        """Plan and write anew. Moves of the rings in ``due`` may end.

        A flow that is refused after we looked, and before its slot's new word is seen, would be on the old backend with
        no entry that says so. So new flows that are refused are dropped from a fence before to a fence after.
        """
        await asyncio.to_thread(self._hold, due, True)
        try:
            await self._mend()
            planned = await self._replan(self._config, due)
            _log_hops(self._view, planned)
            await self._write(self._config, planned)
        except UnavailableError as error:
            log.error("%s", error)
        finally:
            await asyncio.to_thread(self._hold, due, False)

    def _hold(self, rings: frozenset[int], on: bool) -> None:
        if rings and not on:
            self._fence()
        for ring in rings:
            self._data_plane.flows.hold(ring, on)
            self._dirty = True

    def _warn_of_held_back(self) -> None:
        rings = self.view().rings
        for name, states in rings.items():
            for state in states:
                key = name, state.protocol
                if state.held_back and key not in self._warned:
                    log.warning(
                        "pool %s, %s: slots have been moving for more than twice their time, because flows cannot be "
                        "tracked: the flow table is too full",
                        name,
                        state.protocol.name,
                    )
        self._warned = {(name, state.protocol) for name, states in rings.items() for state in states if state.held_back}

    async def _scan(self) -> None:
        """Scan the flow table for as long as there is anything in it, or a slot that waits for a scan."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self._scan_once()
            except OSError as error:
                self._report(error)

    async def _scan_once(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._lock:
            assert self._plan is not None
            if not await asyncio.to_thread(self._keeper.due, self._plan, loop.time()):
                return
            await asyncio.to_thread(self._fence)
            scan = await asyncio.to_thread(self._keeper.observe, self._plan, _now())
        cost = await asyncio.to_thread(self._keeper.scan, scan)
        async with self._lock:
            vips = frozenset(self._plan.allocation.vips.values())
            self._findings = await asyncio.to_thread(self._keeper.finish, scan, vips, cost, loop.time())
            waits = {number for number, work in self._plan.written.rings.items() if work.waits}
            if self._findings.clear or waits & self._findings.collected:
                await self._round()

    def _track(self, *configs: Config) -> None:
        self._next_hops.track(frozenset().union(*map(_addresses, configs)))

    async def counters(self) -> Counters:
        """Read the data plane's counters."""
        return await asyncio.to_thread(self._read_counters)

    def _read_counters(self) -> Counters:
        assert self._plan is not None
        numbers = self._plan.allocation
        return Counters(
            vips={name: self._data_plane.vip_count(index) for name, index in numbers.vips.items()},
            backends={
                (pool, name): self._data_plane.backend_count(index)
                for (pool, name, _), index in numbers.backends.items()
            },
            verdicts=self._data_plane.verdict_counts(),
            flow_table=self._keeper.count(),
        )

    async def state(self) -> DaemonState:
        """Look at the data plane now."""
        interfaces = await asyncio.to_thread(self._data_plane.interfaces)
        reasons = [f"{found.interface}: {found.reason}" for found in interfaces if not found.attached]
        if self._failure:
            reasons.insert(0, self._failure)
        return DaemonState(not reasons, "; ".join(reasons), self._started_at, self._bpf_dir, interfaces)


def _is_overdue(work: RingWork, now: int) -> bool:
    """Whether refusals have held a move of a UDP ring back for as long as they may."""
    assert work.due_at is not None
    return work.state.protocol is Protocol.UDP and now >= work.due_at + (UDP_EXTENSION - 1) * work.limit


def _now() -> int:
    """Seconds of the clock that the data plane stamps with."""
    return int(time.monotonic())


def _with_hash_key(config: Config) -> Config:
    if any(config.settings.hash_key):
        return config
    return replace(config, settings=replace(config.settings, hash_key=secrets.token_bytes(16)))


def _addresses(config: Config) -> frozenset[Address]:
    return frozenset(backend.address for pool in config.pools.values() for backend in pool.backends.values())


def _changed(before: Config, after: Config) -> frozenset[Address]:
    """Addresses of the backends that an edit added or changed."""
    return frozenset(
        backend.address
        for pool in after.pools.values()
        if before.pools.get(pool.name) is not pool
        for backend in pool.backends.values()
        if pool.name not in before.pools or before.pools[pool.name].backends.get(backend.name) != backend
    )


def _log_hops(before: View, planned: Plan) -> None:
    unknown = BackendState(0, "", Unresolved(""))
    for key, state in planned.backends.items():
        if before.backends.get(key, unknown).hop == state.hop:
            continue
        match state.hop:
            case NextHop(interface=interface, mac=mac):
                log.info("backend %s/%s: next hop %s via %s", *key, mac.hex(":"), interface)
            case Unresolved(reason):
                log.warning("backend %s/%s: no next hop: %s", *key, reason)
