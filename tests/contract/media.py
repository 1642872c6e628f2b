# SPDX-License-Identifier: Apache-2.0
"""Places that a store is opened on: a file, and memory."""

from __future__ import annotations

import typing
from collections.abc import Callable
from pathlib import Path

from fakes.store import MemoryStore

from lb.ports import Store
from lb.store.limits import Limits
from lb.store.sqlite import SqliteStore


class Clock:
    """Says what it was told, in seconds since the epoch."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.25

    def __call__(self) -> float:
        return self.now


class Medium(typing.Protocol):
    """A store is opened on it again and again; ``fill`` makes its commits fail, ``free`` ends that."""

    clock: Clock

    def reopen(self) -> Store: ...
    def fill(self) -> None: ...
    def free(self) -> None: ...


NewMedium = Callable[..., Medium]
"""Makes an empty medium; its argument: the ``Limits`` of the stores on it."""


class Disk:
    def __init__(self, path: Path, limits: Limits) -> None:
        self.clock = Clock()
        self._path = path
        self._limits = limits
        self._store: SqliteStore | None = None

    def reopen(self) -> Store:
        if self._store:
            self._store.close()
        self._store = SqliteStore(self._path, self.clock, self._limits)
        return self._store

    def fill(self) -> None:
        self._limit(1)

    def free(self) -> None:
        self._limit(0xFFFFFFFE)

    def _limit(self, pages: int) -> None:
        assert self._store
        self._store._file.connection.execute(f"PRAGMA max_page_count = {pages}")


class Memory:
    def __init__(self, limits: Limits) -> None:
        self.clock = Clock()
        self._store = MemoryStore(clock=self.clock, limits=limits)

    def reopen(self) -> Store:
        return self._store

    def fill(self) -> None:
        self._store.failure = "database or disk is full"

    def free(self) -> None:
        self._store.failure = ""
