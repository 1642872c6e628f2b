# SPDX-License-Identifier: Apache-2.0
"""How late the event loop is: a timeout that strikes while this process did not run says nothing about a backend."""

from __future__ import annotations

import asyncio

TICK_SECONDS = 0.02


class Lag:
    """``lost_seconds``: for how long, in all, the loop did not come to what was due."""

    def __init__(self) -> None:
        self.lost_seconds = 0.0
        self._loop = asyncio.get_running_loop()
        self._expect()

    def stop(self) -> None:
        """Stop measuring."""
        self._timer.cancel()

    def _expect(self) -> None:
        self._expected_at = self._loop.time() + TICK_SECONDS
        self._timer = self._loop.call_at(self._expected_at, self._tick)

    def _tick(self) -> None:
        self.lost_seconds += max(0.0, self._loop.time() - self._expected_at)
        self._expect()
