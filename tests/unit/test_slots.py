# SPDX-License-Identifier: Apache-2.0
"""DESIGN §4.2's table "Transitions", row by row."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest

from lb.core.moves import count, evaluate, named, restore, stable_words
from lb.core.slots import (
    COLLECT_SLACK_SECONDS,
    NONE,
    SCAN_SLACK_SECONDS,
    TRACKED,
    Facts,
    Kind,
    Life,
    base,
    blocks,
    current,
    kind,
    life_limit,
    live,
    move_limit,
    moving,
    stable,
    tracked,
    transition,
)

FACTS = Facts(now=10_000, accepting=frozenset({1, 2, 3}), limit=102)
WITHOUT_1 = replace(FACTS, accepting=frozenset({2, 3}))
WITHOUT_2 = replace(FACTS, accepting=frozenset({1, 3}))


def test_words() -> None:
    assert (stable(7), moving(7, 8), tracked(7)) == (0x00070007, 0x00080007, 0xFFFF0007)
    assert [kind(word) for word in (stable(7), moving(7, 8), tracked(7))] == [Kind.STABLE, Kind.MOVING, Kind.TRACKED]
    assert [kind(word) for word in (stable(NONE), moving(NONE, 8), tracked(NONE))] == list(Kind)
    assert (current(moving(7, 8)), base(moving(7, 8)), base(tracked(7))) == (7, 8, TRACKED)


def test_a_move_has_an_old_backend() -> None:
    for old in (NONE, TRACKED, 7):
        with pytest.raises(AssertionError):
            moving(7, old)


@pytest.mark.parametrize(
    ("row", "word", "target", "facts", "expected"),
    [
        ("0", stable(1), 2, replace(FACTS, reachable=False), stable(2)),
        ("0", tracked(1), 1, replace(FACTS, reachable=False), stable(1)),
        ("0", moving(1, 2), 1, replace(FACTS, reachable=False), stable(1)),
        ("1", moving(1, 2), 1, WITHOUT_2, tracked(1)),
        ("1, 2", moving(1, 2), 3, WITHOUT_2, moving(3, 1)),
        ("1, 2", moving(1, 2), NONE, WITHOUT_2, moving(NONE, 1)),
        ("1, 3", moving(1, 2), 3, replace(FACTS, accepting=frozenset({3})), tracked(3)),
        ("1", moving(NONE, 2), NONE, WITHOUT_2, tracked(NONE)),
        ("2", stable(1), 2, FACTS, moving(2, 1)),
        ("2", stable(1), NONE, FACTS, moving(NONE, 1)),
        ("2", tracked(1), 2, FACTS, moving(2, 1)),
        ("2", moving(1, 2), 2, FACTS, tracked(2)),
        ("2", moving(1, 2), 3, FACTS, moving(3, 2)),
        ("2", moving(1, 2), NONE, FACTS, moving(NONE, 2)),
        ("3", stable(1), 2, WITHOUT_1, stable(2)),
        ("3", stable(NONE), 2, FACTS, stable(2)),
        ("3", stable(1), NONE, WITHOUT_1, stable(NONE)),
        ("3", tracked(1), 2, WITHOUT_1, tracked(2)),
        ("3", tracked(NONE), 2, FACTS, tracked(2)),
        ("3", moving(1, 2), 2, WITHOUT_1, tracked(2)),
        ("3", moving(1, 2), 3, WITHOUT_1, moving(3, 2)),
        ("3", moving(NONE, 2), 3, FACTS, moving(3, 2)),
        ("-", stable(1), 1, FACTS, stable(1)),
        ("-", tracked(1), 1, FACTS, tracked(1)),
        ("-", moving(1, 2), 1, FACTS, moving(1, 2)),
        ("malformed", 0x00000007, 1, FACTS, tracked(1)),
        ("malformed", 0xFFFFFFFF, 1, FACTS, tracked(1)),
    ],
)
def test_rows_0_to_3(row: str, word: int, target: int, facts: Facts, expected: int) -> None:
    """What the ring and the backends ask for. Words that can't be are mended as "flows may be anywhere"."""
    after, moved = transition(word, target, facts.now - 1 if kind(word) is Kind.MOVING else None, False, facts)
    assert after == expected, row
    if kind(after) is Kind.MOVING:
        assert moved == (facts.now - 1 if kind(word) is Kind.MOVING and base(after) == base(word) else facts.now)
    else:
        assert moved is None


@pytest.mark.parametrize(
    ("age", "refused_age", "more", "ends"),
    [
        (102, 102, {}, True),
        (101, 500, {}, False),
        (500, 101, {}, False),
        (102, 102, {"timers": False}, False),
        (0, 0, {"limit": 0}, True),
        (0, 0, {"limit": 0, "timers": False}, True),
        (40, 40, {"draining": {2}, "drain_limit": 40}, True),
        (39, 40, {"draining": {2}, "drain_limit": 40}, False),
        (102, 102, {"draining": {2}, "drain_limit": 1000}, False),
        (102, 102, {"draining": {1}, "drain_limit": 1000}, True),
        (0, 0, {"limit": 0, "draining": {2}, "drain_limit": 40}, True),
        (1019, 0, {"udp": True}, False),
        (1020, 0, {"udp": True}, True),
        (1020, 0, {}, False),
    ],
)
def test_row_4_ends_a_move(age: int, refused_age: int, more: dict[str, object], ends: bool) -> None:
    """Only once every flow that its client kept up has an entry: the limit has passed since move and refusal."""
    facts = replace(FACTS, refused_at=FACTS.now - refused_age, **more)  # type: ignore[arg-type]
    moved = FACTS.now - age
    expected = (tracked(1), None) if ends else (moving(1, 2), moved)
    assert transition(moving(1, 2), 1, moved, False, facts) == expected


def test_a_move_whose_beginning_is_not_known_begins_now() -> None:
    assert transition(moving(1, 2), 1, None, False, FACTS) == (moving(1, 2), FACTS.now)


def test_a_move_without_protection_ends_in_the_same_store() -> None:
    assert transition(stable(1), 2, None, False, replace(FACTS, limit=0)) == (tracked(2), None)


def test_row_5_needs_a_scan_of_this_very_word() -> None:
    """A slot that another row has just made TRACKED was not what the scan saw."""
    assert transition(tracked(1), 1, None, True, FACTS) == (stable(1), None)
    assert transition(tracked(NONE), NONE, None, True, FACTS) == (stable(NONE), None)
    assert transition(tracked(1), 2, None, True, FACTS) == (moving(2, 1), FACTS.now)
    assert transition(tracked(1), 2, None, True, WITHOUT_1) == (tracked(2), None)
    assert transition(moving(1, 2), 2, 0, True, FACTS) == (tracked(2), None)
    assert transition(moving(1, 2), 1, 0, True, FACTS) == (tracked(1), None)


def test_what_keeps_a_slot_tracked() -> None:
    assert blocks(tracked(1), 2, Life.ESTABLISHED)
    assert not blocks(tracked(1), 1, Life.ESTABLISHED)
    assert not blocks(tracked(1), 1, Life.HALF_OPEN)
    assert blocks(tracked(1), 1, Life.CLOSING)


def test_limits() -> None:
    assert (move_limit(7500), move_limit(0)) == (7502, 0)
    assert [life_limit(life, 7500) for life in Life] == [75, 7500, 120]
    assert [life_limit(life, 60) for life in Life] == [60, 60, 60]


def test_live() -> None:
    """An entry counts while its backend has stayed accepting since, and the client was not silent too long."""
    assert live(5, 5, seen=100, now=176, limit=75)
    assert not live(5, 5, seen=100, now=177, limit=75)
    assert live(5, 5, seen=100, now=177, limit=75, slack=SCAN_SLACK_SECONDS)
    assert live(5, 5, seen=100, now=178, limit=75, slack=COLLECT_SLACK_SECONDS)
    assert live(5, 5, seen=101, now=100, limit=75)
    assert not live(5, 7, seen=100, now=100, limit=75)
    assert not live(6, 6, seen=100, now=100, limit=75)
    assert not live(5, 6, seen=100, now=100, limit=75)


def test_a_ring_after_a_restart() -> None:
    """Moves begin again; what is read back is what is there."""
    words = array("I", [stable(1), moving(1, 2), tracked(3), stable(NONE), moving(NONE, 2)])
    moves = restore(words, 77)
    assert moves == {1: 77, 2: None, 4: 77}
    assert count(len(words), moves) == {Kind.STABLE: 2, Kind.MOVING: 2, Kind.TRACKED: 1}
    assert named(words) == {1, 2, 3}


def test_a_ring_in_the_map_is_evaluated_in_place() -> None:
    """The words may be a view of the mapped ring."""
    target = array("H", [1, 2, 3, 1, 2])
    words = stable_words(target)
    assert list(words) == [stable(backend) for backend in target]
    words[3] = stable(2)
    found = evaluate(memoryview(words), target, {}, FACTS)
    assert (found.slots, found.words, found.moves) == ([3], [moving(1, 2)], {3: FACTS.now})
