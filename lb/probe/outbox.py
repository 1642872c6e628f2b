# SPDX-License-Identifier: Apache-2.0
"""What the prober has to tell lbd, until lbd listens."""

from __future__ import annotations

import asyncio
from collections import deque

from lb.core.checks import Outcome
from lb.probe.protocol import OUTCOMES_PER_LINE, Report, encode_report

GATHER_SECONDS = 0.01
"""Outcomes of so long travel together: lbd wakes up less often."""

ALIVE_SECONDS = 1.0
"""Something is sent at least this often."""

MAX_BACKLOG = 65_536
"""Outcomes that are kept for an lbd that does not read; the oldest give way, and are counted."""

WARN_SECONDS = 10.0
"""At most one warning in this time; the others are counted."""

_MAX_BUFFER_BYTES = 256 << 10


class Outbox:
    """``transport``: to lbd."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._outcomes: deque[tuple[int, Outcome]] = deque()
        self._dropped = 0
        self._warning = ""
        self._more_warnings = 0
        self._warn_at = 0.0
        self._flush_timer: asyncio.TimerHandle | None = None
        self._beat()

    def stop(self) -> None:
        """Send nothing more."""
        self._beat_timer.cancel()
        if self._flush_timer:
            self._flush_timer.cancel()

    def outcome(self, number: int, outcome: Outcome) -> None:
        """Of the target with this number."""
        if len(self._outcomes) >= MAX_BACKLOG:
            self._outcomes.popleft()
            self._dropped += 1
        self._outcomes.append((number, outcome))
        if self._flush_timer is None:
            self._flush_timer = self._loop.call_later(GATHER_SECONDS, self._flush)

    def warn(self, text: str) -> None:
        """For lbd's log; travels with the next report."""
        if self._warning:
            self._more_warnings += 1
        else:
            self._warning = text

    def _beat(self) -> None:
        if self._has_room():
            self._send()
        self._beat_timer = self._loop.call_later(ALIVE_SECONDS, self._beat)

    def _flush(self) -> None:
        while self._outcomes and self._has_room():
            self._send()
        again = self._outcomes
        self._flush_timer = self._loop.call_later(GATHER_SECONDS, self._flush) if again else None

    def _has_room(self) -> bool:
        return self._transport.get_write_buffer_size() < _MAX_BUFFER_BYTES

    def _send(self) -> None:
        count = min(len(self._outcomes), OUTCOMES_PER_LINE)
        report = Report([self._outcomes.popleft() for _ in range(count)], self._take_warnings())
        self._transport.write(encode_report(report))

    def _take_warnings(self) -> list[str]:
        warnings = []
        if self._dropped:
            warnings.append(f"{self._dropped} outcomes of probes were dropped: lbd did not read them for too long")
            self._dropped = 0
        if self._warning and self._loop.time() >= self._warn_at:
            more = f" ({self._more_warnings} more probes could not be made)" if self._more_warnings else ""
            warnings.append(f"{self._warning}{more}")
            self._warning, self._more_warnings = "", 0
            self._warn_at = self._loop.time() + WARN_SECONDS
        return warnings
