# SPDX-License-Identifier: Apache-2.0
"""Progress of drains: what counts, what is waited for, and what an operator is told."""

from __future__ import annotations

from dataclasses import replace

from fakes.world import World, backend, config

from lb.core.events import Body, DrainProgressed
from lb.core.flows import Census
from lb.core.model import AdminState, Config, Pool
from lb.core.planner import Plan
from lb.daemon.drains import Drains

DRAINING, KEY = backend(2, state=AdminState.DRAINING), ("pool", "b2")
INDEX = 2


class Daemon:
    """A world in which b2 of three begins to drain at second 1000; wall clock: a million seconds more."""

    def __init__(self, **settings: object) -> None:
        self.said: list[Body] = []
        self.world = World()
        self.drains = Drains(self.said.append)
        self.packets = 0
        self.settings = settings
        self.plan(config(backend(1), backend(2), backend(3)))
        self.plan(config(backend(1), DRAINING, backend(3)))

    def plan(self, wanted: Config, held: bool = False) -> Plan:
        """Plan, write, tell the drains."""
        pool: Pool = replace(wanted.pools["pool"], **self.settings)  # type: ignore[arg-type]
        wanted = replace(wanted, pools={"pool": pool})
        planned = self.world.plan(wanted, held=frozenset({0} if held else ()))
        self.drains.update(wanted, planned.allocation)
        self.planned = planned
        return planned

    def scan(self, flows: int = 0, closing: int = 0) -> None:
        """A scan that finds so many flows of b2."""
        seen = self.drains.look(self.planned, self.world.data_plane)
        census = Census(open={INDEX: flows, 1: 99}, closing={INDEX: closing})
        now = float(self.world.now)
        self.drains.finish(seen, census, lambda _index: self.packets, (now, now + 1e6))


def test_a_drain_is_over_when_neither_slots_nor_flows_name_the_backend() -> None:
    made = Daemon(drain_idle_seconds=30)
    made.scan(flows=2)
    state = made.drains.states()[KEY]
    assert (state.flows, state.drained, state.untracked_until) == (2, False, 1e6 + 1032)
    assert made.drains.unfinished

    made.world.now += 33
    made.plan(config(backend(1), DRAINING, backend(3)), held=True)
    made.scan(flows=1)
    state = made.drains.states()[KEY]
    assert (state.flows, state.drained, state.untracked_until) == (1, False, 0.0)

    made.scan(closing=1)
    assert not made.drains.states()[KEY].drained, "the server may still be sending"
    made.scan()
    assert made.drains.states()[KEY].drained
    assert not made.drains.unfinished
    assert made.said == [
        DrainProgressed(*KEY, 2),
        DrainProgressed(*KEY, 1),
        DrainProgressed(*KEY, 0),
        DrainProgressed(*KEY, 0, "drained"),
    ]


def test_slots_that_still_move_keep_a_drain_open() -> None:
    """Flows that were silent since the drain began are in no table yet."""
    made = Daemon()
    made.scan()
    assert not made.drains.states()[KEY].drained


def test_packets_per_second_are_those_between_two_scans() -> None:
    made = Daemon()
    made.packets = 100
    made.scan()
    made.packets, made.world.now = 150, made.world.now + 5
    made.scan()
    assert made.drains.states()[KEY].packets_per_second == 10.0


def test_weight_0_drains_as_well() -> None:
    made = Daemon()
    made.plan(config(backend(1, weight=0), DRAINING, backend(3)))
    assert set(made.drains.states()) == {("pool", "b1"), KEY}
    assert set(made.drains.drain_seconds()) == {1, 2}


def test_a_backend_that_is_enabled_again_or_deleted_drains_no_more() -> None:
    made = Daemon()
    made.plan(config(backend(1), backend(2), backend(3)))
    assert not made.drains.states()
    made.plan(config(backend(1), DRAINING, backend(3)))
    made.plan(config(backend(1), backend(3)))
    assert not made.drains.states()
    assert not made.drains.unfinished


def test_a_pool_that_is_deleted_takes_its_drains_along() -> None:
    made = Daemon()
    made.drains.update(Config(), made.planned.allocation)
    assert not made.drains.states()


def test_the_deadline_ends_a_drain_and_says_how_many_flows_it_cut() -> None:
    made = Daemon()
    made.plan(config(backend(1), replace(DRAINING, drain_deadline=5000), backend(3)))
    made.scan(flows=3, closing=1)
    assert made.drains.overdue(4999.9) == ()
    assert made.drains.overdue(5000.0) == (KEY,)
    flows = made.drains.flows(KEY)
    made.plan(config(backend(1), backend(2, state=AdminState.DISABLED), backend(3)))
    assert made.drains.overdue(5000.0) == ()
    made.drains.cut(KEY, flows)
    assert made.said[-1] == DrainProgressed(*KEY, 4, "deadline")
    made.plan(config(backend(1), backend(2, state=AdminState.DISABLED), backend(3, weight=5)))
    state = made.drains.states()[KEY]
    assert (state.cut, state.drained) == (4, True), "known for as long as it stays disabled"
    made.plan(config(backend(1), backend(2), backend(3)))
    assert not made.drains.states()


def test_a_scan_that_began_before_the_drain_says_nothing_of_it() -> None:
    """It ended and began again meanwhile: flows of the time between are not in what the scan has seen."""
    made = Daemon(drain_idle_seconds=30)
    made.world.now += 33
    made.plan(config(backend(1), DRAINING, backend(3)), held=True)
    seen = made.drains.look(made.planned, made.world.data_plane)
    made.plan(config(backend(1), backend(2), backend(3)))
    made.plan(config(backend(1), DRAINING, backend(3)))
    made.drains.finish(seen, Census(), lambda _index: 0, (1.0, 1.0))
    assert not made.drains.states()[KEY].drained


def test_a_drain_by_weight_has_no_deadline() -> None:
    """It would be looked for each second, and never come."""
    made = Daemon()
    made.plan(config(replace(backend(1, weight=0), drain_deadline=5000), DRAINING, backend(3)))
    assert made.drains.overdue(5000.0) == ()


def test_a_scan_that_began_before_the_drain_ended_says_nothing() -> None:
    made = Daemon()
    seen = made.drains.look(made.planned, made.world.data_plane)
    made.plan(config(backend(1), backend(2), backend(3)))
    made.drains.finish(seen, Census(), lambda _index: 0, (1.0, 1.0))
    assert not made.drains.states()
