# SPDX-License-Identifier: Apache-2.0
"""The event hub: who hears what, and what becomes of those who don't listen."""

from __future__ import annotations

import asyncio

import pytest

from lb.core.audit import Action, Difference
from lb.core.errors import GoneError, LimitError, UnavailableError
from lb.core.events import Body, ConfigChanged, Event, HealthChanged, MovesHeldBack
from lb.core.health import Status
from lb.core.model import Config, Protocol, View
from lb.daemon import events
from lb.daemon.events import EventHub, Subscription

DOWN = HealthChanged("web", "b1", Status.DOWN, "connection refused")
UP = HealthChanged("web", "b1", Status.UP, "")
HELD = MovesHeldBack("web", Protocol.TCP)
NOW = 1_700_000_000.5


def changed(revision: int, objects: int = 1) -> ConfigChanged:
    """A change of this many objects."""
    return ConfigChanged(revision, "root", (Difference(Action.ADDED, "vips/web"),) * objects)


class Daemon:
    """A hub whose view is counted."""

    def __init__(self, revision: int = 17) -> None:
        self.revision = revision
        self.hub = EventHub(lambda: NOW, lambda: View(self.revision, Config(), {}))
        self.hub.begin(revision)

    def emit(self, *bodies: Body) -> None:
        """Events, one after the other."""
        for body in bodies:
            if isinstance(body, ConfigChanged):
                self.revision = body.revision
            self.hub.emit(body)


async def read(subscription: Subscription, count: int) -> list[Event]:
    """That many events, all of which must be there already."""
    async with asyncio.timeout(10):
        return [await subscription.next() for _ in range(count)]


async def test_everybody_hears_everything_from_when_they_came() -> None:
    daemon = Daemon()
    daemon.emit(DOWN)
    first = daemon.hub.subscribe()
    daemon.emit(UP)
    second = daemon.hub.subscribe()
    daemon.emit(HELD)
    assert [event.body for event in await read(first, 2)] == [UP, HELD]
    assert [event.body for event in await read(second, 1)] == [HELD]


async def test_an_event_has_its_time_and_the_revision_in_force() -> None:
    daemon = Daemon()
    subscription = daemon.hub.subscribe()
    daemon.emit(DOWN, changed(18), UP)
    assert await read(subscription, 3) == [Event(NOW, 17, DOWN), Event(NOW, 18, changed(18)), Event(NOW, 18, UP)]


async def test_a_snapshot_is_what_was_so_before_the_first_event() -> None:
    daemon = Daemon()
    subscription = daemon.hub.subscribe()
    daemon.emit(changed(18))
    assert subscription.snapshot is not None
    assert subscription.snapshot.revision == 17


async def test_who_goes_on_from_a_revision_gets_what_came_since_and_no_snapshot() -> None:
    daemon = Daemon()
    daemon.emit(DOWN, changed(18), UP, changed(19), HELD)
    subscription = daemon.hub.subscribe(18)
    daemon.emit(DOWN)
    assert subscription.snapshot is None
    assert [event.body for event in await read(subscription, 4)] == [UP, changed(19), HELD, DOWN]


async def test_a_reader_that_waits_is_woken() -> None:
    daemon = Daemon()
    reading = asyncio.ensure_future(read(daemon.hub.subscribe(), 1))
    await asyncio.sleep(0)
    daemon.emit(DOWN)
    assert [event.body for event in await reading] == [DOWN]


@pytest.mark.parametrize(("revision", "words"), [(20, "is not in force yet, 19 is"), (17, "are no longer kept")])
async def test_revisions_that_cannot_be_gone_on_from(revision: int, words: str) -> None:
    """17 was in force when lbd started: what happened under it before is not known, so nobody may think it is."""
    daemon = Daemon()
    daemon.emit(changed(18), changed(19))
    with pytest.raises(GoneError, match=words):
        daemon.hub.subscribe(revision)


async def test_past_events_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go, and who asks for them is told so instead of getting a stream with a hole."""
    monkeypatch.setattr(events, "MAX_PAST", 4)
    daemon = Daemon()
    daemon.emit(changed(18), DOWN, UP, changed(19))
    assert len(await read(daemon.hub.subscribe(18), 3)) == 3
    daemon.emit(HELD)  # The change to 18 goes; what came since is all there.
    assert len(await read(daemon.hub.subscribe(18), 4)) == 4
    daemon.emit(HELD)  # DOWN goes.
    with pytest.raises(GoneError):
        daemon.hub.subscribe(18)
    assert len(await read(daemon.hub.subscribe(19), 2)) == 2


async def test_a_large_change_takes_the_room_of_all_its_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand changes of ten thousand objects each would take all memory."""
    monkeypatch.setattr(events, "MAX_PAST", 4)
    daemon = Daemon()
    daemon.emit(changed(18), changed(19, objects=5), DOWN)
    with pytest.raises(GoneError):
        daemon.hub.subscribe(18)
    assert [event.body for event in await read(daemon.hub.subscribe(19), 1)] == [DOWN]


async def test_a_slow_reader_is_told_to_list_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs a bounded amount of memory, and hurts nobody else."""
    monkeypatch.setattr(events, "MAX_QUEUED", 3)
    daemon = Daemon()
    slow, quick = daemon.hub.subscribe(), daemon.hub.subscribe()
    for _ in range(4):
        daemon.emit(DOWN)
        await read(quick, 1)
    with pytest.raises(LimitError, match=r"too slow.*list again"):
        await slow.next()
    daemon.emit(UP)
    with pytest.raises(LimitError):
        await slow.next()
    assert [event.body for event in await read(quick, 1)] == [UP]


async def test_reading_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_QUEUED", 3)
    daemon = Daemon()
    subscription = daemon.hub.subscribe()
    for _ in range(5):
        daemon.emit(changed(18), changed(19, objects=2))
        await read(subscription, 2)


async def test_a_single_change_of_any_size_overwhelms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_QUEUED", 3)
    daemon = Daemon()
    subscription = daemon.hub.subscribe()
    daemon.emit(changed(18, objects=50))
    assert [event.revision for event in await read(subscription, 1)] == [18]


async def test_what_is_replayed_does_not_count_against_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_QUEUED", 3)
    daemon = Daemon()
    daemon.emit(changed(18), *[DOWN] * 10)
    subscription = daemon.hub.subscribe(18)
    daemon.emit(*[UP] * 3)
    assert len(await read(subscription, 13)) == 13


async def test_subscriptions_are_bounded_and_closing_one_makes_room() -> None:
    daemon = Daemon()
    subscriptions = [daemon.hub.subscribe() for _ in range(events.MAX_SUBSCRIPTIONS)]
    with pytest.raises(LimitError, match=f"{events.MAX_SUBSCRIPTIONS} watches are open already: end one first"):
        daemon.hub.subscribe()
    subscriptions[0].close()
    subscriptions[0].close()
    daemon.hub.subscribe()


async def test_closing_ends_a_reader_that_waits() -> None:
    """Else a daemon that stops would wait for those who watch it."""
    subscription = Daemon().hub.subscribe()
    reading = asyncio.ensure_future(subscription.next())
    await asyncio.sleep(0)
    subscription.close()
    with pytest.raises(UnavailableError, match="lbd, which stops: watch again when it is back"):
        await reading
