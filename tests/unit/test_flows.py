# SPDX-License-Identifier: Apache-2.0
"""What a scan of the flow table says: who is alive, who may be collected, which slots are clear."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping

import pytest

from lb.core.flows import RAISE_SECONDS, Census, Entry, FlowCounts, Observer
from lb.core.moves import restore, tracked_words
from lb.core.slots import Life, moving, stable, tracked

NOW = 10_000
EPOCHS = [0, 3, 5, 8]
"""Backends 1 and 2 accept, 3 does not."""
SETTLE = 500
RING, UDP_RING = 0, 1
WORDS = array("I", [stable(1), tracked(1), tracked(1), moving(1, 2), tracked(2)])
TRACKED_WORDS = tracked_words(WORDS, restore(WORDS, NOW))


def observer(tracked_rings: Mapping[int, Mapping[int, int]] | None = None) -> Observer:
    """Ring 0 with ``SETTLE``, ring 1 with 60 seconds, VIPs 1 and 2."""
    rings = {RING: TRACKED_WORDS} if tracked_rings is None else tracked_rings
    return Observer(NOW, EPOCHS, {1, 2}, {RING: SETTLE, UDP_RING: 60}, rings)


def entry(
    *,
    age: int = 0,
    backend: int = 1,
    epoch: int | None = None,
    life: Life = Life.ESTABLISHED,
    slot: int = 1,
    ring: int = RING,
    vip: int = 1,
) -> Entry:
    """An entry of an accepting backend, just seen."""
    return Entry(b"key", vip, EPOCHS[backend] if epoch is None else epoch, backend, life, NOW - age, slot, ring)


def judge(*entries: Entry) -> Census:
    """A census of these."""
    census = Census()
    observer().judge(census, entries)
    return census


def alive(census: Census) -> Mapping[int, int]:
    """Live entries by backend, in any life."""
    return Counter(census.open) + Counter(census.closing)


@pytest.mark.parametrize(("life", "limit"), [(Life.HALF_OPEN, 75), (Life.ESTABLISHED, SETTLE), (Life.CLOSING, 120)])
def test_an_entry_is_collected_only_when_no_clock_can_take_it_for_live(life: Life, limit: int) -> None:
    """A second of grace for a scan's older clock, two for a packet's."""
    for age, lives, dead in [(limit + 2, 1, 0), (limit + 3, 0, 0), (limit + 4, 0, 1)]:
        census = judge(entry(age=age, life=life))
        assert (alive(census).get(1, 0), len(census.dead)) == (lives, dead), age
        assert census.entries == 1


def test_an_entry_of_another_epoch_is_dead_at_once() -> None:
    """The backend has stopped accepting since, and the count never comes back."""
    for found in (entry(epoch=1), entry(backend=3), entry(backend=3, epoch=7)):
        census = judge(found)
        assert census.dead == [b"key"]
        assert not alive(census)


@pytest.mark.parametrize(("known", "made", "later"), [(3, 5, True), (8, 9, True), (3, 1, False), (0xFFFFFFFF, 1, True)])
def test_an_entry_of_a_later_epoch_was_made_since_the_scan_began(known: int, made: int, later: bool) -> None:
    """A batch may come while the table is read: epochs only grow, so one that is ahead of ours is the present one."""
    census = Census()
    Observer(NOW, [0, known], {1}, {RING: SETTLE}, {}).judge(census, [entry(epoch=made)])
    assert (alive(census), census.dead) == (({1: 1}, []) if later else ({}, [b"key"]))


def test_limits_are_those_of_the_entry_s_ring() -> None:
    """UDP flows are given up sooner."""
    assert alive(judge(entry(age=63, ring=UDP_RING))) == {}
    assert alive(judge(entry(age=62, ring=UDP_RING))) == {1: 1}


def test_entries_that_no_packet_can_reach_are_orphans() -> None:
    """Of a deleted VIP or an abandoned ring; by their numbers, since those may be given out meanwhile."""
    census = judge(entry(vip=3), entry(vip=3)._replace(key=b"other"), entry(ring=5, vip=2))
    assert census.orphans == {(3, RING): [b"key", b"other"], (2, 5): [b"key"]}
    assert (census.entries, alive(census), census.dead) == (3, {}, [])


def test_live_entries_are_counted_by_backend() -> None:
    """What tells an operator how far a drain has come."""
    assert alive(judge(entry(), entry(backend=2), entry(backend=2), entry(age=SETTLE + 9))) == {1: 1, 2: 2}


@pytest.mark.parametrize(
    ("found", "keeps_it"),
    [
        (entry(backend=2), True),
        (entry(backend=1), False),
        (entry(backend=1, life=Life.CLOSING), True),
        (entry(backend=2, age=SETTLE + 3), False),
        (entry(backend=2, epoch=3), False),
        (entry(backend=2, vip=9), False),
        (entry(backend=2, slot=2), False),
    ],
)
def test_a_slot_is_clear_when_no_live_entry_points_elsewhere(found: Entry, keeps_it: bool) -> None:
    """Then it needs no look at the table any more (row 5)."""
    clear = observer().clear(judge(found))[RING]
    assert (1 in clear) is not keeps_it


def test_only_tracked_slots_can_be_clear() -> None:
    """Slots that are STABLE are; a MOVING slot's flows need not have an entry."""
    assert observer().clear(Census()) == {RING: {1, 2, 4}}


def test_rings_without_tracked_slots_are_not_asked_about() -> None:
    """Most rings, most of the time."""
    census = Census()
    quiet = observer({})
    quiet.judge(census, [entry(backend=2)])
    assert alive(census) == {2: 1}
    assert not census.blocked
    assert quiet.clear(census) == {}


@pytest.mark.parametrize(
    ("found", "may"),
    [
        (entry(age=0), True),
        (entry(age=SETTLE - RAISE_SECONDS + 1), True),
        (entry(age=SETTLE - RAISE_SECONDS + 2), False),
        (entry(age=SETTLE + 1), False),
        (entry(age=SETTLE + 9), False),
        # Their limit does not change with settle_seconds.
        (entry(age=119, life=Life.CLOSING), True),
        (entry(age=300, life=Life.CLOSING), True),
    ],
)
def test_settle_time_is_raised_only_where_no_entry_comes_back_to_life(found: Entry, may: bool) -> None:
    """An entry that has expired, or will have when the new time is written, must not become live again (I4)."""
    assert (RING in observer().collected(judge(found), 0)) is may


def test_a_scan_is_soon_too_old_to_raise_the_settle_time_by() -> None:
    """Entries made since may have expired; those of a short time sooner than others."""
    census = Census()
    assert observer().collected(census, RAISE_SECONDS - 2) == {RING, UDP_RING}
    assert observer().collected(census, RAISE_SECONDS - 1) == frozenset()
    brief = Observer(NOW, EPOCHS, {1}, {RING: 1}, {})
    assert brief.collected(census, 1) == {RING}
    assert brief.collected(census, 2) == frozenset()


def test_inserted_is_what_came_of_both_kinds() -> None:
    """Refusals leave nothing in the table."""
    assert FlowCounts(1, 2, 4, 8).inserted == 3


def test_a_drain_waits_for_open_flows_and_knows_those_that_close() -> None:
    """A client that has sent its FIN may still be reading: it is counted, but apart."""
    census = judge(entry(), entry(life=Life.HALF_OPEN), entry(life=Life.CLOSING), entry(backend=2, life=Life.CLOSING))
    assert (census.open, census.closing) == ({1: 2}, {1: 1, 2: 1})


def test_a_drain_gives_up_on_clients_that_are_silent_for_longer_than_it_waits() -> None:
    """Their entries stay alive: if they come back in time, they are served."""
    census = Census()
    watched = Observer(NOW, EPOCHS, {1, 2}, {RING: SETTLE}, {}, drain_seconds={1: 30})
    watched.judge(census, [entry(age=32), entry(age=33), entry(backend=2, age=33)])
    assert (census.open, census.dead) == ({1: 1, 2: 1}, [])
