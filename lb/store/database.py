# SPDX-License-Identifier: Apache-2.0
"""One SQLite file: opened, locked, and what goes wrong with it put in words."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lb.core.errors import UnavailableError
from lb.store import schema

BUSY_TIMEOUT_SECONDS = 2.0


class Database:
    """The file, of the newest schema. Transactions of several threads wait for one another."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it with mode 0600 (it holds the hash key); raises ``UnavailableError``."""
        self.path = path
        self._lock = threading.Lock()
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            # Autocommit: transactions are begun and ended here, never by the module.
            self.connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained():
                self._open()
        except UnavailableError:
            self.connection.close()
            raise

    def _open(self) -> None:
        # FULL: what was answered is on the disk, also after a power cut.
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        damage = self.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise sqlite3.DatabaseError(damage)
        schema.migrate(self.connection)

    def close(self) -> None:
        """Release the file; idempotent."""
        self.connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot. ``UnavailableError`` for what the file complains of, and for a row that can't be understood."""
        with self._explained(), self._transaction("DEFERRED"):
            try:
                yield self.connection
            except ValueError as error:
                raise sqlite3.DatabaseError(str(error)) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, all or nothing; ``UnavailableError`` for what the file complains of."""
        with self._explained(), self._transaction("IMMEDIATE"):
            yield self.connection

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        with self._lock:
            self.connection.execute(f"BEGIN {kind}")
            try:
                yield
                self.connection.execute("COMMIT")
            finally:
                # A failed COMMIT may or may not have ended the transaction.
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the file system, SQLite or the decoding complains of into an ``UnavailableError`` with a remedy."""
        try:
            yield
        except schema.NewerSchemaError as error:
            raise UnavailableError(
                f"{self.path} was written by a newer release ({error}): run that release, or give another --state-dir"
            ) from error
        except sqlite3.OperationalError as error:
            raise UnavailableError(f"{self.path}: {error}: {_remedy(error)}") from error
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.Error as error:
            raise UnavailableError(
                f"{self.path} is damaged or of another release ({error}): restore it from a backup, or move it away "
                "and load the configuration with lbd --config FILE"
            ) from error
        except OSError as error:
            raise UnavailableError(
                f"{self.path}: {error.strerror}: give lbd a --state-dir that it may write to"
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
