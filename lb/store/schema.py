# SPDX-License-Identifier: Apache-2.0
"""The database's schema, as the list of steps that lead to it."""

from __future__ import annotations

import sqlite3

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE revision (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL)",
        "INSERT INTO revision VALUES (1, 0)",
        "CREATE TABLE settings (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL)",
        "CREATE TABLE pools (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE backends (pool TEXT, name TEXT, body TEXT NOT NULL, PRIMARY KEY (pool, name)) WITHOUT ROWID",
        "CREATE TABLE vips (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID",
        # kind: vip, ring, backend or cursor; key: the JSON list of the names that the number stands for.
        "CREATE TABLE allocations (kind TEXT, key TEXT, number INTEGER NOT NULL, PRIMARY KEY (kind, key))",
    ),
    (
        # revision: 0 for a call that was denied; at: seconds since the epoch (UTC).
        """CREATE TABLE records (number INTEGER PRIMARY KEY, revision INTEGER NOT NULL, at REAL NOT NULL,
        who TEXT NOT NULL, origin TEXT NOT NULL, method TEXT NOT NULL, note TEXT NOT NULL)""",
        "CREATE INDEX records_by_revision ON records (revision)",
        # name: resource name; old, new: bodies as in the tables of objects, NULL where the object is not there.
        """CREATE TABLE changes (number INTEGER PRIMARY KEY, revision INTEGER NOT NULL, name TEXT NOT NULL,
        old TEXT, new TEXT)""",
        "CREATE INDEX changes_by_revision ON changes (revision)",
    ),
)
"""Step N leads from schema N to N + 1. Released steps never change; a new release appends."""


class NewerSchemaError(Exception):
    """The file was written by a newer release; ``version`` is its schema."""

    def __init__(self, version: int) -> None:
        super().__init__(f"schema {version}, this release knows up to {len(MIGRATIONS)}")
        self.version = version


def migrate(db: sqlite3.Connection) -> None:
    """Bring the database to the newest schema, each step in a transaction of its own.

    Raises:
        NewerSchemaError: The file's schema is not known here; nothing was changed.
        sqlite3.Error: The file can't be read or written.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise NewerSchemaError(version)
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in step:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
