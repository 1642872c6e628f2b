# SPDX-License-Identifier: Apache-2.0
"""Progress of backends that take no new flows: who still names them, how many flows they have, when time is up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from lb.core.allocation import Allocation
from lb.core.events import Body, DrainProgressed
from lb.core.flows import Census
from lb.core.model import AdminState, Backend, Config, DrainState, Pool
from lb.core.moves import Words, named
from lb.core.planner import Plan, RingWork
from lb.core.slots import SLACK_SECONDS, base
from lb.ports import DataPlane

Key = tuple[str, str]
"""Names of pool and backend."""


@dataclass(frozen=True, slots=True)
class Draining:
    """One backend that drains. ``drain``: its number."""

    pool: Pool
    index: int
    drain: int


@dataclass(frozen=True, slots=True)
class Glance:
    """What the slots said of a backend when a scan began: whether any names it, and until when it may have flows that
    are in no table (CLOCK_MONOTONIC seconds, 0 = it has none). ``drain``: that it was about."""

    named: bool
    untracked_until: int
    drain: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of a ring whose slots are not all STABLE: the backends that these name, when the last move away from each of them
    began, and when a flow was refused last; CLOCK_MONOTONIC seconds."""

    named: AbstractSet[int]
    latest: Mapping[int, int]
    refused_at: int


class Drains:
    """Knows every backend that drains. Called inside the reconciler's lock."""

    def __init__(self, emit: Callable[[Body], None]) -> None:
        self._emit = emit
        self._config = Config()
        self._draining: dict[Key, Draining] = {}
        self._states: dict[Key, DrainState] = {}
        self._counted: dict[Key, tuple[float, int]] = {}
        self._begun = 0

    def update(self, config: Config, allocation: Allocation) -> None:
        """Take a new configuration to heart; looks at the pools that changed."""
        before, self._config = self._config.pools, config
        for name in before.keys() - config.pools.keys():
            self._forget(before[name], keep=())
        for pool in config.pools.values():
            known = before.get(pool.name)
            if known is not pool:
                if known is not None:
                    self._forget(known, keep=pool.backends)
                for backend in pool.backends.values():
                    self._update(pool, backend, allocation)

    def _update(self, pool: Pool, backend: Backend, allocation: Allocation) -> None:
        key = pool.name, backend.name
        if backend.admin_state is AdminState.DISABLED:
            self._draining.pop(key, None)
            state = self._states.get(key)
            # How many flows the deadline cut is of interest for as long as the backend stays so.
            if state is not None and not state.cut:
                del self._states[key]
            return
        if backend.admin_state is AdminState.ENABLED and backend.weight > 0:
            self._drop(key)
            return
        index = allocation.backends[pool.name, backend.name, str(backend.address)]
        known = self._draining.get(key)
        if known is not None and known.index == index:
            drain = known.drain
        else:
            self._drop(key)
            self._states[key] = DrainState(0, 0.0, 0.0, drained=False)
            drain = self._begun = self._begun + 1
        self._draining[key] = Draining(pool, index, drain)

    def _forget(self, pool: Pool, keep: Mapping[str, Backend] | tuple[()]) -> None:
        for name in pool.backends:
            if name not in keep:
                self._drop((pool.name, name))

    def _drop(self, key: Key) -> None:
        self._draining.pop(key, None)
        self._states.pop(key, None)
        self._counted.pop(key, None)

    @property
    def unfinished(self) -> bool:
        """Whether a scan may tell anything new."""
        return any(not self._states[key].drained for key in self._draining)

    def drain_seconds(self) -> Mapping[int, int]:
        """By backend index: clients that are silent for longer are not waited for."""
        return {draining.index: draining.pool.drain_idle_seconds for draining in self._draining.values()}

    def states(self) -> Mapping[Key, DrainState]:
        """Of all backends that drain, or were cut at their deadline."""
        return self._states

    def overdue(self, now: float) -> tuple[Key, ...]:
        """Backends whose deadline has passed; ``now``: seconds since the epoch (UTC)."""
        return tuple(key for key, found in self._draining.items() if is_overdue(found.pool.backends[key[1]], now))

    def look(self, plan: Plan, data_plane: DataPlane) -> dict[Key, Glance]:
        """What the slots say; right after a fence, before a scan begins."""
        pools: dict[str, list[_Seen]] = {pool: [] for pool, _ in self._draining}
        for (pool, _), number in plan.allocation.rings.items():
            work = plan.written.rings[number]
            # The others name candidates alone.
            if work.moves and pool in pools:
                pools[pool].append(_see(work, data_plane.slots(number), data_plane.flows.refused_at(number)))
        return {key: _glance(found, pools[key[0]]) for key, found in self._draining.items()}

    def finish(
        self, seen: Mapping[Key, Glance], census: Census, packets: Callable[[int], int], clocks: tuple[float, float]
    ) -> None:
        """Take a finished scan to heart.

        Args:
            seen: From ``look``, before the scan began.
            census: What it found.
            packets: Sent to a backend index so far.
            clocks: CLOCK_MONOTONIC seconds, and seconds since the epoch (UTC).
        """
        monotonic, wall = clocks
        for key, glance in seen.items():
            found = self._draining.get(key)
            if found is None or found.drain != glance.drain:
                continue
            flows, closing = census.open.get(found.index, 0), census.closing.get(found.index, 0)
            count = packets(found.index)
            then, before = self._counted.get(key, (monotonic, count))
            self._counted[key] = monotonic, count
            rate = (count - before) / (monotonic - then) if monotonic > then else 0.0
            until = wall + glance.untracked_until - monotonic if glance.untracked_until else 0.0
            drained = not glance.named and not flows and not closing
            self._report(key, DrainState(flows, max(0.0, rate), until, drained, closing=closing))

    def flows(self, key: Key) -> int:
        """Flows that a backend has, as of the last scan."""
        state = self._states.get(key)
        return state.flows + state.closing if state else 0

    def cut(self, key: Key, flows: int) -> None:
        """The deadline has come, and the backend was disabled while it had ``flows``."""
        self._states[key] = DrainState(0, 0.0, 0.0, drained=True, cut=flows)
        self._emit(DrainProgressed(*key, flows, "deadline"))

    def _report(self, key: Key, state: DrainState) -> None:
        before = self._states[key]
        self._states[key] = state
        if (before.flows, before.drained) != (state.flows, state.drained):
            self._emit(DrainProgressed(*key, state.flows, "drained" if state.drained else ""))


def is_overdue(backend: Backend, now: float) -> bool:
    """Whether a backend still drains though its deadline has passed; ``now``: seconds since the epoch (UTC).

    One that drains by its weight has no deadline.
    """
    return backend.admin_state is AdminState.DRAINING and 0 < backend.drain_deadline <= now


def _see(work: RingWork, words: Words, refused_at: int) -> _Seen:
    latest: dict[int, int] = {}
    for slot, moved in work.moves.items():
        if moved is not None:
            old = base(words[slot])
            latest[old] = max(latest.get(old, moved), moved)
    return _Seen(named(words), latest, refused_at)


def _glance(found: Draining, rings: Sequence[_Seen]) -> Glance:
    limit = found.pool.drain_idle_seconds + SLACK_SECONDS
    until = [max(ring.latest[found.index], ring.refused_at) + limit for ring in rings if found.index in ring.latest]
    return Glance(any(found.index in ring.named for ring in rings), max(until, default=0), found.drain)
