# SPDX-License-Identifier: Apache-2.0
"""What is shown of a plan in force, together with what changes without one: counters, refusals, health, drains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from lb.core.health_readings import Readings
from lb.core.members import spelled_out
from lb.core.model import BackendState, Config, DrainState, Protocol, RingState
from lb.core.planner import Plan, Timer
from lb.core.slots import UDP_EXTENSION
from lb.daemon.drains import Key
from lb.ports import Counters, DataPlane, FlowTable, FlowTableCount


class LiveStates(Mapping[Key, BackendState]):
    """States of the backends, brought up to date one by one as they are asked for: there may be thousands."""

    def __init__(
        self,
        config: Config,
        planned: Mapping[Key, BackendState],
        health: Readings,
        drains: Mapping[Key, DrainState],
    ) -> None:
        self._config = config
        self._planned = planned
        self._health = health
        self._drains = drains

    def __getitem__(self, key: Key) -> BackendState:
        state = self._planned[key]
        pool = self._config.pools[key[0]]
        health = self._health.health(pool, pool.backends[key[1]])
        return replace(state, reason=spelled_out(state.reason, health), health=health, drain=self._drains.get(key))

    def __iter__(self) -> Iterator[Key]:
        return iter(self._planned)

    def __len__(self) -> int:
        return len(self._planned)


def ring_states(plan: Plan, flows: FlowTable, now: int) -> dict[str, tuple[RingState, ...]]:
    """Slots by state, with what the data plane refused until now; by pool name."""
    states: dict[str, tuple[RingState, ...]] = {}
    for (pool, _), number in plan.allocation.rings.items():
        work = plan.written.rings.get(number)
        if work is None:
            continue
        refused_at = flows.refused_at(number)
        # One that is late, but may end now, was held back by nobody: its limit was longer until just now.
        held_back = any(
            now >= timer.due_at + max(1, timer.limit) and not _is_due(timer, work.state.protocol, refused_at, now)
            for timer in work.timers
        )
        state = replace(work.state, refusals=flows.refusals(number), held_back=held_back)
        states[pool] = (*states.get(pool, ()), state)
    return states


def due_rings(plan: Plan, flows: FlowTable, now: int) -> frozenset[int]:
    """Rings with moves that may end now: old enough, and no flow was refused for as long."""
    return frozenset(
        number
        for number, work in plan.written.rings.items()
        if any(_is_due(timer, work.state.protocol, flows.refused_at(number), now) for timer in work.timers)
    )


def counters(plan: Plan, data_plane: DataPlane, flow_table: FlowTableCount) -> Counters:
    """Everything that was counted, by name."""
    numbers = plan.allocation
    return Counters(
        vips={name: data_plane.vip_count(index) for name, index in numbers.vips.items()},
        backends={(pool, name): data_plane.backend_count(index) for (pool, name, _), index in numbers.backends.items()},
        verdicts=data_plane.verdict_counts(),
        flow_table=flow_table,
    )


def _is_due(timer: Timer, protocol: Protocol, refused_at: int, now: int) -> bool:
    """Whether moves may end: old enough, and no flow was refused lately. UDP's wait for refusals is bounded."""
    if now < timer.due_at:
        return False
    is_overdue = protocol is Protocol.UDP and now >= timer.due_at + (UDP_EXTENSION - 1) * timer.limit
    return is_overdue or now - refused_at >= timer.limit
