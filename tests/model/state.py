# SPDX-License-Identifier: Apache-2.0
"""States of the model: plain tuples of small numbers, so that millions of them can be told apart."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from lb.core.slots import NONE, TRACKED, base, current

BACKENDS = (1, 2, 3)

DIRTY, SLOT_DIRTY, HOLD, CLEAR, DOOMED, TORN = 1, 2, 4, 8, 16, 32
"""Flags: something (the slot) was written since the last fence; new flows that are refused are dropped; a scan found
the slot clear; the collector has read the entry and will delete it; a restart has cut a batch short."""

EntryFields = tuple[int, int, int]
"""(backend, life, age)"""

FlowFields = tuple[int, int, int]
"""(backend, life, silence)"""

DEAD: EntryFields = (0, 0, 0)
"""Holds its key, but can't be live again."""

# The epoch that a packet in flight read: present odd and even, and the same after the backend's epoch has changed.
EVEN, ODD, OLD_EVEN, OLD_ODD, ANCIENT = 0, 1, 4, 5, 3
LATER = {EVEN: OLD_EVEN, ODD: OLD_ODD}


class Flight(NamedTuple):
    """A packet in flight: ``answers`` so far; ``ticked``: its clock is a tick behind; ``overlap``: it may have read
    older words (a fence waits for it); ``lost``: bits of backends that stopped accepting meanwhile."""

    packet: int
    answers: tuple[object, ...]
    ticked: int
    overlap: int
    lost: int


class Batch(NamedTuple):
    """Decided, not wholly written: epochs to change (bits), then the slot. ``ticked``: at most one tick goes by."""

    flips: int
    accepting: int
    word: int
    moved: int
    ticked: int
    reachable: int


class State(NamedTuple):
    """``odd``: bits of accepting backends, as the data plane sees it; ``accepting``: as the planner does.

    ``moved``, ``refused``: ages. ``flow``: while it is protected.
    """

    word: int
    odd: int
    accepting: int
    moved: int
    refused: int
    entry: EntryFields | None
    flow: FlowFields | None
    flight: Flight | None
    batch: Batch | None
    flags: int


START = State(0, 0, 0, 0, 0, None, None, None, None, 0)


@lru_cache(None)
def _numbered_word(word: int, names: tuple[int, ...]) -> int:
    old = base(word)
    return (TRACKED if old == TRACKED else names[old]) << 16 | names[current(word)]


@lru_cache(None)
def _numbered_bits(bits: int, names: tuple[int, ...]) -> int:
    return sum(1 << names[backend] for backend in BACKENDS if bits >> backend & 1)


@lru_cache(None)
def names_of(
    word: int,
    entry: int,
    flow: int,
    first: int,
    looked_up: int,
    lost: int,
    odd: int,
    accepting: int,
    batch: tuple[int, int, int] | None,
    backends: int,
) -> tuple[int, ...] | None:
    """New numbers for the backends: by where they first occur, then by their bits; None if they are right already."""
    pending, flips, then = batch or (0, 0, 0)
    seen = (word & 0xFFFF, word >> 16, entry, flow, pending & 0xFFFF, pending >> 16, first & 0xFFFF, first >> 16)
    order = [backend for backend in dict.fromkeys((*seen, looked_up)) if backend not in (NONE, TRACKED)]
    rest = [backend for backend in BACKENDS[:backends] if backend not in order]
    rest.sort(key=lambda backend: [bits >> backend & 1 for bits in (odd, accepting, flips, then, lost)])
    order += rest
    if order == sorted(order):
        return None
    names = [0, 0, 0, 0]
    for name, backend in enumerate(order, 1):
        names[backend] = name
    return tuple(names)


def renumbered(state: State, to: tuple[int, ...]) -> State:
    """The state with backend ``b`` called ``to[b]``."""
    entry, flow, flight, batch = state.entry, state.flow, state.flight, state.batch
    if flight is not None:
        first, *others = flight.answers
        if others and isinstance(others[0], tuple):
            others[0] = (to[others[0][0]], *others[0][1:])
        assert isinstance(first, int)
        flight = flight._replace(answers=(_numbered_word(first, to), *others), lost=_numbered_bits(flight.lost, to))
    if batch is not None:
        batch = batch._replace(
            flips=_numbered_bits(batch.flips, to),
            accepting=_numbered_bits(batch.accepting, to),
            word=_numbered_word(batch.word, to),
        )
    return State(
        _numbered_word(state.word, to),
        _numbered_bits(state.odd, to),
        _numbered_bits(state.accepting, to),
        state.moved,
        state.refused,
        entry and (to[entry[0]], entry[1], entry[2]),
        flow and (to[flow[0]], flow[1], flow[2]),
        flight,
        batch,
        state.flags,
    )


@lru_cache(None)
def members(bits: int) -> frozenset[int]:
    """Backends whose bits are set."""
    return frozenset(backend for backend in BACKENDS if bits >> backend & 1)


@lru_cache(None)
def subsets(backends: int) -> tuple[int, ...]:
    """Every set of the first so many backends, as bits."""
    return tuple(bits << 1 for bits in range(1 << backends))
