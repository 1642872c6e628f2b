# SPDX-License-Identifier: Apache-2.0
"""The event hub: what happened, kept for a while and handed to everybody who watches.

One loop: ``emit`` and ``subscribe`` are called in it, and nothing here blocks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from lb.core.errors import GoneError, LbError, LimitError, UnavailableError
from lb.core.events import Body, ConfigChanged, Event
from lb.core.model import View

MAX_PAST = 10_000
"""Room for past events; see ``room``."""

MAX_QUEUED = 1_000
"""Room for events that one subscriber has not read yet."""

MAX_SUBSCRIPTIONS = 64

TOO_SLOW = "the reader is too slow: events were lost; list again, then watch from there"


def room(event: Event) -> int:
    """How much an event counts: one, or the objects that it names. A file that is applied may change thousands."""
    return max(1, len(event.body.differences)) if isinstance(event.body, ConfigChanged) else 1


class Subscription:
    """Implements ``ports.Subscription``."""

    def __init__(self, snapshot: View | None, past: Iterable[Event], forget: Callable[[Subscription], None]) -> None:
        self.snapshot = snapshot
        self._events = deque(past)
        self._forget = forget
        self._end: LbError | None = None
        self._wake = asyncio.Event()
        self._queued = sum(map(room, self._events))
        # Of past events the hub holds as many anyway.
        self._limit = self._queued + MAX_QUEUED

    async def next(self) -> Event:
        """The next event. Raises ``LimitError`` after an overflow, ``UnavailableError`` once it is closed."""
        while not self._events and self._end is None:
            self._wake.clear()
            await self._wake.wait()
        if self._end is not None:
            raise self._end
        event = self._events.popleft()
        self._queued -= room(event)
        return event

    def put(self, event: Event) -> None:
        """One more event. A single one is kept whatever its size, so that a large change overwhelms nobody."""
        if self._end is not None:
            return
        if self._events and self._queued + room(event) > self._limit:
            self._finish(LimitError(TOO_SLOW))
            return
        self._events.append(event)
        self._queued += room(event)
        self._wake.set()

    def close(self) -> None:
        """End it, a ``next`` that waits as well; idempotent."""
        if self._end is None:
            self._finish(UnavailableError("the watch was ended by lbd, which stops: watch again when it is back"))
        self._forget(self)

    def _finish(self, end: LbError) -> None:
        self._end = end
        self._events.clear()
        self._wake.set()


class EventHub:
    """Keeps the latest events, with the revision that was in force, and feeds the subscriptions."""

    def __init__(self, clock: Callable[[], float], view: Callable[[], View]) -> None:
        """``clock``: seconds since the epoch (UTC). ``view``: what is so now, for snapshots."""
        self._clock = clock
        self._view = view
        self._revision = 0
        self._first = 1
        self._past: deque[Event] = deque()
        self._kept = 0
        self._subscriptions: set[Subscription] = set()

    def begin(self, revision: int) -> None:
        """Say which revision the daemon starts with. What happened under it before the start is not known here."""
        self._revision = revision
        self._first = revision + 1

    def emit(self, body: Body) -> None:
        """Something happened, just now: ``view`` must show it already. ``ConfigChanged`` sets the revision."""
        if isinstance(body, ConfigChanged):
            self._revision = body.revision
        event = Event(self._clock(), self._revision, body)
        self._past.append(event)
        self._kept += room(event)
        while self._kept > MAX_PAST:
            self._drop_oldest()
        for subscription in self._subscriptions:
            subscription.put(event)

    def subscribe(self, start_revision: int = 0) -> Subscription:
        """Events from now on after a snapshot, or (not 0) all that came since ``start_revision`` was in force.

        Raises:
            GoneError: Some of those are no longer kept, or that revision is not in force yet.
            LimitError: There are too many subscriptions.
        """
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise LimitError(f"{MAX_SUBSCRIPTIONS} watches are open already: end one first")
        if start_revision:
            subscription = Subscription(None, self._since(start_revision), self._subscriptions.discard)
        else:
            subscription = Subscription(self._view(), (), self._subscriptions.discard)
        self._subscriptions.add(subscription)
        return subscription

    def _since(self, revision: int) -> list[Event]:
        if revision > self._revision:
            raise GoneError(f"revision {revision} is not in force yet, {self._revision} is: list again, then watch")
        if revision < self._first:
            raise GoneError(f"events since revision {revision} are no longer kept: list again, then watch from there")
        return [event for event in self._past if event.revision > revision or _is_under(event, revision)]

    def _drop_oldest(self) -> None:
        event = self._past.popleft()
        self._kept -= room(event)
        # The change that brought a revision into force is not among what came since.
        self._first = max(self._first, event.revision + _is_under(event, event.revision))


def _is_under(event: Event, revision: int) -> bool:
    """It came while the revision was in force; the change that brought it did not."""
    return event.revision == revision and not isinstance(event.body, ConfigChanged)
