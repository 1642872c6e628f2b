# SPDX-License-Identifier: Apache-2.0
"""``slots.transition`` for whole rings, at the cost of the slots that have something to do."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeAlias

from lb.core.slots import NONE, TRACKED, Facts, Kind, kind, transition

Words: TypeAlias = "array[int] | memoryview"
"""Slot words of a ring: native 32-bit unsigned integers, contiguous."""

Moves = Mapping[int, int | None]
"""The slots that are not STABLE, to when their move began (seconds); None for TRACKED ones. Lives in lbd's memory."""

_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Evaluation:
    """``slots[i]`` gets ``words[i]``; ``moves`` holds from then on.

    ``oldest``: when the first of the moves away from a backend began, in seconds, by the backend's index.
    """

    slots: Sequence[int]
    words: Sequence[int]
    moves: Moves
    oldest: Mapping[int, int] = field(default_factory=dict)


def evaluate(
    words: Words, target: array[int], moves: Moves, facts: Facts, clear: AbstractSet[int] = frozenset()
) -> Evaluation:
    """Give every slot of a ring its next word.

    Args:
        words: As they are in the map, none written since the last fence.
        target: The ring's answer for each slot, typecode "H".
        moves: From the last evaluation, or ``restore``. A slot that it lacks begins its move now.
        facts: What holds for all slots.
        clear: Slots whose present words a scan found clear.
    """
    # Equal questions have equal answers, and a ring asks few different ones.
    answers: dict[tuple[int, int, int | None], tuple[int, int | None]] = {}
    changed: dict[int, int] = {}
    after = dict(moves)
    oldest: dict[int, int] = {}
    for slot in [*moves, *_astray(words, target, moves)]:
        question = word, n, moved = words[slot], target[slot], moves.get(slot)
        answer = answers.get(question) if slot not in clear else None
        if answer is None:
            answer = transition(word, n, moved, slot in clear, facts)
            if slot not in clear:
                answers[question] = answer
            if answer[1] is not None:
                old = answer[0] >> 16
                oldest[old] = min(oldest.get(old, answer[1]), answer[1])
        following, began = answer
        if following != word:
            changed[slot] = following
        if following >> 16 == following & 0xFFFF:
            after.pop(slot, None)
        else:
            after[slot] = began
    return Evaluation(list(changed), list(changed.values()), after, oldest)


def restore(words: Words, now: int) -> dict[int, int | None]:
    """``Moves`` after a restart: when a move began is not known, so it begins again. Use ``now`` as ``refused_at``."""
    halves = memoryview(words).cast("B").cast("H")
    if halves[0::2] == halves[1::2]:
        return {}
    return {
        slot: now if kind(word) is Kind.MOVING else None
        for slot, word in enumerate(words)
        if word >> 16 != word & 0xFFFF
    }


def stable_words(target: array[int]) -> array[int]:
    """Words of a ring whose slots are all STABLE on the ring's answer."""
    words = array("I", bytes(4 * len(target)))
    halves = memoryview(words).cast("B").cast("H")
    halves[0::2] = halves[1::2] = memoryview(target)
    return words


def count(size: int, moves: Moves) -> Mapping[Kind, int]:
    """Slots of a ring in each state."""
    settled = sum(began is None for began in moves.values())
    return {Kind.STABLE: size - len(moves), Kind.MOVING: len(moves) - settled, Kind.TRACKED: settled}


def tracked_words(words: Words, moves: Moves) -> dict[int, int]:
    """Words of a ring's TRACKED slots, by slot."""
    return {slot: words[slot] for slot, began in moves.items() if began is None}


def named(words: Words) -> AbstractSet[int]:
    """Backend indices that a ring's slots name, as ``cur`` or as ``base``: not to be freed, not drained."""
    return set(memoryview(words).cast("B").cast("H")) - {NONE, TRACKED}


def _astray(words: Words, target: array[int], moves: Moves) -> list[int]:
    """Slots that ``moves`` does not have and that are not STABLE on the ring's answer."""
    expected = stable_words(target)
    for slot in moves:
        expected[slot] = words[slot]
    have, want = bytes(words), bytes(expected)
    if have == want:
        return []
    size = 4 * _BLOCK
    blocks = [i // 4 for i in range(0, len(have), size) if have[i : i + size] != want[i : i + size]]
    return [
        slot
        for start in blocks
        for slot in range(start, min(start + _BLOCK, len(words)))
        if words[slot] != expected[slot]
    ]
