# SPDX-License-Identifier: Apache-2.0
"""A store in memory."""

from __future__ import annotations

from lb.core.allocation import Allocation
from lb.core.audit import Caller
from lb.core.errors import UnavailableError
from lb.core.model import Config
from lb.ports import Stored


class MemoryStore:
    """Implements ``ports.Store``. While ``failure`` is set, a commit raises it as ``UnavailableError``."""

    def __init__(self, config: Config | None = None) -> None:
        self._stored = Stored(0, config or Config(), Allocation())
        self.failure = ""
        self.closed = False

    def load(self) -> Stored:
        return self._stored

    def commit(self, config: Config, allocation: Allocation, caller: Caller, note: str = "") -> int:
        if self.failure:
            raise UnavailableError(self.failure)
        self._stored = Stored(self._stored.revision + 1, config, allocation)
        return self._stored.revision

    def close(self) -> None:
        self.closed = True
