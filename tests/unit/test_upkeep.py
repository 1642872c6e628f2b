# SPDX-License-Identifier: Apache-2.0
"""What goes on by itself must go on whatever happens: after a refusal of the kernel, and beside all that changes."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace

import pytest
from fakes.daemon import VIP, Daemon, add, config, daemon, until
from fakes.data_plane import FakeDataPlane

from lb.core import edit
from lb.core.audit import DAEMON
from lb.core.errors import UnavailableError
from lb.core.flows import Entry
from lb.core.model import Config, Pool
from lb.core.operations import WriteSlots
from lb.core.slots import Life, moving, stable
from lb.daemon import flow_keeper, map_writer, reconciler, upkeep


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds follow each other at once; nothing waits for a second."""
    monkeypatch.setattr(upkeep, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(reconciler, "SETTLE_SECONDS", 0.05)


def set_clock(monkeypatch: pytest.MonkeyPatch, now: int) -> None:
    """What CLOCK_MONOTONIC says from now on."""
    for module in (reconciler, upkeep, map_writer):
        monkeypatch.setattr(module, "now", lambda: now)


def track(made: Daemon, *, epoch: int, backend: int = 1, ring: int = 0, key: bytes = b"k" * 24) -> None:
    """A flow of the VIP has an entry, just seen."""
    made.data_plane.flows.entries[key] = Entry(
        key, 1, epoch, backend, Life.ESTABLISHED, map_writer.now() + 3600, 5, ring
    )


async def rounds(made: Daemon, number: int) -> None:
    """So many rounds of upkeep pass."""
    before = made.data_plane.flows.rounds
    await until(lambda: made.data_plane.flows.rounds >= before + number)


async def test_scans_go_on_after_the_kernel_refused_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """What slots say is not known until they are written again: nobody may fall over that for good.

    Else no move would ever end any more, and the flow table would fill up.
    """
    monkeypatch.setattr(flow_keeper, "SCAN_SECONDS", 0)
    async with daemon(config(1)) as made:
        made.data_plane.refuse_at = 1
        with pytest.raises(UnavailableError):
            await made.controller.mutate(add(2), DAEMON)
        await rounds(made, 10)
        made.data_plane.refuse_at = None
        await until(lambda: not made.reconciler.failure)
        track(made, epoch=-1)
        await until(lambda: made.data_plane.flows.entries == {})


async def test_a_loop_that_ends_by_itself_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in upkeep ends lbd, and systemd starts it anew; a daemon that says ready and does nothing is worse."""
    async with daemon(config(1)) as made:

        def fail() -> None:
            raise KeyError("a bug")

        monkeypatch.setattr(made.data_plane.flows, "counts", fail)
        with pytest.raises(KeyError, match="a bug"):
            await asyncio.wait_for(made.reconciler.crash(), 5)


async def test_stopping_is_no_crash() -> None:
    async with daemon(config(1)) as made:
        watch = asyncio.create_task(made.reconciler.crash())
        await made.reconciler.stop()
        await asyncio.wait_for(watch, 5)


async def test_an_entry_that_is_made_during_a_scan_is_not_collected() -> None:
    """A backend that begins to accept meanwhile has flows at once; without their entries they would be torn apart."""
    async with daemon(config(1)) as made:
        flows = made.data_plane.flows
        flows.may_read.clear()
        await until(flows.reading.is_set)
        await made.controller.mutate(add(2), DAEMON)
        track(made, epoch=made.data_plane.epochs()[2], backend=2)
        flows.may_read.set()
        await until(lambda: flows.collections > 0)
        assert len(flows.entries) == 1


async def test_entries_of_a_pool_that_a_vip_has_left_are_collected() -> None:
    """Blue gives way to green each week: its flows must not fill the table for as long as the VIP lives."""

    def to_green(config: Config) -> Config:
        green = Pool("green", backends=config.pools["web"].backends)
        return edit.put_vip(edit.put_pool(config, green), replace(VIP, pool="green"))

    async with daemon(config(1)) as made:
        await made.controller.mutate(to_green, DAEMON)
        flows = made.data_plane.flows
        track(made, epoch=1, ring=0)
        track(made, epoch=made.data_plane.epochs()[2], backend=2, ring=1, key=b"g" * 24)
        flows.counted = replace(flows.counted, inserted_syn=2)
        await until(lambda: set(flows.entries) == {b"g" * 24})


async def test_what_an_old_scan_found_raises_no_settle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries have expired since, which a longer time would bring back to life (I4)."""

    def longer(config: Config) -> Config:
        return edit.put_pool(config, replace(config.pools["web"], settle_seconds=7500))

    monkeypatch.setattr(flow_keeper, "SCAN_SECONDS", 3600)
    began = map_writer.now()
    async with daemon(config(1, settle_seconds=100)) as made:
        flows = made.data_plane.flows
        await until(lambda: flows.collections > 0)
        await rounds(made, 3)
        set_clock(monkeypatch, began + 1000)
        await made.controller.mutate(longer, DAEMON)
        await rounds(made, 3)
        assert flows.settle_seconds(0) == 100


async def test_a_hold_ends_though_the_fence_before_its_end_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """New flows of the ring would be dropped whenever they can't be tracked."""
    set_clock(monkeypatch, 1000)
    async with daemon(config(1)) as made:
        await made.controller.mutate(add(2), DAEMON)
        calls, fence = made.data_plane.calls, made.data_plane.fence
        calls.clear()

        def refuse_once() -> None:
            if isinstance(calls[-1], WriteSlots):
                monkeypatch.setattr(made.data_plane, "fence", fence)
                raise OSError(errno.ENOMEM, "Cannot allocate memory")
            fence()

        monkeypatch.setattr(made.data_plane, "fence", refuse_once)
        set_clock(monkeypatch, 8502)
        await until(lambda: "let go 0" in calls)
        assert made.data_plane.fence == fence
        assert calls.index("hold 0") < next(i for i, call in enumerate(calls) if isinstance(call, WriteSlots))


async def test_a_batch_that_fails_by_a_bug_is_written_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The store is ahead of the maps then, as after a refusal of the kernel; the next change must not undo it."""
    async with daemon(config(1)) as made:

        def fail(_operations: object) -> None:
            raise ValueError("does not fit")

        with monkeypatch.context() as failing:
            failing.setattr(made.data_plane, "apply", fail)
            with pytest.raises(UnavailableError, match=r"internal error: .*does not fit.*the change is stored"):
                await made.controller.mutate(add(2), DAEMON)
            assert made.reconciler.view().revision == made.store.load().revision == 2
            assert "Traceback" in caplog.text
            assert not (await made.controller.state()).ready
        await until(lambda: set(FakeDataPlane.slots(made.data_plane, 0)) == {stable(1), moving(2, 1)})
        view = await made.controller.mutate(add(3), DAEMON)
        assert set(view.config.pools["web"].backends) == {"b1", "b2", "b3"}


async def test_a_batch_that_meets_a_map_of_another_layout_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with daemon(config(1)) as made:

        def refuse(_operations: object) -> None:
            raise UnavailableError("maps/ring_1 is not the map that lbd pinned there")

        with monkeypatch.context() as refusing:
            refusing.setattr(made.data_plane, "apply", refuse)
            with pytest.raises(UnavailableError, match="not the map that lbd pinned there; the change is stored"):
                await made.controller.mutate(add(2), DAEMON)
        await until(lambda: made.data_plane.epochs()[2] == 1)
        assert not made.reconciler.failure
