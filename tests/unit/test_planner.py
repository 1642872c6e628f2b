# SPDX-License-Identifier: Apache-2.0
"""Desired and observed -> operations: the right ones, each once, in the order in which packets may see them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from fakes.next_hops import hop_to
from fakes.world import DNS, VIP, WEB, World, backend, config, only

from lb.core import allocation as numbers
from lb.core.errors import LimitError
from lb.core.layout import VIP_ADDRESS
from lb.core.model import RING_SIZE, AdminState, Backend, Config, HashPolicy, Pool, Protocol, Unresolved, Vip
from lb.core.moves import named
from lb.core.operations import ResetCounters, SetEpoch, SetSettle, SwapVips, WriteBackend, WriteSlots
from lb.core.planner import Timer
from lb.core.slots import Kind, moving, stable, tracked
from lb.daemon.readings import due_rings


def test_operations_come_in_the_order_in_which_packets_may_see_them() -> None:
    """Nothing is reachable before it is complete: counters, backends, epochs, rings, VIPs."""
    planned = World().plan(config(backend(1), backend(2), vips=[WEB, DNS]))
    assert [type(operation) for operation in planned.operations] == [
        ResetCounters, WriteBackend, WriteBackend, SetEpoch, SetEpoch,
        SetSettle, WriteSlots, SetSettle, WriteSlots, SwapVips,
    ]  # fmt: skip


def test_nothing_is_written_twice_in_a_batch() -> None:
    """One store for a word: packets see the old one or the new one."""
    world = World()
    world.plan(config(backend(1), backend(2)))
    world.now += 9000
    planned = world.plan(config(backend(2), backend(3, 2), vips=[WEB, DNS]), held=frozenset({0}))
    for operation in only(planned, WriteSlots):
        assert len(set(operation.slots)) == len(operation.slots)
    targets = [
        (type(operation), getattr(operation, "index", None), getattr(operation, "ring", None))
        for operation in planned.operations
    ]
    assert len(set(targets)) == len(targets)


def test_nothing_changes_when_nothing_changed() -> None:
    """A round each second must cost the data plane nothing, also while slots move."""
    world = World()
    for wanted in (config(backend(1)), config(backend(1), backend(2)), config()):
        world.plan(wanted)
        world.now += 1
        assert world.plan(wanted).operations == ()


def test_a_new_ring_begins_stable_whatever_its_number_held_before() -> None:
    """No packet has seen it: there is no flow to protect (row 0)."""
    world = World()
    junk = [moving(7, 8), tracked(9)]
    world.data_plane.apply([WriteSlots(0, [0, 1], junk)])
    planned = world.plan(config(backend(1), backend(2)))
    assert world.kinds() == {Kind.STABLE}
    assert named(world.data_plane.slots(0)) == {1, 2}
    assert planned.written.rings[0].moves == {}


def test_an_added_backend_makes_its_slots_move() -> None:
    """Their old flows stay; the others' slots are not touched."""
    world = World()
    world.plan(config(backend(1)))
    planned = world.plan(config(backend(1), backend(2)))
    assert [type(operation) for operation in planned.operations] == [ResetCounters, WriteBackend, SetEpoch, WriteSlots]
    assert set(world.data_plane.slots(0)) == {stable(1), moving(2, 1)}
    state = planned.written.rings[0].state
    assert state.moving == planned.backends["pool", "b2"].slots == 65_537 - state.stable
    assert planned.written.rings[0].timers == (Timer(world.now + 7502, 7502),)


@pytest.mark.parametrize("removal", ["removed", "new address", "disabled"])
def test_a_backend_that_stops_accepting_is_out_of_every_slot_at_once(removal: str) -> None:
    """As new and as old backend: its index may be another's soon."""
    world = World()
    world.plan(config(backend(1), backend(2)))
    world.plan(config(backend(1), backend(2), backend(3)))
    assert 2 in named(world.data_plane.slots(0))
    other = {
        "removed": config(backend(1), backend(3)),
        "new address": config(backend(1), replace(backend(2), address=ip_address("10.0.0.9")), backend(3)),
        "disabled": config(backend(1), backend(2, state=AdminState.DISABLED), backend(3)),
    }[removal]
    planned = world.plan(other)
    assert SetEpoch(2, 2) in planned.operations
    assert 2 not in named(world.data_plane.slots(0))


def test_epochs_are_written_before_the_slots_that_rely_on_them() -> None:
    """A slot never names as new a backend that does not accept yet."""
    world = World()
    world.plan(config(backend(1)))
    planned = world.plan(config(backend(2)))
    order = [type(operation) for operation in planned.operations]
    assert order.index(SetEpoch) < order.index(WriteSlots)
    assert only(planned, SetEpoch) == [SetEpoch(1, 2), SetEpoch(2, 1)]


@pytest.mark.parametrize("member", [backend(2, state=AdminState.DRAINING), backend(2, weight=0)])
def test_a_backend_that_drains_keeps_its_flows(member: Backend) -> None:
    """No epoch changes; the ring forgets it, and its slots move for as long as clients may be silent."""
    world = World()
    world.plan(config(backend(1), backend(2)))
    planned = world.plan(config(backend(1), member))
    assert only(planned, SetEpoch) == []
    assert set(world.data_plane.slots(0)) == {stable(1), moving(1, 2)}
    assert planned.written.rings[0].timers == (Timer(world.now + 352, 352),)
    assert planned.backends["pool", "b2"].slots == 0
    assert planned.backends["pool", "b2"].reason


def test_a_lost_next_hop_takes_a_backend_out_of_the_ring_and_cuts_no_flow() -> None:
    """The address that was known last may still work, and nothing better is known."""
    world = World()
    world.plan(config(backend(1), backend(2)))
    known = world.data_plane.entries[2]
    world.hops[backend(2).address] = Unresolved("no route to 10.0.0.2")
    planned = world.plan(config(backend(1), backend(2)))
    assert [type(operation) for operation in planned.operations] == [WriteSlots]
    assert world.written.entries[2] == known
    assert planned.backends["pool", "b2"].reason == "no route to 10.0.0.2"


def test_a_changed_next_hop_rewrites_the_entry_and_nothing_else() -> None:
    """The gateway's new MAC: no slot moves, no epoch changes."""
    world = World()
    world.plan(config(backend(1), backend(2)))
    world.hops[backend(2).address] = replace(hop_to(backend(2).address), mac=b"\x02\x00\x00\x00\x00\x09")
    planned = world.plan(config(backend(1), backend(2)))
    assert [type(operation) for operation in planned.operations] == [WriteBackend]
    assert world.data_plane.entries[2].mac == b"\x02\x00\x00\x00\x00\x09"


def test_a_backend_that_never_had_a_next_hop_does_not_accept() -> None:
    """There is nowhere to send to."""
    world = World()
    world.hops[backend(1).address] = Unresolved("no route")
    planned = world.plan(config(backend(1)))
    assert only(planned, WriteBackend) == []
    assert only(planned, SetEpoch) == []
    assert set(world.data_plane.slots(0)) == {0}


def test_the_first_plan_changes_no_epoch() -> None:
    """A crash may have cut a batch short between epochs and slots: first the slots follow the epochs as they are."""
    world = World()
    world.plan(config(backend(1)))
    world.plan(config(backend(1), backend(2)))
    world.data_plane.apply([SetEpoch(1, 2)])
    world.forget()
    first = world.plan(config(backend(1), backend(2)), first=True)
    assert only(first, SetEpoch) == []
    assert set(world.data_plane.slots(0)) == {stable(2), tracked(2)}
    second = world.plan(config(backend(1), backend(2)))
    assert only(second, SetEpoch) == [SetEpoch(1, 3)]


def test_a_restart_reads_back_what_it_forgot() -> None:
    """Words and epochs are as they were; moves begin again, since nobody knows when they began."""
    world = World()
    world.plan(config(backend(1)))
    world.plan(config(backend(1), backend(2)))
    words, epochs = world.data_plane.slots(0), world.data_plane.epochs()
    world.forget()
    world.now += 5000
    first = world.plan(config(backend(1), backend(2)), first=True)
    second = world.plan(config(backend(1), backend(2)))
    assert only(first, WriteSlots) + only(second, WriteSlots) == []
    assert only(second, SetEpoch) == []
    assert (world.data_plane.slots(0), world.data_plane.epochs()) == (words, epochs)
    assert second.written.rings[0].timers == (Timer(world.now + 7502, 7502),)


def test_an_index_that_the_configuration_lost_stops_accepting_after_a_restart() -> None:
    """The store was written, the maps were not."""
    world = World()
    world.plan(config(backend(1), backend(2)))
    world.forget()
    world.allocation = replace(
        world.allocation, backends={key: i for key, i in world.allocation.backends.items() if i != 2}
    )
    world.plan(config(backend(1)), first=True)
    assert only(world.plan(config(backend(1))), SetEpoch) == [SetEpoch(2, 2)]
    assert named(world.data_plane.slots(0)) == {1}


def test_moves_end_only_in_rings_that_are_held() -> None:
    """And only once they are old enough, and no flow was refused for as long."""
    world = World()
    world.plan(config(backend(1), vips=[WEB, DNS]))
    wanted = config(backend(1), backend(2), vips=[WEB, DNS])
    world.plan(wanted)
    world.now += 7501
    assert world.plan(wanted, held=frozenset({0})).operations == ()
    world.now += 1
    assert world.plan(wanted).operations == ()
    world.data_plane.flows.mark_refused(0, world.now - 7501)
    assert world.plan(wanted, held=frozenset({0})).operations == ()
    world.now += 1
    assert [operation.ring for operation in only(world.plan(wanted, held=frozenset({0})), WriteSlots)] == [0]
    assert set(world.data_plane.slots(0)) == {stable(1), tracked(2)}
    assert world.kinds(1) == {Kind.STABLE, Kind.MOVING}


def test_a_member_without_new_flows_makes_no_other_move_due() -> None:
    """One that is disabled for good: each second the pool's rings would be held, fenced and looked through in vain."""
    world, off = World(), backend(9, state=AdminState.DISABLED)
    world.plan(config(backend(1), off))
    planned = world.plan(config(backend(1), backend(2), off))
    flows = world.data_plane.flows
    assert due_rings(planned, flows, world.now + 7501) == frozenset()
    assert due_rings(planned, flows, world.now + 7502) == {0}


def test_moves_away_from_a_backend_that_drains_are_due_before_the_others() -> None:
    """Each when its own time has come."""
    world = World()
    world.plan(config(backend(1), backend(2)))
    world.plan(config(backend(1), backend(2), backend(3)))
    wanted = config(backend(1), backend(2, state=AdminState.DRAINING), backend(3))
    flows, began = world.data_plane.flows, world.now
    assert due_rings(world.plan(wanted), flows, began + 352) == {0}
    world.now += 352
    planned = world.plan(wanted, held=frozenset({0}))
    assert planned.written.rings[0].state.moving > 0
    assert due_rings(planned, flows, world.now) == frozenset()
    assert due_rings(planned, flows, began + 7502) == {0}


def test_a_drain_that_waits_for_nobody_waits_for_those_who_send() -> None:
    """drain_idle_seconds 0 gives up on silent clients; a move that ends at once would cut all flows."""
    world = World()

    def impatient(*members: Backend) -> Config:
        made = config(*members)
        return replace(made, pools={"pool": replace(made.pools["pool"], drain_idle_seconds=0)})

    world.plan(impatient(backend(1), backend(2)))
    planned = world.plan(impatient(backend(1), backend(2, state=AdminState.DRAINING)))
    assert set(world.data_plane.slots(0)) == {stable(1), moving(1, 2)}
    assert planned.written.rings[0].timers == (Timer(world.now + 2, 2),)


def test_a_ring_that_never_got_its_words_names_no_backend_of_another_pool() -> None:
    """A crash came between the store and the maps, and the ring's number was another pool's before."""
    world = World()
    world.data_plane.apply([WriteSlots(0, range(RING_SIZE), [stable(7)] * RING_SIZE), SetEpoch(7, 1)])
    other = Pool("other", backends={"b7": backend(7)})
    made = config(backend(1))
    wanted = replace(made, pools={**made.pools, "other": other})
    world.allocation = numbers.Allocation(
        {"web": 1}, {("pool", 6): 0}, {("pool", "b1", "10.0.0.1"): 1, ("other", "b7", "10.0.0.7"): 7}
    )
    world.forget()
    world.plan(wanted, first=True)
    assert named(world.data_plane.slots(0)) == set()
    world.plan(wanted)
    assert set(world.data_plane.slots(0)) == {stable(1)}


def test_slots_that_a_scan_found_clear_become_stable() -> None:
    """The last step of a move: the table is not asked any more."""
    world = World()
    world.plan(config(backend(1)))
    wanted = config(backend(1), backend(2))
    world.plan(wanted)
    world.now += 7502
    world.plan(wanted, held=frozenset({0}))
    slots = [slot for slot, word in enumerate(world.data_plane.slots(0)) if word == tracked(2)]
    planned = world.plan(wanted, clear={0: frozenset(slots[:10])})
    assert [list(operation.slots) for operation in only(planned, WriteSlots)] == [slots[:10]]
    assert planned.written.rings[0].state.tracked == len(slots) - 10


def test_a_pool_without_protection_changes_at_once() -> None:
    """settle_seconds 0: the operator wants no flow table."""
    world = World()
    world.plan(config(backend(1), settle_seconds=0))
    world.plan(config(backend(1), backend(2), settle_seconds=0))
    assert world.kinds() == {Kind.STABLE, Kind.TRACKED}


def test_tcp_and_udp_rings_have_the_same_answer_and_times_of_their_own() -> None:
    """A client that speaks both meets one backend."""
    world = World()
    planned = world.plan(config(backend(1), backend(2), vips=[WEB, DNS]))
    assert only(planned, SetSettle) == [SetSettle(0, 7500), SetSettle(1, 60)]
    assert world.data_plane.slots(0) == world.data_plane.slots(1)


def test_a_shorter_settle_time_is_written_at_once_and_a_longer_one_after_a_collection() -> None:
    """A longer one would bring expired entries back to life."""
    world = World()
    world.plan(config(backend(1), settle_seconds=100))
    assert only(world.plan(config(backend(1), settle_seconds=50)), SetSettle) == [SetSettle(0, 50)]
    longer = config(backend(1), settle_seconds=200)
    planned = world.plan(longer)
    assert planned.operations == ()
    assert (planned.written.rings[0].waits, planned.written.rings[0].settle_seconds) == (True, 50)
    planned = world.plan(longer, collected=frozenset({0}))
    assert planned.operations == (SetSettle(0, 200),)
    assert not planned.written.rings[0].waits


def test_a_restart_does_not_make_a_longer_settle_time_take_effect_early() -> None:
    """The data plane says what the time was."""
    world = World()
    world.plan(config(backend(1), settle_seconds=50))
    world.forget()
    planned = world.plan(config(backend(1), settle_seconds=200), first=True)
    assert only(planned, SetSettle) == [SetSettle(0, 50)]
    assert planned.written.rings[0].waits


def test_a_pool_without_vips_has_no_ring() -> None:
    """Its backends are known all the same."""
    world = World()
    planned = world.plan(config(backend(1), vips=[]))
    assert [type(operation) for operation in planned.operations] == [ResetCounters, WriteBackend, SetEpoch, SwapVips]
    assert planned.written.rings == {}
    assert planned.backends["pool", "b1"].slots == 65_537


def test_a_vip_that_comes_back_has_new_numbers() -> None:
    """The old ones' entries would be live again."""
    world = World()
    world.plan(config(backend(1)))
    world.plan(config(backend(1), vips=[]))
    world.plan(config(backend(1)))
    assert (dict(world.allocation.vips), dict(world.allocation.rings)) == ({"web": 2}, {("pool", 6): 1})


def test_vip_entries_carry_hash_policy_ring_and_index_and_every_address_has_one_of_its_own() -> None:
    """Pings, fragments and broken packets are looked up by address alone."""
    alt = Vip("alt", VIP, 0, Protocol.TCP, "pool", hash_policy=HashPolicy.SOURCE)
    other = Vip("other", ip_address("192.0.2.2"), 80, Protocol.TCP, "pool")
    world = World()
    (swap,) = only(world.plan(config(backend(1), vips=[WEB, DNS, alt, other])), SwapVips)
    found = [(e.address, e.port, e.protocol, e.ring, e.index, e.flags) for e in swap.entries]
    assert found == [
        (VIP, 80, 6, 0, 1, 0),
        (VIP, 53, 17, 1, 2, 0),
        (VIP, 0, 6, 0, 3, HashPolicy.SOURCE),
        (other.address, 80, 6, 0, 4, 0),
        (VIP, 0, 0, 0, 0, VIP_ADDRESS),
        (other.address, 0, 0, 0, 0, VIP_ADDRESS),
    ]


def test_counters_are_reset_for_numbers_that_are_given_out() -> None:
    """And only for those."""
    world = World()
    assert only(world.plan(config(backend(1))), ResetCounters) == [ResetCounters((1,), (1,))]
    planned = world.plan(config(backend(1), backend(2), vips=[WEB, DNS]))
    assert only(planned, ResetCounters) == [ResetCounters((2,), (2,))]


@pytest.mark.parametrize(
    ("limit", "most", "wanted"),
    [
        ("MAX_BACKENDS", 1, config(backend(1), backend(2))),
        ("MAX_VIPS", 1, config(vips=[WEB, DNS])),
        ("MAX_RINGS", 1, config(vips=[WEB, DNS])),
    ],
)
def test_a_configuration_that_has_no_room_is_refused(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int, wanted: Config
) -> None:
    """Before anything is written, with the remedy."""
    monkeypatch.setattr(numbers, limit, most)
    world = World()
    with pytest.raises(LimitError, match="delete some first"):
        world.plan(wanted)
    assert world.data_plane.calls == []
