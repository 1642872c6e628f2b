# SPDX-License-Identifier: Apache-2.0
"""The store in one SQLite file: an object a row, a change a transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lb.core.allocation import Allocation
from lb.core.audit import Caller, Record, bounded
from lb.core.diff import changes, patched
from lb.core.errors import NotFoundError, UnavailableError
from lb.core.model import Config
from lb.ports import Stored
from lb.store import history, numbers, rows
from lb.store.database import Database
from lb.store.limits import LIMITS, Limits, Throttle


class SqliteStore:
    """Implements ``ports.Store``. May be called from any thread; commits from one at a time."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, limits: Limits = LIMITS) -> None:
        """Open the file, or make it with mode 0600 (it holds the hash key); raises ``UnavailableError``.

        ``clock``: seconds since the epoch (UTC), for the records.
        """
        self._file = Database(path)
        self._clock = clock
        self._limits = limits
        self._throttle = Throttle(limits.denied_per_minute)
        self._stored: Stored | None = None

    def load(self) -> Stored:
        """Read everything in one snapshot; raises ``UnavailableError``."""
        with self._file.reading() as db:
            self._stored = _read(db)
        return self._stored

    def commit(self, config: Config, allocation: Allocation, caller: Caller, note: str = "") -> int:
        """Write what differs, in one transaction; returns the new revision. Raises ``UnavailableError``."""
        old = self._stored or self.load()
        revision = old.revision + 1
        record = bounded(Record(revision, self._clock(), caller, note=note))
        changed = [rows.row_change(change) for change in changes(old.config, config)]
        with self._file.writing() as db:
            ours = db.execute("UPDATE revision SET number = ? WHERE number = ?", (revision, old.revision)).rowcount
            if not ours:
                raise UnavailableError(
                    f"{self._file.path} was changed by another process: stop the other lbd that uses this state "
                    "directory, then restart this one"
                )
            for statement, parameters in map(rows.write, changed):
                db.execute(statement, parameters)
            for statement, parameters in numbers.writes(old.allocation, allocation):
                db.execute(statement, parameters)
            history.add(db, record, changed)
            history.trim_revisions(db, revision, self._limits)
        self._stored = Stored(revision, config, allocation)
        return revision

    def deny(self, caller: Caller, note: str) -> None:
        """Record a call that was denied, unless there are too many; raises ``UnavailableError``."""
        now = self._clock()
        admitted = self._throttle.admit(note, now)
        if admitted is None:
            return
        with self._file.writing() as db:
            history.add(db, bounded(Record(0, now, caller, note=admitted)))
            history.trim_denied(db, self._limits)

    def history(self, before: int, limit: int) -> Sequence[Record]:
        """Records, the newest first; see ``ports.Store``."""
        with self._file.reading() as db:
            return history.page(db, before, limit, self._limits)

    def at(self, revision: int) -> Config:
        """The configuration as it was; raises ``NotFoundError``, ``UnavailableError``."""
        stored = self._stored or self.load()
        if revision == stored.revision:
            return stored.config
        with self._file.reading() as db:
            first = history.oldest(db)
            if first is None or not first - 1 <= revision < stored.revision:
                raise NotFoundError(f"revision {revision} is not kept: `lbctl history` shows those that are")
            return patched(stored.config, history.undo(db, revision, stored.revision))

    def close(self) -> None:
        """Release the file; idempotent."""
        self._file.close()


def _read(db: sqlite3.Connection) -> Stored:
    objects = {name: rows.decode(name, body) for name, body in db.execute(rows.EVERYTHING)}
    return Stored(
        revision=db.execute("SELECT number FROM revision").fetchone()[0],
        config=patched(Config(), objects),
        allocation=numbers.allocation(db.execute("SELECT kind, key, number FROM allocations")),
    )
