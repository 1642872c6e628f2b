# SPDX-License-Identifier: Apache-2.0
"""A store in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from lb.core.allocation import Allocation
from lb.core.audit import Caller, Record, bounded
from lb.core.diff import differences
from lb.core.errors import NotFoundError, UnavailableError
from lb.core.model import Config
from lb.ports import Stored
from lb.store.limits import LIMITS, Limits, Throttle


class MemoryStore:
    """Implements ``ports.Store``. While ``failure`` is set, every write raises it as ``UnavailableError``."""

    def __init__(
        self, config: Config | None = None, clock: Callable[[], float] = time.time, limits: Limits = LIMITS
    ) -> None:
        self._stored = Stored(0, config or Config(), Allocation())
        self._configs = {0: self._stored.config}
        self._records: list[Record] = []
        self._number = 0
        self._clock = clock
        self._limits = limits
        self._throttle = Throttle(limits.denied_per_minute)
        self.failure = ""
        self.closed = False

    def load(self) -> Stored:
        return self._stored

    def commit(self, config: Config, allocation: Allocation, caller: Caller, note: str = "") -> int:
        revision = self._stored.revision + 1
        self._add(Record(revision, self._clock(), caller, differences(self._stored.config, config), note))
        self._stored = Stored(revision, config, allocation)
        self._configs[revision] = config
        kept = [record for record in self._records if record.revision]
        while len(kept) > self._limits.revisions or (
            len(kept) > 1 and sum(len(record.differences) for record in kept) > self._limits.changes
        ):
            self._records.remove(kept[0])
            del self._configs[kept.pop(0).revision - 1]
        return revision

    def deny(self, caller: Caller, note: str) -> None:
        now = self._clock()
        admitted = self._throttle.admit(note, now)
        if admitted is None:
            return
        self._add(Record(0, now, caller, note=admitted))
        denied = [record for record in self._records if not record.revision]
        if len(denied) > self._limits.denied:
            self._records.remove(denied[0])

    def _add(self, record: Record) -> None:
        if self.failure:
            raise UnavailableError(self.failure)
        self._number += 1
        self._records.append(bounded(replace(record, number=self._number)))

    def history(self, before: int, limit: int) -> Sequence[Record]:
        found: list[Record] = []
        shown = 0
        for record in reversed(self._records):
            if before and record.number >= before:
                continue
            if len(found) == limit or shown >= self._limits.page_changes:
                break
            found.append(record)
            shown += len(record.differences)
        return found

    def at(self, revision: int) -> Config:
        if revision not in self._configs:
            raise NotFoundError(f"revision {revision} is not kept: `lbctl history` shows those that are")
        return self._configs[revision]

    def close(self) -> None:
        self.closed = True
