# SPDX-License-Identifier: Apache-2.0
"""The state machine of a ring's slots: what a word says, which word follows, when a flow entry counts.

``SLOTS.md`` says why each rule is there and what broke without it. Times are whole seconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import enum
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

NONE = 0
"""Backend index that means "no backend"."""

TRACKED = 0xFFFF
"""``base`` of a slot whose older flows are found in the flow table only."""

SLACK_SECONDS = 2
"""Entries and moves last this much longer than promised: clocks are truncated, and writes take effect late."""

SCAN_SLACK_SECONDS = SLACK_SECONDS + 1
"""A scan (row 5) takes entries for live a second longer than the data plane does."""

COLLECT_SLACK_SECONDS = SLACK_SECONDS + 2
"""The collector waits until no run of the program can take the entry for live by an older clock."""

UDP_EXTENSION = 10
"""Refusals hold a UDP ring's move back for at most this many times its limit."""


class Kind(enum.Enum):
    """State of a slot."""

    STABLE = "stable"
    MOVING = "moving"
    TRACKED = "tracked"


class Life(enum.IntEnum):
    """How far the client of a flow entry has come; the values are ABI."""

    HALF_OPEN = 1
    ESTABLISHED = 2
    CLOSING = 3


_LIFE_SECONDS = {Life.HALF_OPEN: 75, Life.CLOSING: 120}


def stable(backend: int) -> int:
    """Every flow of the slot is on ``backend``: the flow table is not asked."""
    return backend << 16 | backend


def moving(backend: int, old: int) -> int:
    """New flows go to ``backend`` and leave an entry; flows without one are on ``old``."""
    assert old not in (backend, NONE, TRACKED)
    return old << 16 | backend


def tracked(backend: int) -> int:
    """Flows with an entry are where it says; all others are on ``backend``."""
    return TRACKED << 16 | backend


def current(word: int) -> int:
    """Backend index that new flows go to; 0 = none."""
    return word & 0xFFFF


def base(word: int) -> int:
    """Upper half of a slot word: the old backend of a move, or ``TRACKED``."""
    return word >> 16


def kind(word: int) -> Kind:
    """State that a word stands for."""
    if base(word) == current(word):
        return Kind.STABLE
    return Kind.TRACKED if base(word) == TRACKED else Kind.MOVING


def move_limit(settle_seconds: int) -> int:
    """Row 4's limit for a promise of ``settle_seconds``; 0 = no protection."""
    return settle_seconds + SLACK_SECONDS if settle_seconds else 0


def life_limit(life: int, settle_seconds: int) -> int:
    """How long a client may be silent. Never longer than a move waits, or row 4 would overtake the entry's life."""
    return min(settle_seconds, _LIFE_SECONDS.get(Life(life), settle_seconds))


def live(entry_epoch: int, backend_epoch: int, seen: int, now: int, limit: int, slack: int = SLACK_SECONDS) -> bool:
    """Whether a flow entry of the packet's own slot and ring counts.

    Args:
        entry_epoch: Of the backend when the entry was written.
        backend_epoch: Of the same backend now; odd = accepting.
        seen: Seconds at the client's last packet; may be ahead of ``now``, which another CPU read.
        now: Seconds.
        limit: ``life_limit`` of the entry.
        slack: Whose eyes: ``SLACK_SECONDS`` the data plane's, ``SCAN_SLACK_SECONDS``, ``COLLECT_SLACK_SECONDS``.
    """
    return entry_epoch == backend_epoch and backend_epoch % 2 == 1 and max(0, now - seen) < limit + slack


def blocks(word: int, backend: int, life: int) -> bool:
    """Whether a live entry keeps its TRACKED slot from becoming STABLE (row 5).

    An entry of the slot's own backend does no harm, unless it is CLOSING: STABLE slots don't look at the table, so a
    new flow of the same 5-tuple would later inherit an entry that forgets it after 120 s of silence.
    """
    return backend != current(word) or life == Life.CLOSING


@dataclass(frozen=True, slots=True)
class Facts:
    """What an evaluation knows, the same for all slots of a ring.

    ``accepting``: backend indices. ``limit``, ``drain_limit``: seconds from ``move_limit``; the latter for slots whose
    old backend is in ``draining``. ``refused_at``: when the data plane last refused an entry of this ring.
    ``reachable``: a VIP points at the pool. ``timers``: row 4 may end moves (not while new flows that are refused an
    entry are still served, see SLOTS.md). ``udp``: a UDP ring.
    """

    now: int
    accepting: AbstractSet[int]
    limit: int
    refused_at: int = 0
    reachable: bool = True
    timers: bool = True
    draining: AbstractSet[int] = frozenset()
    drain_limit: int = 0
    udp: bool = False


def transition(word: int, target: int, moved: int | None, clear: bool, facts: Facts) -> tuple[int, int | None]:
    """Next word of one slot, and when its move began (None unless it is MOVING).

    Args:
        word: The slot's word, not written since the last fence.
        target: The ring's answer for this slot.
        moved: When the move began; None = not known: now.
        clear: A scan of this very word found no entry that ``blocks``.
        facts: The rest.
    """
    if not facts.reachable:  # row 0
        return stable(target), None
    cur, old, before = current(word), base(word), word
    is_moving = kind(word) is Kind.MOVING
    if is_moving and old not in facts.accepting:  # row 1
        old, is_moving = TRACKED, False

    if target != cur:  # rows 2 and 3
        if is_moving:
            old, is_moving = (TRACKED, False) if target == old else (old, True)
        elif cur in facts.accepting:
            old, is_moving, moved = cur, True, None
        elif old != TRACKED:
            old = target
        cur = target

    if is_moving:
        began = facts.now if moved is None else moved
        if not _settled(old, began, facts):
            return moving(cur, old), began
        old = TRACKED  # row 4
    word = old << 16 | cur
    if clear and word == before and old == TRACKED:  # row 5
        return stable(cur), None
    return word, None


def limit_of(old: int, facts: Facts) -> int:
    """How long a move away from backend ``old`` lasts at least, in seconds."""
    return facts.drain_limit if facts.limit and old in facts.draining else facts.limit


def _settled(old: int, moved: int, facts: Facts) -> bool:
    """Row 4: every flow that its client kept up has an entry by now."""
    limit = limit_of(old, facts)
    if not limit:
        return True
    age = facts.now - moved
    refused = facts.now - facts.refused_at < limit and not (facts.udp and age >= UDP_EXTENSION * limit)
    return facts.timers and age >= limit and not refused
