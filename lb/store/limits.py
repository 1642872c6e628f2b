# SPDX-License-Identifier: Apache-2.0
"""How much history is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the history; what exceeds them is trimmed, the oldest first.

    ``revisions``: records of changes. ``changes``: objects in them, together; the newest revision stays whatever it
    has. ``denied``: records of denied calls. ``denied_per_minute``: denied calls that are recorded. ``page_changes``: a
    page of the history ends with the record that brings it to as many.
    """

    revisions: int = 10_000
    changes: int = 250_000
    denied: int = 10_000
    denied_per_minute: int = 60
    page_changes: int = 10_000


LIMITS = Limits()


class Throttle:
    """Lets so many denied calls a minute through and counts the others."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._minute = 0
        self._passed = 0
        self._dropped = 0

    def admit(self, note: str, now: float) -> str | None:
        """The note of a denied call, with the count of those that were dropped before it; None to drop this one too.

        ``now``: seconds, of a clock that may be set.
        """
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._passed = minute, 0
        if self._passed >= self._per_minute:
            self._dropped += 1
            return None
        self._passed += 1
        dropped, self._dropped = self._dropped, 0
        if not dropped:
            return note
        return f"{note} (and {dropped} earlier denied calls: only {self._per_minute} a minute are recorded)"
