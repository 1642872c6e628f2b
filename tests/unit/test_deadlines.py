# SPDX-License-Identifier: Apache-2.0
"""Deadlines of drains: who is cut, who is not any more, and what is said of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from fakes.daemon import Daemon, backend, config, daemon, until

from lb.core import edit
from lb.core.audit import DAEMON
from lb.core.events import DrainProgressed
from lb.core.model import AdminState, Config
from lb.daemon import flow_keeper, reconciler, upkeep
from lb.ports import Change

PAST, FUTURE = 1, 1 << 33


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds follow each other at once; scans come at start, and when they are forced."""
    monkeypatch.setattr(upkeep, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(upkeep, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(reconciler, "SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(flow_keeper, "SCAN_SECONDS", 3600)


def drain(deadline: int, *numbers: int) -> Change:
    """An edit that drains backends."""

    def change(config: Config) -> Config:
        for number in numbers:
            drained = replace(backend(number), admin_state=AdminState.DRAINING, drain_deadline=deadline)
            config = edit.put_backend(config, "web", drained)
        return config

    return change


def enable(config: Config) -> Config:
    """An edit that ends the drain of b2."""
    return edit.put_backend(config, "web", backend(2))


def cut(made: Daemon) -> list[str]:
    """Backends of which it was said that their deadline has come."""
    return [said.backend for said in made.said if isinstance(said, DrainProgressed) and said.done == "deadline"]


def state(made: Daemon, name: str) -> AdminState:
    return made.reconciler.view().config.pools["web"].backends[name].admin_state


@asynccontextmanager
async def at_the_deadline() -> AsyncIterator[Daemon]:
    """The deadline of b2 has come, and its flows are being counted."""
    async with daemon(config(1, 2, 3)) as made:
        flows = made.data_plane.flows
        await until(lambda: flows.collections > 0)
        flows.may_read.clear()
        flows.reading.clear()
        await made.controller.mutate(drain(PAST, 2), DAEMON)
        await until(flows.reading.is_set)
        yield made


async def go_on(made: Daemon) -> None:
    """The count ends, and a few rounds pass."""
    made.data_plane.flows.may_read.set()
    rounds = made.data_plane.flows.rounds
    await until(lambda: made.data_plane.flows.rounds > rounds + 5)


async def test_a_drain_that_was_ended_at_the_last_moment_cuts_nobody() -> None:
    async with at_the_deadline() as made:
        await made.controller.mutate(enable, DAEMON)
        await go_on(made)
        assert state(made, "b2") is AdminState.ENABLED
        assert cut(made) == []
        assert made.reconciler.view().backends["web", "b2"].drain is None


async def test_a_deadline_that_was_put_off_at_the_last_moment_cuts_nobody() -> None:
    async with at_the_deadline() as made:
        await made.controller.mutate(drain(FUTURE, 2), DAEMON)
        await go_on(made)
        assert state(made, "b2") is AdminState.DRAINING
        assert cut(made) == []


async def test_a_deadline_that_cannot_be_stored_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """A full disk; the data plane never does what the store does not know."""
    async with at_the_deadline() as made:
        made.store.failure = "disk full"
        made.data_plane.flows.may_read.set()
        await until(lambda: "web/b2: can't be disabled at the deadline of the drain: disk full" in caplog.text)
        assert state(made, "b2") is AdminState.DRAINING
        assert cut(made) == []
        made.store.failure = ""
        await until(lambda: cut(made) == ["b2"])
        assert state(made, "b2") is AdminState.DISABLED


async def test_a_deadline_that_cannot_be_stored_is_not_tried_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try scans the whole flow table."""
    monkeypatch.setattr(upkeep, "RETRY_SECONDS", 3600)
    async with at_the_deadline() as made:
        made.store.failure = "disk full"
        collections = made.data_plane.flows.collections
        await go_on(made)
        assert made.data_plane.flows.collections == collections + 1


async def test_deadlines_that_come_together_are_one_change() -> None:
    """However many there are: each change takes a fence, and none may wait for all those before it."""
    async with daemon(config(1, 2, 3, 4)) as made:
        await made.controller.mutate(drain(PAST, 2, 3), DAEMON)
        await until(lambda: cut(made) == ["b2", "b3"])
        assert [state(made, f"b{i}") for i in (1, 2, 3, 4)] == [
            AdminState.ENABLED,
            AdminState.DISABLED,
            AdminState.DISABLED,
            AdminState.ENABLED,
        ]
        record = made.store.history(0, 1)[0]
        assert (record.revision, record.note) == (3, "drain deadline of web/b2, web/b3")
