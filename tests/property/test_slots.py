# SPDX-License-Identifier: Apache-2.0
"""A whole ring is evaluated by a shortcut: it must say what the single slots say."""

from __future__ import annotations

from array import array
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lb.core.moves import count, evaluate, restore
from lb.core.slots import NONE, Facts, Kind, base, current, kind, moving, stable, tracked, transition

LIMIT = 22
backends = st.integers(1, 4)
seconds = st.integers(0, 300)
words = st.one_of(
    st.builds(stable, st.integers(0, 4)),
    st.builds(tracked, st.integers(0, 4)),
    st.tuples(st.integers(0, 4), backends).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: moving(*pair)),
)
facts = st.builds(
    Facts,
    now=st.just(300),
    accepting=st.frozensets(backends),
    limit=st.sampled_from([0, LIMIT]),
    refused_at=seconds,
    reachable=st.booleans(),
    timers=st.booleans(),
    draining=st.frozensets(backends),
    drain_limit=st.sampled_from([0, 5]),
    udp=st.booleans(),
)
slots = st.tuples(words, st.integers(0, 4), seconds, st.booleans())


@given(slots, facts)
def test_a_word_that_follows_is_well_formed(slot: tuple[int, int, int, bool], known: Facts) -> None:
    """Whatever is asked, new flows go where the ring says, and only a backend that accepts is an old one."""
    word, target, moved, clear = slot
    after, began = transition(word, target, moved if kind(word) is Kind.MOVING else None, clear, known)
    assert current(after) == target
    assert (began is not None) == (kind(after) is Kind.MOVING)
    if kind(after) is Kind.MOVING:
        assert base(after) in known.accepting
        assert base(after) not in (NONE, target)
    if known.reachable and current(word) in known.accepting and current(word) != target and known.limit:
        assert kind(after) is not Kind.STABLE


@given(slots, facts)
def test_an_answer_is_final(slot: tuple[int, int, int, bool], known: Facts) -> None:
    """Asked again at the same time, with no new scan, nothing changes."""
    word, target, moved, clear = slot
    after, began = transition(word, target, moved if kind(word) is Kind.MOVING else None, clear, known)
    assert transition(after, target, began, False, known) == (after, began)


@given(slots, facts, seconds, seconds)
def test_an_answer_outlasts_time_while_no_timer_may_end_a_move(
    slot: tuple[int, int, int, bool], known: Facts, passed: int, refused_at: int
) -> None:
    """So the planner need not look at a ring again, moves or not, until it is its turn."""
    word, target, moved, clear = slot
    after, began = transition(word, target, moved if kind(word) is Kind.MOVING else None, clear, known)
    later = replace(known, now=known.now + passed, refused_at=refused_at, reachable=True, timers=False)
    assert transition(after, target, began, False, later) == (after, began)


@given(st.lists(slots, min_size=1, max_size=40), st.integers(1, 20), facts, st.booleans())
def test_a_ring_is_evaluated_as_its_slots_are(
    few: list[tuple[int, int, int, bool]], repeat: int, known: Facts, forgotten: bool
) -> None:
    """The shortcut changes nothing, whether the moves are remembered or read back."""
    ring = few * repeat
    before = array("I", [word for word, *_ in ring])
    target = array("H", [n for _, n, *_ in ring])
    if forgotten:
        moves = restore(before, known.now)
    else:
        moves = {
            slot: moved if kind(word) is Kind.MOVING else None
            for slot, (word, _, moved, _) in enumerate(ring)
            if kind(word) is not Kind.STABLE
        }
    clear = {slot for slot, (*_, is_clear) in enumerate(ring) if is_clear}

    found = evaluate(before, target, moves, known, clear)

    after = list(before)
    for slot, word in zip(found.slots, found.words, strict=True):
        assert after[slot] != word
        after[slot] = word
    expected = [
        transition(before[slot], target[slot], moves.get(slot), slot in clear, known) for slot in range(len(ring))
    ]
    assert after == [word for word, _ in expected]
    assert found.moves == {slot: began for slot, (word, began) in enumerate(expected) if kind(word) is not Kind.STABLE}
    kinds = [kind(word) for word in after]
    assert count(len(ring), found.moves) == {state: kinds.count(state) for state in Kind}
