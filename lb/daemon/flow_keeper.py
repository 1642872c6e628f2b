# SPDX-License-Identifier: Apache-2.0
"""Upkeep of the flow table: budgets, and scans that end TRACKED slots and collect dead entries."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

from lb.core.allocation import Allocation
from lb.core.flows import Census, Observer
from lb.core.limits import FLOW_ENTRIES
from lb.core.moves import tracked_words
from lb.core.operations import Operation, WriteSlots
from lb.core.planner import Plan
from lb.ports import DataPlane, FlowTableCount

SCAN_SECONDS = 2
"""Between two scans, while there is anything to scan for."""

SCAN_SHARE = 10
"""A scan that costs much is repeated the later: at most one part in so many of a CPU's time. Not of the clock's: on a
busy machine scans take long, and the table must not be left full of dead entries just then."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A finished scan, with what it was made against: ``writes`` by ring, when it began."""

    observer: Observer
    census: Census
    writes: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Findings:
    """What a scan allows: ``clear`` slots, by ring, may become STABLE; ``collected`` rings may be given more time."""

    clear: Mapping[int, frozenset[int]] = field(default_factory=dict)
    collected: frozenset[int] = frozenset()


class FlowKeeper:
    """Knows how full the flow table is. Its methods block; they are called inside the reconciler's lock, but `scan`."""

    def __init__(self, data_plane: DataPlane) -> None:
        self._data_plane = data_plane
        self._writes: Counter[int] = Counter()
        self._scanned = 0
        self._inserted_before = 0
        self._inserted_at_start = 0
        self._deleted = 0
        self._due_at = 0.0
        self._is_known = False

    def begin(self) -> None:
        """Take over a table that may hold flows from before. Until the first scan, only the kernel knows it is full."""
        self._inserted_before = self._data_plane.flows.counts().inserted
        self.refill()

    def entries(self) -> int:
        """How many there are: those of the last scan and what came since; after the first scan never too few."""
        return self._scanned + self._data_plane.flows.counts().inserted - self._inserted_before

    def count(self) -> FlowTableCount:
        """For export."""
        counts = self._data_plane.flows.counts()
        return FlowTableCount(
            FLOW_ENTRIES,
            self._scanned + counts.inserted - self._inserted_before,
            counts.inserted_syn,
            counts.inserted_old,
            counts.refused_syn,
            counts.refused_old,
            self._deleted,
        )

    def refill(self) -> None:
        """Budgets for the next second. Old flows stop at half of the table, so that they cannot starve new ones."""
        used = self.entries()
        self._data_plane.flows.refill(max(0, FLOW_ENTRIES - used), max(0, FLOW_ENTRIES // 2 - used))

    def wrote(self, operations: tuple[Operation, ...]) -> None:
        """Remember which rings were written: what a running scan says of them does not count any more."""
        self._writes.update(operation.ring for operation in operations if isinstance(operation, WriteSlots))

    def due(self, plan: Plan, now: float, waited_for: bool) -> bool:
        """Whether a scan would have anything to do; ``waited_for``: by somebody else."""
        waited_for |= any(work.state.tracked or work.waits for work in plan.written.rings.values())
        return now >= self._due_at and (waited_for or not self._is_known or self.entries() > 0)

    def observe(self, plan: Plan, now: int, drain_seconds: Mapping[int, int]) -> Scan:
        """Prepare a scan, right after a fence; ``drain_seconds``: see ``Observer``."""
        numbers, rings = plan.allocation, plan.written.rings
        observer = Observer(
            now,
            plan.written.epochs,
            frozenset(numbers.vips.values()),
            {number: work.settle_seconds for number, work in rings.items()},
            {
                number: tracked_words(self._data_plane.slots(number), work.moves)
                for number, work in rings.items()
                if work.state.tracked
            },
            drain_seconds,
        )
        return Scan(observer, Census(), dict(self._writes))

    def scan(self, scan: Scan) -> float:
        """Read the whole table; returns the CPU time that it cost, in seconds. Long: outside the lock."""
        began = time.thread_time()
        self._inserted_at_start = self._data_plane.flows.counts().inserted
        for entries in self._data_plane.flows.scan():
            scan.observer.judge(scan.census, entries)
        return time.thread_time() - began

    def finish(self, scan: Scan, numbers: Allocation, cost_seconds: float, now: float) -> Findings:
        """Delete what is dead.

        ``numbers``: in use now; a VIP or a ring whose number was given out since the scan began owns its entries again.
        ``now``: CLOCK_MONOTONIC seconds.
        """
        census = scan.census
        vips, rings = frozenset(numbers.vips.values()), frozenset(numbers.rings.values())
        lost = [keys for (vip, ring), keys in census.orphans.items() if vip not in vips or ring not in rings]
        orphans = list(chain.from_iterable(lost))
        dead = [*census.dead, *orphans]
        self._data_plane.flows.delete(dead)
        self._deleted += len(dead)
        self._is_known = True
        self._scanned = census.entries - len(dead)
        self._inserted_before = self._inserted_at_start
        self._due_at = now + max(SCAN_SECONDS, SCAN_SHARE * cost_seconds)
        clear = {
            ring: slots
            for ring, slots in scan.observer.clear(census).items()
            if slots and self._writes[ring] == scan.writes.get(ring, 0)
        }
        return Findings(clear, scan.observer.collected(census, now - scan.observer.now))
