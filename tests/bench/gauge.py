# SPDX-License-Identifier: Apache-2.0
"""Is this CPU undisturbed right now? A neighbour on a shared core halves its speed, for seconds or minutes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

_PACKETS = 50_000
_TOLERANCE = 1.15
_ATTEMPTS = 4

T = TypeVar("T")


class Gauge:
    """Times a fixed piece of work before and after every sample, and has disturbed samples taken again.

    It never looks at the sample itself, so it does not choose among results.
    """

    def __init__(self, work: Callable[[int], object], cpus: Sequence[int], patience_seconds: float) -> None:
        """``work``: takes a number of packets. ``patience_seconds``: from then on, samples are taken as they come."""
        self._work = work
        self.cpus = cpus
        self._until = time.monotonic() + patience_seconds
        self._best = float("inf")
        self.samples = 0
        self.disturbed = 0
        for _ in range(10):
            self._quietest()

    def sample(self, take: Callable[[], T], *, everywhere: bool = False) -> T:
        """Take a sample on the least disturbed CPU, where the thread stays; ``everywhere``: while all are quiet."""
        self.samples += 1
        for _ in range(_ATTEMPTS):
            cpus = self.cpus if everywhere else [self._quietest()]
            if self._quiet(cpus):
                found = take()
                if self._quiet(cpus):
                    return found
            if time.monotonic() > self._until:
                break
        self.disturbed += 1
        return take()

    def _quietest(self) -> int:
        costs = {cpu: self._cost(cpu) for cpu in self.cpus}
        chosen = min(self.cpus, key=lambda cpu: costs[cpu])
        os.sched_setaffinity(0, {chosen})
        return chosen

    def _quiet(self, cpus: Sequence[int]) -> bool:
        return all(self._cost(cpu) <= self._best * _TOLERANCE for cpu in cpus)

    def _cost(self, cpu: int) -> float:
        os.sched_setaffinity(0, {cpu})
        start = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)
        self._work(_PACKETS)
        found = (time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) - start) / _PACKETS
        self._best = min(self._best, found)
        return found


@contextmanager
def gauge(work: Callable[[int], object], patience_seconds: float) -> Iterator[Gauge]:
    """A gauge on the last two CPUs that this process may use: interrupts favour the first. Restores the affinity."""
    before = os.sched_getaffinity(0)
    try:
        yield Gauge(work, sorted(before)[-2:], patience_seconds)
    finally:
        os.sched_setaffinity(0, before)
