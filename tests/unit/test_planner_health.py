# SPDX-License-Identifier: Apache-2.0
"""What the checks say, and what the ring makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.world import World, backend, config, only

from lb.core.checks import CheckKind, HealthCheck
from lb.core.health import Health, Status
from lb.core.model import RING_SIZE, AdminState, Backend, Config, OnDown, Pool, Unresolved
from lb.core.operations import SetEpoch, WriteSlots
from lb.core.slots import Kind, stable

UP, DOWN, UNKNOWN = Health(Status.UP), Health(Status.DOWN, reason="connection refused"), Health(Status.UNKNOWN)


def checked(*members: Backend, **settings: object) -> Config:
    """A pool with a health check and these further settings."""
    made = config(*members)
    pool: Pool = replace(made.pools["pool"], health_check=HealthCheck(CheckKind.TCP), **settings)  # type: ignore[arg-type]
    return replace(made, pools={"pool": pool})


def three(**settings: object) -> Config:
    """Backends 1 to 3."""
    return checked(backend(1), backend(2), backend(3), **settings)


def world(**health: Health) -> World:
    """Backends 1 to 3 are UP, unless said otherwise."""
    made = World()
    made.health = {"b1": UP, "b2": UP, "b3": UP, **health}
    return made


def inside(made: World, wanted: Config) -> set[str]:
    """Names of the backends that have slots."""
    states = made.plan(wanted).backends
    return {name for (_, name), state in states.items() if state.slots}


def accepting(made: World) -> set[int]:
    """Backend indices with an odd epoch."""
    return {index for index, epoch in enumerate(made.data_plane.epochs()) if epoch % 2}


def test_a_backend_that_goes_down_leaves_the_ring_and_its_flows_go_elsewhere() -> None:
    made, wanted = world(), three()
    assert inside(made, wanted) == {"b1", "b2", "b3"}
    made.health["b2"] = DOWN
    planned = made.plan(wanted)
    assert planned.backends["pool", "b2"].reason == "its checks fail"
    assert planned.backends["pool", "b2"].slots == 0
    assert accepting(made) == {1, 3}
    (impact,) = planned.impacts
    assert impact.cut / RING_SIZE == pytest.approx(1 / 3, rel=0.05)
    assert 0 <= impact.moved - impact.cut < RING_SIZE / 100, "its slots, and hardly any others"


def test_a_backend_that_comes_back_gets_its_slots_back() -> None:
    made, wanted = world(), three()
    before = made.data_plane.slots(0) if made.plan(wanted) else None
    made.health["b2"] = DOWN
    made.plan(wanted)
    made.health["b2"] = UP
    made.plan(wanted)
    assert before is not None
    assert [word & 0xFFFF for word in made.data_plane.slots(0)] == [word & 0xFFFF for word in before]
    assert Kind.MOVING in made.kinds(), "flows that went elsewhere meanwhile stay there"


def test_flows_stay_on_a_backend_that_is_down_where_the_operator_wants_that() -> None:
    """For checks that fail while the backend still serves."""
    made, wanted = world(), three(on_down=OnDown.KEEP)
    made.plan(wanted)
    made.health["b2"] = DOWN
    planned = made.plan(wanted)
    assert planned.backends["pool", "b2"].slots == 0
    assert accepting(made) == {1, 2, 3}
    assert planned.impacts[0].cut == 0


def test_a_member_that_is_new_waits_for_its_first_verdict() -> None:
    made = world(b3=UNKNOWN)
    assert inside(made, three()) == {"b1", "b2"}
    assert made.plan(three()).backends["pool", "b3"].reason == "its health check has no verdict yet"
    made.health["b3"] = UP
    assert inside(made, three()) == {"b1", "b2", "b3"}


@pytest.mark.parametrize("on_down", OnDown)
def test_without_verdicts_a_restart_changes_nothing(on_down: OnDown) -> None:
    """Verdicts are not stored: until there are new ones, epochs and slots say what the old ones were."""
    made, wanted = world(), three(on_down=on_down)
    made.plan(wanted)
    made.health["b2"] = DOWN
    made.plan(wanted)
    words, epochs = made.data_plane.slots(0), made.data_plane.epochs()

    made.forget()
    made.health = dict.fromkeys(made.health, UNKNOWN)
    made.plan(wanted, first=True)
    made.plan(wanted)
    made.plan(wanted)
    assert made.data_plane.slots(0) == words
    assert made.data_plane.epochs() == epochs

    made.health = {"b1": UP, "b2": DOWN, "b3": UP}
    planned = made.plan(wanted)
    assert not only(planned, SetEpoch)
    assert not only(planned, WriteSlots)


def test_a_backend_that_was_down_stays_outside_when_it_can_no_longer_be_probed() -> None:
    """The pool lost the VIP that had the port. Nothing has spoken for the backend since."""
    made, wanted = world(), three(on_down=OnDown.KEEP)
    made.plan(wanted)
    made.health["b2"] = DOWN
    made.plan(wanted)
    made.health = dict.fromkeys(made.health, UNKNOWN)
    assert inside(made, wanted) == {"b1", "b3"}
    assert inside(made, wanted) == {"b1", "b3"}
    assert accepting(made) == {1, 2, 3}
    made.health["b2"] = UP
    assert inside(made, wanted) == {"b1", "b2", "b3"}


def test_when_all_are_down_all_are_used() -> None:
    """A check that is wrong must not take a service down; DISABLED, DRAINING and weight 0 are the operator's word."""
    members = [backend(1), backend(2), backend(3, state=AdminState.DISABLED), backend(4, weight=0)]
    made = world(b1=DOWN, b2=DOWN, b4=DOWN)
    planned = made.plan(checked(*members))
    assert planned.failing_open == {"pool"}
    assert {name for (_, name), state in planned.backends.items() if state.slots} == {"b1", "b2"}
    assert accepting(made) == {1, 2}
    assert planned.backends["pool", "b1"].health == DOWN


def test_a_pool_that_may_not_fail_open_drops_packets_when_all_are_down() -> None:
    made = world(b1=DOWN, b2=DOWN, b3=DOWN)
    planned = made.plan(three(fail_open=False))
    assert not planned.failing_open
    assert set(made.data_plane.slots(0)) == {stable(0)}


def test_failing_open_cuts_no_flow_of_a_backend_that_served_on() -> None:
    made, wanted = world(b2=DOWN, b3=DOWN), three()
    made.plan(wanted)
    made.health["b1"] = DOWN
    assert made.plan(wanted).impacts[0].cut == 0
    made.health["b1"] = UP
    planned = made.plan(wanted)
    assert not planned.failing_open
    assert inside(made, wanted) == {"b1"}


def test_below_the_panic_threshold_all_are_used() -> None:
    """One of three is left: rather than crush it, spread over all."""
    made, wanted = world(b1=DOWN, b2=DOWN), three(min_healthy_percent=34)
    planned = made.plan(wanted)
    assert planned.failing_open == {"pool"}
    assert inside(made, wanted) == {"b1", "b2", "b3"}
    assert inside(made, three(min_healthy_percent=33)) == {"b3"}


def test_members_that_are_new_do_not_take_a_pool_below_its_panic_threshold() -> None:
    """To add three to two that are UP would put unchecked ones to use, which may not even be there yet."""
    new = [backend(i) for i in (3, 4, 5)]
    made = world(b3=UNKNOWN, b4=UNKNOWN, b5=UNKNOWN)
    made.plan(checked(backend(1), backend(2), min_healthy_percent=60))
    planned = made.plan(checked(backend(1), backend(2), *new, min_healthy_percent=60))
    assert not planned.failing_open
    assert accepting(made) == {1, 2}
    made.health |= {"b3": DOWN, "b4": DOWN}
    assert made.plan(checked(backend(1), backend(2), *new, min_healthy_percent=60)).failing_open == {"pool"}


def test_a_new_pool_serves_before_its_first_verdicts() -> None:
    made = world(b1=UNKNOWN, b2=UNKNOWN, b3=UNKNOWN)
    assert inside(made, three()) == {"b1", "b2", "b3"}
    made.health["b1"] = DOWN
    assert inside(made, three()) == {"b2", "b3"}


def test_a_down_backend_that_drains_lets_its_flows_go() -> None:
    made = world()
    made.plan(three())
    draining = checked(backend(1), backend(2, state=AdminState.DRAINING), backend(3))
    made.plan(draining)
    assert accepting(made) == {1, 2, 3}
    made.health["b2"] = DOWN
    made.plan(draining)
    assert accepting(made) == {1, 3}


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3), (100, 100, 100)])
def test_slow_start_gives_a_part_of_the_share(weights: tuple[int, int, int]) -> None:
    members = [backend(i, weight) for i, weight in enumerate(weights, 1)]
    made, wanted = world(b2=Health(Status.UP, ramp=10)), checked(*members)
    slots = {name: state.slots for (_, name), state in made.plan(wanted).backends.items()}
    share = 0.1 * weights[1] / (weights[0] + 0.1 * weights[1] + weights[2])
    assert slots["b2"] / RING_SIZE == pytest.approx(share, rel=0.05)
    made.health["b2"] = UP
    full = {name: state.slots for (_, name), state in made.plan(wanted).backends.items()}
    assert full["b2"] / RING_SIZE == pytest.approx(weights[1] / sum(weights), rel=0.05)


def test_a_lost_next_hop_says_more_than_a_failed_check() -> None:
    made = world(b2=DOWN)
    made.hops[backend(2).address] = Unresolved("no route to 10.0.0.2: add one")
    made.plan(three())
    assert made.plan(three()).backends["pool", "b2"].reason == "no route to 10.0.0.2: add one"


def test_what_did_not_change_is_not_worked_out_again() -> None:
    """A change of one pool must not cost what all others would."""
    made, wanted = world(), three()
    other = Pool("other", backends={"x": backend(9)})
    both = replace(wanted, pools={**wanted.pools, "other": other})
    first = made.plan(both)
    changed = replace(both, pools={**both.pools, "other": replace(other, backends={})})
    # The epochs that the first plan made odd are an input of the second.
    second = made.plan(both)
    third = made.plan(changed)
    assert third.written.pools["pool"] is second.written.pools["pool"]
    assert third.written.vips is first.written.vips
    assert third.allocation.vips is first.allocation.vips
