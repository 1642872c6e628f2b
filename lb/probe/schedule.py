# SPDX-License-Identifier: Apache-2.0
"""Which target is probed when."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from lb.core.checks import Outcome, Target
from lb.probe.diagnosis import Case
from lb.probe.failures import Unable
from lb.probe.rounds import Rounds

SPREAD_SECONDS = 1.0
"""New targets get their first probe within this time, or within their interval if that is shorter..."""

PER_TARGET_SECONDS = 0.005
"""...and within this time each while only a few wait for it."""

MAX_REPEATS = 3
"""A timeout is counted after so many repeats, also of a process that is always late: else no backend ever fails."""

_log = logging.getLogger("lb.probe")


@dataclass(slots=True, eq=False)
class _Watched:
    """``due_at``: when its next probe should begin, in the loop's time. ``repeats``: in a row, of the present probe.

    ``is_new``: it has not had a probe yet.
    """

    number: int
    target: Target
    due_at: float
    case: Case = field(default_factory=Case)
    repeats: int = 0
    is_new: bool = True
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[Outcome | None] | None = None
    is_gone: bool = False


class Schedule:
    """Probes targets, each at its own interval, never twice at a time, and at most ``limit`` targets at a time.

    Args:
        rounds: Makes the probes.
        limit: What is due beyond that waits, first come, first served.
        report: Takes the outcome of a target, by its number.
        warn: Takes a sentence when a probe could not be made.
    """

    def __init__(
        self, rounds: Rounds, limit: int, report: Callable[[int, Outcome], None], warn: Callable[[str], None]
    ) -> None:
        self._rounds = rounds
        self._report = report
        self._warn = warn
        self._loop = asyncio.get_running_loop()
        self._watched: dict[int, _Watched] = {}
        self._waiting: deque[_Watched] = deque()
        self._free = limit
        self._new = 0

    def add(self, numbered: Sequence[tuple[int, Target]]) -> None:
        """Probe these, too, soon and from then on; each has a number that was never used before."""
        now = self._loop.time()
        self._new += len(numbered)
        few = PER_TARGET_SECONDS * (self._new - 1)
        for number, target in numbered:
            spread = min(few, SPREAD_SECONDS, target.check.interval_ms / 1000)
            watched = self._watched[number] = _Watched(number, target, now + random.uniform(0, spread))
            self._set_timer(watched)

    def remove(self, numbers: Iterable[int]) -> None:
        """Probe these no more; what is on its way is given up."""
        for number in numbers:
            watched = self._watched.pop(number)
            watched.is_gone = True
            self._new -= watched.is_new
            if watched.timer:
                watched.timer.cancel()
            if watched.task:
                watched.task.cancel()

    def stop(self) -> None:
        """Probe nothing more."""
        self._waiting.clear()
        self.remove(list(self._watched))

    def _set_timer(self, watched: _Watched) -> None:
        watched.timer = self._loop.call_at(watched.due_at, self._come, watched)

    def _come(self, watched: _Watched) -> None:
        """Its time has come."""
        watched.timer = None
        self._waiting.append(watched)
        self._admit()

    def _admit(self) -> None:
        while self._free and self._waiting:
            watched = self._waiting.popleft()
            if not watched.is_gone:
                self._free -= 1
                self._begin(watched)

    def _begin(self, watched: _Watched) -> None:
        now = self._loop.time()
        if now - watched.due_at > watched.target.check.interval_ms / 1000 / 2:
            watched.due_at = now  # what was missed is not made up for
        self._new -= watched.is_new
        watched.is_new = False
        be_patient = watched.repeats < MAX_REPEATS
        watched.task = self._loop.create_task(self._rounds.probe(watched.target, watched.case, be_patient=be_patient))
        watched.task.add_done_callback(partial(self._end, watched))

    def _end(self, watched: _Watched, task: asyncio.Task[Outcome | None]) -> None:
        watched.task = None
        self._free += 1
        if not task.cancelled() and not watched.is_gone:
            self._settle(watched, task)
        self._admit()

    def _settle(self, watched: _Watched, task: asyncio.Task[Outcome | None]) -> None:
        error = task.exception()
        if isinstance(error, Unable):
            self._warn(f"cannot probe {describe(watched.target)}: {error}")
        elif error:
            _log.critical("cannot probe %s: this is a bug in lb", describe(watched.target), exc_info=error)
        elif outcome := task.result():
            self._report(watched.number, outcome)
        else:
            watched.repeats += 1
            self._waiting.append(watched)
            return
        watched.repeats = 0
        self._set_next(watched)

    def _set_next(self, watched: _Watched) -> None:
        check = watched.target.check
        jitter = random.uniform(-check.jitter_percent, check.jitter_percent) / 100
        # From when it was due, not from when it began: a little late each time makes intervals too long on average.
        watched.due_at = max(watched.due_at + check.interval_ms / 1000 * (1 + jitter), self._loop.time())
        self._set_timer(watched)


def describe(target: Target) -> str:
    """For messages: "TCP 192.0.2.10 port 80 through the tunnel to 10.0.0.1"."""
    port = f" port {target.port}" if target.port else ""
    way = f" through the tunnel to {target.backend}" if target.mark else ""
    return f"{target.check.kind.value} {target.address}{port}{way}"
