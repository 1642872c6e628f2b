# SPDX-License-Identifier: Apache-2.0
"""Parameters and mutations of the model, and both planes' functions applied to its representation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from lb.core.slots import Facts, Kind, Life, blocks, kind, transition
from model.state import ANCIENT, DEAD, HOLD, ODD, EntryFields, members
from model.steer import Decision, Entry, Packet, Read, Rules, steering

Transition = Callable[[int, int, int | None, bool, Facts], tuple[int, int | None]]


class Violation(AssertionError):  # noqa: N818 - a finding, not a fault of the code that raises it
    """The promise or an invariant does not hold."""


@dataclass(frozen=True)
class Model:
    """Parameters. Limits in ticks. ``drift``: a tick may pass within a packet's run or a batch (``slack`` covers it).

    The rest are mutations: parts replaced to show that the exploration notices.
    """

    udp: bool = False
    half_open: int = 1
    established: int = 2
    closing: int = 1
    slack: int = 2
    drift: bool = True
    hold: bool = True
    backends: int = 3
    transition: Transition = transition
    """What moves the slot."""
    blocks: Callable[[int, int, int], bool] = blocks
    """What a scan looks for."""
    silent_disable: bool = False
    """Mutation: a backend may stop accepting without a change of its epoch."""
    same_ring: bool = False
    """Mutation: a pool that is used again by a VIP gets its old ring number back, entries and all."""
    mend: bool = True
    """False: the first batch after a crash may let backends accept at once."""
    touch_all: bool = False
    obey_live: bool = False
    ignore_base: bool = False
    """These three: see ``Rules``."""
    rst_ends: bool = True
    """False: the promise outlives a client's RST, as it does a FIN."""
    rules: Rules = field(init=False)
    limits: dict[int, int] = field(init=False)
    """By life."""
    move: int = field(init=False)
    """Row 4's limit."""

    def __post_init__(self) -> None:
        limits = {Life.HALF_OPEN: self.half_open, Life.ESTABLISHED: self.established, Life.CLOSING: self.closing}
        object.__setattr__(self, "limits", {int(life): limit for life, limit in limits.items()})
        object.__setattr__(self, "move", self.established + self.slack)
        rules = Rules(self.limit, self.slack, self.hold, self.touch_all, self.obey_live, self.ignore_base)
        object.__setattr__(self, "rules", rules)
        object.__setattr__(self, "progress", lru_cache(None)(self._progress))
        object.__setattr__(self, "plan", lru_cache(None)(self._plan))
        object.__setattr__(self, "quoted", lru_cache(None)(self._quoted))

    progress: Callable[[int, tuple[object, ...]], int | Decision] = field(init=False, compare=False)
    plan: Callable[..., tuple[int, int]] = field(init=False, compare=False)
    quoted: Callable[..., int] = field(init=False, compare=False)

    def limit(self, life: int) -> int:
        """How long the client may be silent."""
        return self.limits[life]

    def _progress(self, packet: int, answers: tuple[object, ...]) -> int | Decision:
        """Where a packet is after these answers: its next request, or its decision."""
        steps = steering(Packet(packet), 0, self.rules)
        try:
            request = next(steps)
            for answer in answers:
                request = steps.send(Entry(*answer) if isinstance(answer, tuple) else answer)
        except StopIteration as end:
            decision: Decision = end.value
            return decision
        return request

    def _plan(
        self, word: int, n: int, moved: int, refused: int, accepting: int, clear: bool, timers: bool
    ) -> tuple[int, int]:
        """The transition with ages: (word, age of the move)."""
        facts = Facts(0, members(accepting), self.move, -refused, timers=timers)
        after, began = self.transition(word, n, -moved if kind(word) is Kind.MOVING else None, clear, facts)
        return after, -began if began is not None else 0

    def _quoted(self, word: int, entry: EntryFields | None, odd: int) -> int:
        answers: tuple[object, ...] = ()
        while not isinstance(step := self.progress(Packet.QUOTED, answers), Decision):
            answers += (self.read(step, word, entry, odd, 0, 0),)
        return step.backend

    @staticmethod
    def read(request: int, word: int, entry: EntryFields | None, odd: int, flags: int, ticked: int) -> object:
        """What a packet reads now. Times are relative to its own clock, ``ticked`` behind."""
        if request == Read.WORD:
            return word
        if request == Read.ENTRY:
            if entry is None:
                return None
            return (0, ANCIENT, Life.ESTABLISHED, 0) if entry == DEAD else (entry[0], ODD, entry[1], ticked - entry[2])
        if request == Read.HOLD:
            return bool(flags & HOLD)
        return odd >> (request - 16) & 1

    def aged(self, entry: EntryFields) -> EntryFields:
        """An entry that no packet's clock and no scan takes for live is DEAD."""
        if entry == DEAD or entry[2] >= self.limits[entry[1]] + self.slack + self.drift:
            return DEAD
        return entry
