# SPDX-License-Identifier: Apache-2.0
"""Whatever the maps hold that they should not is found and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest
from fakes.world import DNS, WEB, World, backend, config

from lb.core.model import RING_SIZE
from lb.core.operations import SetEpoch, SetSettle, SwapVips, WriteBackend, WriteSlots
from lb.core.planner import Plan
from lb.core.slots import moving, stable, tracked
from lb.core.verify import MAX_PROBLEMS, Comparison, ReadBack, verify
from lb.core.vip_table import VipEntry


def compare(world: World, planned: Plan) -> Comparison:
    """Read the world's data plane back."""
    plane = world.data_plane
    settle_seconds = plane.flows.settle_seconds
    return verify(planned, ReadBack(plane.vip_table, plane.backends, plane.slots, settle_seconds, plane.has_ring))


def moving_world() -> tuple[World, Plan]:
    """Two backends, then a third: slots of both rings move."""
    world = World()
    world.plan(config(backend(1), backend(2), vips=[WEB, DNS]))
    planned = world.plan(config(backend(1), backend(2), backend(3), vips=[WEB, DNS]))
    return world, planned


def test_maps_that_are_as_planned_have_no_problems() -> None:
    world, planned = moving_world()
    found = compare(world, planned)
    assert found.problems == ()
    assert found.compared > 2 * RING_SIZE


def test_slots_that_became_tracked_are_as_planned() -> None:
    world, _ = moving_world()
    world.now += 8000
    wanted = config(backend(1), backend(2), backend(3), vips=[WEB, DNS])
    planned = world.plan(wanted, held=frozenset({0, 1}))
    assert compare(world, planned).problems == ()


def slots_of(planned: Plan, *, moves: bool) -> int:
    """A slot of ring 0 that moves, or one that does not."""
    moved = planned.written.rings[0].moves
    return next(slot for slot in range(RING_SIZE) if (slot in moved) is moves)


Spoil = Callable[[World, Plan], str]


def spoil_stable_slot(world: World, planned: Plan) -> str:
    slot = slots_of(planned, moves=False)
    world.data_plane.apply([WriteSlots(0, [slot], [stable(9)])])
    return f"ring pool TCP, slot {slot}: stable on 9, not stable on"


def spoil_moving_slot(world: World, planned: Plan) -> str:
    slot = slots_of(planned, moves=True)
    world.data_plane.apply([WriteSlots(0, [slot], [tracked(3)])])
    return f"slot {slot}: tracked on 3, not moving on 3"


def spoil_base(world: World, planned: Plan) -> str:
    slot = slots_of(planned, moves=True)
    world.data_plane.apply([WriteSlots(0, [slot], [moving(3, 9)])])
    return f"slot {slot}: moves away from 9, which accepts no flows"


def spoil_base_of_nobody(world: World, planned: Plan) -> str:
    slot = slots_of(planned, moves=True)
    world.data_plane.apply([WriteSlots(0, [slot], [3])])
    return f"slot {slot}: moves away from 0, which accepts no flows"


def spoil_target(world: World, planned: Plan) -> str:
    slot = slots_of(planned, moves=True)
    world.data_plane.apply([WriteSlots(0, [slot], [moving(2, 1)])])
    return f"slot {slot}: moving on 2, not moving on 3"


def spoil_epoch(world: World, planned: Plan) -> str:
    world.data_plane.apply([SetEpoch(2, planned.written.epochs[2] + 1)])
    return "backend index 2: epoch 2, not 1"


def spoil_epoch_of_nobody(world: World, _planned: Plan) -> str:
    world.data_plane.apply([SetEpoch(500, 1)])
    return "backend index 500: epoch 1, not 0"


def spoil_entry(world: World, planned: Plan) -> str:
    entry = replace(planned.written.entries[2], mac=bytes(6))
    world.data_plane.apply([WriteBackend(2, entry)])
    return "backend pool/b2 (index 2): mac 00:00:00:00:00:00, not 02:"


def spoil_settle(world: World, _planned: Plan) -> str:
    world.data_plane.apply([SetSettle(1, 5)])
    return "ring pool UDP: flows may be silent for 5 s, not 60"


def spoil_vips(world: World, planned: Plan) -> str:
    assert planned.written.vips
    first, *others = planned.written.vips
    world.data_plane.apply([SwapVips((replace(first, ring=7), *others))])
    return "192.0.2.1 port 80 protocol 6 on ring 7 (index 1, flags 0, displacement"


def spoil_size(world: World, _planned: Plan) -> str:
    strangers = [VipEntry(ip_address(f"192.0.2.{i}"), 80, 6, 0, i) for i in range(50, 60)]
    world.data_plane.apply([SwapVips(tuple(strangers))])
    return "the VIP table has 32 places, not 16"


def spoil_ring(world: World, _planned: Plan) -> str:
    world.data_plane.lost_rings.add(1)
    return "ring pool UDP: packets do not find its slots (number 1)"


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_stable_slot,
        spoil_moving_slot,
        spoil_base,
        spoil_base_of_nobody,
        spoil_target,
        spoil_epoch,
        spoil_epoch_of_nobody,
        spoil_entry,
        spoil_settle,
        spoil_vips,
        spoil_size,
        spoil_ring,
    ],
)
def test_one_wrong_word_is_found(spoil: Spoil) -> None:
    world, planned = moving_world()
    expected = spoil(world, planned)
    problems = compare(world, planned).problems
    assert len(problems) == 1
    assert expected in problems[0]


def test_a_ring_that_is_all_wrong_does_not_flood_the_reader() -> None:
    world, planned = moving_world()
    world.data_plane.apply([WriteSlots(0, range(RING_SIZE), [stable(9)] * RING_SIZE)])
    problems = compare(world, planned).problems
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1] == f"and {RING_SIZE - MAX_PROBLEMS} more of the same kind"
