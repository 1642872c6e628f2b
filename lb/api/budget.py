# SPDX-License-Identifier: Apache-2.0
"""A bound on what strangers can make us write: log lines, records of denied calls."""

from __future__ import annotations

import time
from collections.abc import Callable

WINDOW_SECONDS = 60.0


class Budget:
    """So many a minute. What exceeds it is counted, and mentioned by the next one that does not."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._window_began = clock()
        self._taken = 0
        self._left_out = 0

    def take(self) -> str | None:
        """None when the budget is spent; else a remark on what was left out before, "" if nothing was."""
        now = self._clock()
        if now - self._window_began >= WINDOW_SECONDS:
            self._window_began, self._taken = now, 0
        if self._taken == self._limit:
            self._left_out += 1
            return None
        self._taken += 1
        left_out, self._left_out = self._left_out, 0
        return f" ({left_out} more before it)" if left_out else ""
