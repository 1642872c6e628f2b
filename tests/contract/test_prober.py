# SPDX-License-Identifier: Apache-2.0
"""What every ``Prober`` does: the fake, and the real one with a process of its own and services on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from e2e.next_hops_lab import until
from fakes.prober import FakeProber
from unit.probe_lab import refusing_port, silent_port, target

from lb.core.checks import CheckKind, Outcome, Target
from lb.core.model import Address
from lb.ports import Prober
from lb.probe.prober import ProcessProber

INTERVAL_MS = 100
SELDOM_MS = 3_600_000


class World:
    """Backends: ``fine`` passes, ``closed`` refuses. ``outcomes``: what was told."""

    def __init__(self, prober: Prober, fine_port: int, closed_port: int) -> None:
        self.prober = prober
        self.fine, self.closed = (
            target(CheckKind.TCP, port, interval_ms=INTERVAL_MS) for port in (fine_port, closed_port)
        )
        self.outcomes: list[tuple[Target, Outcome]] = []
        prober.on_outcome(lambda target, outcome: self.outcomes.append((target, outcome)))

    def of(self, asked: Target) -> list[Outcome]:
        """Of one target, in order."""
        return [outcome for target, outcome in self.outcomes if target == asked]


@contextlib.asynccontextmanager
async def _fake() -> AsyncIterator[World]:
    prober = FakeProber()
    world = World(prober, 1, 2)
    closed: tuple[Address, int] = world.closed.address, world.closed.port
    prober.errors[closed] = "connection refused: is the service running?"
    yield world


@contextlib.asynccontextmanager
async def _process() -> AsyncIterator[World]:
    with silent_port() as fine, refusing_port() as closed:
        yield World(ProcessProber(), fine, closed)


@pytest.fixture(params=[_fake, _process], ids=["fake", "process"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Its prober is not started yet."""
    make: Callable[[], contextlib.AbstractAsyncContextManager[World]] = request.param
    async with make() as made:
        try:
            yield made
        finally:
            await made.prober.stop()


async def test_what_is_watched_is_probed_again_and_again(world: World) -> None:
    """And told in the loop, with times of the loop's clock."""
    loops: set[asyncio.AbstractEventLoop] = set()
    world.prober.on_outcome(lambda *_: loops.add(asyncio.get_running_loop()))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await world.prober.start()
    world.prober.watch([world.fine])
    await until(lambda: len(world.of(world.fine)) >= 3)
    assert loops == {loop}
    for outcome in world.of(world.fine):
        assert outcome.error == ""
        assert began <= outcome.started_at <= outcome.ended_at <= loop.time()


async def test_what_is_wrong_is_said_in_words(world: World) -> None:
    await world.prober.start()
    world.prober.watch([world.fine, world.closed])
    await until(lambda: world.of(world.fine) and world.of(world.closed))
    assert {outcome.error for outcome in world.of(world.closed)} == {"connection refused: is the service running?"}


async def test_it_may_be_told_what_to_watch_before_it_starts(world: World) -> None:
    world.prober.watch([world.fine])
    await world.prober.start()
    await until(lambda: world.of(world.fine))


async def test_what_is_not_watched_any_more_is_not_told(world: World) -> None:
    """Its backend may be gone from the configuration."""
    await world.prober.start()
    world.prober.watch([world.fine, world.closed])
    await until(lambda: world.of(world.closed))
    world.prober.watch([world.fine])
    known = len(world.of(world.closed))
    seen = len(world.of(world.fine))
    await until(lambda: len(world.of(world.fine)) >= seen + 3)
    assert len(world.of(world.closed)) == known


async def test_equal_targets_are_one(world: World) -> None:
    """Two pools that ask the same of a backend cost one probe; none begins before the last one has ended."""
    await world.prober.start()
    world.prober.watch([world.fine, replace(world.fine)])
    await until(lambda: len(world.of(world.fine)) >= 4)
    assert all(before.ended_at < after.started_at for before, after in pairwise(world.of(world.fine)))


async def test_targets_that_stay_keep_their_schedule(world: World) -> None:
    """However often the configuration changes: one that is due in an hour is not probed at each change."""
    seldom = replace(world.fine, check=replace(world.fine.check, interval_ms=SELDOM_MS))
    await world.prober.start()
    world.prober.watch([seldom])
    await until(lambda: world.of(seldom))
    for round_number in range(3):
        world.prober.watch([seldom, world.fine] if round_number % 2 == 0 else [seldom, world.closed])
        await until(lambda: len(world.outcomes) >= 3 * (round_number + 1))  # noqa: B023 - awaited at once
    assert len(world.of(seldom)) == 1


async def test_a_target_that_comes_back_is_a_new_one(world: World) -> None:
    """It is probed soon, whenever it was probed before."""
    seldom = replace(world.fine, check=replace(world.fine.check, interval_ms=SELDOM_MS))
    await world.prober.start()
    for count in (1, 2):
        world.prober.watch([seldom])
        await until(lambda: len(world.of(seldom)) == count)  # noqa: B023 - awaited at once
        world.prober.watch([])
        await asyncio.sleep(0)


async def test_stop_ends_the_outcomes_and_may_come_twice(world: World) -> None:
    await world.prober.start()
    world.prober.watch([world.fine])
    await until(lambda: world.of(world.fine))
    await world.prober.stop()
    known = len(world.outcomes)
    world.prober.watch([world.fine, world.closed])
    await world.prober.stop()
    assert len(world.outcomes) == known


async def test_stop_without_a_start_is_fine(world: World) -> None:
    """As when the daemon fails to start for another reason."""
    await world.prober.stop()
