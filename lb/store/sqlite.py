# SPDX-License-Identifier: Apache-2.0
"""The store in one SQLite file: an object a row, a change a transaction."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lb.core import codec
from lb.core.allocation import Allocation
from lb.core.audit import Caller
from lb.core.errors import UnavailableError
from lb.core.model import Backend, Config
from lb.ports import Stored
from lb.store import rows, schema

BUSY_TIMEOUT_SECONDS = 2.0


class SqliteStore:
    """Implements ``ports.Store``. May be called from any thread, from one at a time."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it with mode 0600 (it holds the hash key); raises ``UnavailableError``."""
        self._path = path
        self._stored: Stored | None = None
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            # Autocommit: transactions are begun and ended here, never by the module.
            self._db = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained():
                self._open()
        except UnavailableError:
            self._db.close()
            raise

    def _open(self) -> None:
        # FULL: what was answered is on the disk, also after a power cut.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        damage = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise sqlite3.DatabaseError(damage)
        schema.migrate(self._db)

    def load(self) -> Stored:
        """Read everything in one snapshot; raises ``UnavailableError``."""
        with self._explained(), self._transaction("DEFERRED"):
            try:
                self._stored = self._read()
            except ValueError as error:
                raise sqlite3.DatabaseError(str(error)) from error
        return self._stored

    def _read(self) -> Stored:
        db = self._db
        members: dict[str, dict[str, Backend]] = {name: {} for (name,) in db.execute("SELECT name FROM pools")}
        for pool, name, body in db.execute("SELECT pool, name, body FROM backends ORDER BY pool, name"):
            if pool not in members:
                raise ValueError(f"backend {pool}/{name} belongs to no pool")
            members[pool][name] = codec.decode_backend(name, json.loads(body))
        pools = {
            name: codec.decode_pool(name, json.loads(body), members[name])
            for name, body in db.execute("SELECT name, body FROM pools ORDER BY name")
        }
        vips = {
            name: codec.decode_vip(name, json.loads(body))
            for name, body in db.execute("SELECT name, body FROM vips ORDER BY name")
        }
        config = Config(pools=pools, vips=vips)
        for (body,) in db.execute("SELECT body FROM settings"):
            config = Config(codec.decode_settings(json.loads(body)), pools, vips)
        return Stored(
            revision=db.execute("SELECT number FROM revision").fetchone()[0],
            config=config,
            allocation=rows.allocation(db.execute("SELECT kind, key, number FROM allocations")),
        )

    def commit(self, config: Config, allocation: Allocation, caller: Caller, note: str = "") -> int:
        """Write what differs, in one transaction; returns the new revision. Raises ``UnavailableError``."""
        old = self._stored or self.load()
        with self._explained(), self._transaction("IMMEDIATE"):
            for statement, parameters in rows.differences(old.config, config, old.allocation, allocation):
                self._db.execute(statement, parameters)
            ours = self._db.execute(
                "UPDATE revision SET number = ? WHERE number = ?", (old.revision + 1, old.revision)
            ).rowcount
            if not ours:
                raise UnavailableError(
                    f"{self._path} was changed by another process: stop the other lbd that uses this state directory, "
                    "then restart this one"
                )
        self._stored = Stored(old.revision + 1, config, allocation)
        return self._stored.revision

    def close(self) -> None:
        """Release the file; idempotent."""
        self._db.close()

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        self._db.execute(f"BEGIN {kind}")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            # A failed COMMIT may or may not have ended the transaction.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the file system, SQLite or the decoding complains of into an ``UnavailableError`` with a remedy."""
        try:
            yield
        except schema.NewerSchemaError as error:
            raise UnavailableError(
                f"{self._path} was written by a newer release ({error}): run that release, or give another --state-dir"
            ) from error
        except sqlite3.OperationalError as error:
            raise UnavailableError(f"{self._path}: {error}: {_remedy(error)}") from error
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.Error as error:
            raise UnavailableError(
                f"{self._path} is damaged or of another release ({error}): restore it from a backup, or move it away "
                "and load the configuration with lbd --config FILE"
            ) from error
        except OSError as error:
            raise UnavailableError(
                f"{self._path}: {error.strerror}: give lbd a --state-dir that it may write to"
            ) from error


def _remedy(error: sqlite3.OperationalError) -> str:
    match error.sqlite_errorcode & 0xFF:
        case sqlite3.SQLITE_FULL:
            return "free space on that disk, then repeat the call; the configuration is unchanged"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return "let lbd write to that file and its directory, or give another --state-dir"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another process holds it: stop the other lbd, or close the sqlite3 shell that has it open"
        case _:
            return "look for a failing disk in the kernel's log; the configuration is unchanged"
