# SPDX-License-Identifier: Apache-2.0
"""Records of what was changed, and by whom, in the tables ``records`` and ``changes``.

A change has the bodies before and after it, so that an earlier configuration is the present one with the old bodies of
all later changes put back. Nothing is there twice in full.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from lb.core.audit import Caller, Record
from lb.core.diff import Object, difference
from lb.store.limits import Limits
from lb.store.rows import RowChange, decode, object_change

_LAST = 2**63 - 1
"""SQLite's largest integer."""


def add(db: sqlite3.Connection, record: Record, changes: Iterable[RowChange] = ()) -> None:
    """Append a record; its number is the next one."""
    caller = record.caller
    db.execute(
        "INSERT INTO records (revision, at, who, origin, method, note) VALUES (?, ?, ?, ?, ?, ?)",
        (record.revision, record.at, caller.who, caller.origin, caller.method, record.note),
    )
    db.executemany(
        "INSERT INTO changes (revision, name, old, new) VALUES (?, ?, ?, ?)",
        ((record.revision, change.name, change.old, change.new) for change in changes),
    )


def trim_revisions(db: sqlite3.Connection, newest: int, limits: Limits) -> None:
    """Remove the oldest revisions that are too many, or have too many changes together."""
    # Numbers of changes have no gaps: they are removed from below only.
    (beyond,) = db.execute(
        "SELECT max(revision) FROM changes WHERE number = (SELECT max(number) FROM changes) - ?", (limits.changes,)
    ).fetchone()
    last = max(newest - limits.revisions, min(beyond or 0, newest - 1))
    db.execute("DELETE FROM changes WHERE revision <= ?", (last,))
    db.execute("DELETE FROM records WHERE revision BETWEEN 1 AND ?", (last,))


def trim_denied(db: sqlite3.Connection, limits: Limits) -> None:
    """Remove the oldest denied calls that are too many."""
    db.execute(
        "DELETE FROM records WHERE revision = 0 AND number <= "
        "(SELECT number FROM records WHERE revision = 0 ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (limits.denied,),
    )


def page(db: sqlite3.Connection, before: int, limit: int, limits: Limits) -> list[Record]:
    """Records numbered below ``before`` (0 = all), the newest first; raises ``ValueError`` for a body it can't read."""
    found: list[Record] = []
    room = limits.page_changes
    for number, revision, at, *texts, note in db.execute(
        "SELECT number, revision, at, who, origin, method, note FROM records WHERE number < ? "
        "ORDER BY number DESC LIMIT ?",
        (min(before or _LAST, _LAST), limit),
    ):
        rows = db.execute("SELECT name, old, new FROM changes WHERE revision = ? ORDER BY number", (revision,))
        differences = tuple(difference(object_change(RowChange(*row))) for row in rows)
        found.append(Record(revision, at, Caller(*texts), differences, note, number))
        room -= len(differences)
        if room <= 0:
            break
    return found


def oldest(db: sqlite3.Connection) -> int | None:
    """The first revision that has a record; None without any."""
    revision: int | None = db.execute("SELECT min(revision) FROM records WHERE revision > 0").fetchone()[0]
    return revision


def undo(db: sqlite3.Connection, revision: int, present: int) -> dict[str, Object | None]:
    """What takes the objects of revision ``present`` back to an earlier one; raises ``ValueError``."""
    bodies: dict[str, str | None] = dict(
        # Of several changes of one object the earliest comes last, and wins.
        db.execute(
            "SELECT name, old FROM changes WHERE revision > ? AND revision <= ? ORDER BY number DESC",
            (revision, present),
        )
    )
    return {name: decode(name, body) for name, body in bodies.items()}
