# SPDX-License-Identifier: Apache-2.0
"""The loop that writes the maps: what it writes when, and what is left when something fails."""

from __future__ import annotations

import asyncio
import errno
import logging
from dataclasses import replace
from ipaddress import ip_address

import pytest
from fakes.daemon import VIP, Daemon, add, backend, config, daemon, until
from fakes.data_plane import FakeDataPlane
from fakes.next_hops import hop_to

from lb.core import edit
from lb.core.audit import DAEMON
from lb.core.errors import LbError, UnavailableError
from lb.core.flows import Entry
from lb.core.model import AdminState, Config, Unresolved
from lb.core.operations import SetEpoch, SwapVips, WriteSlots
from lb.core.slots import Kind, Life, moving, stable, tracked
from lb.daemon import flow_keeper, map_writer, reconciler, upkeep
from lb.ports import Change


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds follow each other at once; nothing waits for a second."""
    monkeypatch.setattr(upkeep, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(reconciler, "SETTLE_SECONDS", 0.05)


def set_clock(monkeypatch: pytest.MonkeyPatch, now: int) -> None:
    """What CLOCK_MONOTONIC says from now on."""
    monkeypatch.setattr(reconciler, "now", lambda: now)
    monkeypatch.setattr(upkeep, "now", lambda: now)
    monkeypatch.setattr(map_writer, "now", lambda: now)


# -- start and stop


async def test_start_loads_the_program_then_writes_the_maps_then_attaches() -> None:
    """A program never runs on maps that are not complete, and one that does not compile changes nothing."""
    async with daemon(config(1)) as made:
        calls = made.data_plane.calls
        assert sorted(calls[:2]) == ["commit", "load"]
        attach, swap = calls.index("attach"), next(i for i, call in enumerate(calls) if isinstance(call, SwapVips))
        assert 1 < swap < attach
        assert not any(isinstance(call, WriteSlots | SetEpoch | SwapVips) for call in calls[attach:])
        assert made.data_plane.flows.budget[0] > 0
        assert (await made.controller.state()).ready


async def test_a_program_that_does_not_load_leaves_the_maps_as_they_are() -> None:
    """The data plane that was there goes on as it was."""
    made = Daemon(config(1))
    await made.next_hops.start()
    made.data_plane.load_failure = "no compiler"
    with pytest.raises(UnavailableError, match="no compiler"):
        await made.reconciler.start(lambda stored: stored, DAEMON)
    assert sorted(made.data_plane.calls) == ["commit", "load"]
    assert made.data_plane.entries == {}


async def test_a_store_that_does_not_take_the_configuration_file_stops_the_start() -> None:
    """What is not stored is not written."""
    made = Daemon(config())
    await made.next_hops.start()
    made.store.failure = "disk full"
    with pytest.raises(UnavailableError, match="disk full"):
        await made.reconciler.start(add(1), DAEMON)
    assert made.data_plane.calls == ["load"]


async def test_a_restart_stores_nothing_and_moves_no_slot() -> None:
    """Same configuration, same numbers: the maps are as they were left."""
    async with daemon(config(1, 2)) as before:
        words = FakeDataPlane.slots(before.data_plane, 0)
    again = Daemon(config())
    again.store, again.data_plane = before.store, before.data_plane
    before.data_plane.calls.clear()
    again.connect()
    await again.next_hops.start()
    await again.reconciler.start(lambda stored: stored, DAEMON)
    calls = before.data_plane.calls
    assert "commit" not in calls
    assert not any(isinstance(call, WriteSlots | SetEpoch) for call in calls)
    assert FakeDataPlane.slots(before.data_plane, 0) == words
    assert again.reconciler.view().revision == 1
    await again.reconciler.stop()


async def test_a_restart_lets_go_of_a_hold_after_a_fence_and_takes_refusals_for_recent() -> None:
    """The daemon before may have died while a move ended."""
    async with daemon(config(1)) as made:
        calls = made.data_plane.calls
        let_go = calls.index("let go 0")
        assert any(call == "fence" for call in calls[calls.index("load") : let_go])
        assert calls[let_go:].index("attach") > 0
    made.data_plane.flows.mark_refused(0, 0)
    made.connect()
    await made.next_hops.start()
    await made.reconciler.start(lambda stored: stored, DAEMON)
    assert made.data_plane.flows.refused_at(0) > 0
    await made.reconciler.stop()


async def test_a_store_that_was_lost_does_not_empty_a_data_plane_that_forwards() -> None:
    """A mistyped --state-dir would stop all traffic; with a configuration file, the start is what it always is."""
    async with daemon(config(1)) as before:
        vips = before.data_plane.vips
    again = Daemon(Config())
    again.data_plane = before.data_plane
    again.connect()
    await again.next_hops.start()
    with pytest.raises(UnavailableError, match=r"forwards for VIPs.*--state-dir.*--config.*lbctl detach"):
        await again.reconciler.start(lambda stored: stored, DAEMON)
    assert before.data_plane.vips == vips
    await again.reconciler.start(lambda _stored: config(1), DAEMON)
    await again.reconciler.stop()


async def test_the_hash_key_is_made_once() -> None:
    """A new one would move every flow."""
    async with daemon(Config()) as made:
        key = made.reconciler.view().config.settings.hash_key
        assert any(key)
        assert made.store.load().config.settings.hash_key == key


async def test_stop_leaves_the_data_plane_as_it_is() -> None:
    """It goes on forwarding."""
    async with daemon(config(1)) as made:
        await made.reconciler.stop()
        calls = len(made.data_plane.calls)
        words = FakeDataPlane.slots(made.data_plane, 0)
    assert len(made.data_plane.calls) == calls
    assert set(words) == {stable(1)}


async def test_stop_waits_for_the_batch_under_way() -> None:
    """The maps are closed right after it."""
    async with daemon(config(1)) as made:
        made.data_plane.may_apply.clear()
        made.data_plane.applying.clear()
        edit_task = asyncio.create_task(made.controller.mutate(add(2), DAEMON))
        await until(made.data_plane.applying.is_set)
        stopping = asyncio.create_task(made.reconciler.stop())
        done, _ = await asyncio.wait([stopping], timeout=0.05)
        assert not done
        made.data_plane.may_apply.set()
        await stopping
        assert 2 in made.data_plane.entries
        await edit_task


async def test_stop_is_not_missed_when_a_next_hop_changes_at_that_moment() -> None:
    """It would wait for ever."""
    async with daemon(config(1)) as made:
        await until(lambda: not made.reconciler._maps.lock.locked())
        made.reconciler._upkeep.wake()
        await asyncio.wait_for(made.reconciler.stop(), 5)


# -- edits


async def test_an_edit_is_stored_then_written_and_then_answered() -> None:
    """The answer means: packets are treated so from now on."""
    async with daemon(config(1)) as made:
        made.data_plane.calls.clear()
        view = await made.controller.mutate(add(2), DAEMON)
        assert view.revision == 2
        assert view.backends["web", "b2"].slots > 0
        assert set(made.data_plane.entries) == {1, 2}
        assert [call for call in made.data_plane.calls if isinstance(call, str)][:2] == ["fence", "commit"]
        assert made.kinds() == {Kind.STABLE, Kind.MOVING}


async def test_an_edit_that_changes_nothing_costs_nothing() -> None:
    """No revision, no write."""
    async with daemon(config(1)) as made:
        made.data_plane.calls.clear()
        view = await made.controller.mutate(replace, DAEMON)
        assert view.revision == 1
        assert made.data_plane.calls == []


async def test_an_edit_that_the_store_does_not_take_leaves_everything_as_it_was() -> None:
    """Maps, configuration, revision and the addresses that are watched; it works once the store does."""
    async with daemon(config(1)) as made:
        before = made.reconciler.view()
        made.store.failure = "disk full"
        made.data_plane.calls.clear()
        with pytest.raises(UnavailableError, match="disk full"):
            await made.controller.mutate(add(2), DAEMON)
        assert made.reconciler.view() == before
        assert made.next_hops.tracked == {backend(1).address}
        assert set(made.data_plane.calls) <= {"fence"}
        assert set(made.data_plane.entries) == {1}
        made.store.failure = ""
        assert (await made.controller.mutate(add(2), DAEMON)).revision == before.revision + 1


@pytest.mark.parametrize(
    "change",
    [
        lambda config: edit.delete_pool(config, "web"),
        lambda config: edit.create_vip(config, replace(VIP, name="own", address=ip_address("192.0.2.254"))),
    ],
)
async def test_an_edit_that_is_refused_changes_nothing(change: Change) -> None:
    """A pool in use; a VIP that is an address of the box."""
    async with daemon(config(1)) as made:
        made.next_hops.set_local([ip_address("192.0.2.254")])
        before = made.reconciler.view()
        made.data_plane.calls.clear()
        with pytest.raises(LbError):
            await made.controller.mutate(change, DAEMON)
        assert made.reconciler.view() == before
        assert made.data_plane.calls == []
        assert made.next_hops.tracked == {backend(1).address}


async def test_validate_only_says_what_would_be_and_changes_nothing() -> None:
    """Neither store, maps nor view; the addresses that it looked up are forgotten."""
    async with daemon(config(1)) as made:
        before = made.reconciler.view()
        made.data_plane.calls.clear()
        view = await made.controller.mutate(add(2), DAEMON, validate_only=True)
        assert view.backends["web", "b2"].slots > 0
        assert view.rings["web"][0].moving == view.backends["web", "b2"].slots
        assert made.reconciler.view() == before
        assert set(made.data_plane.calls) <= {"fence"}
        assert made.next_hops.tracked == {backend(1).address}
        assert made.store.load().revision == 1


async def test_a_caller_that_hangs_up_leaves_no_edit_half_applied() -> None:
    """It is carried through behind its back: store, maps and view agree."""
    async with daemon(config(1)) as made:
        made.data_plane.may_apply.clear()
        made.data_plane.applying.clear()
        caller = asyncio.create_task(made.controller.mutate(add(2), DAEMON))
        await until(made.data_plane.applying.is_set)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        made.data_plane.may_apply.set()
        await until(lambda: made.reconciler.view().revision == 2)
        assert set(made.data_plane.entries) == {1, 2}
        assert "b2" in made.store.load().config.pools["web"].backends
        assert made.next_hops.tracked == {backend(1).address, backend(2).address}


async def test_edits_wait_for_each_other() -> None:
    """Each sees what the one before has made."""
    async with daemon(config(1)) as made:
        await asyncio.gather(*(made.controller.mutate(add(i), DAEMON) for i in (2, 3, 4)))
        assert set(made.reconciler.view().config.pools["web"].backends) == {"b1", "b2", "b3", "b4"}
        assert made.reconciler.view().revision == 4


async def test_a_fence_separates_batches() -> None:
    """What the planner reads was not written since (I6); the recorder checks every read."""
    async with daemon(config(1)) as made:
        made.data_plane.calls.clear()
        await made.controller.mutate(add(2), DAEMON)
        await made.controller.mutate(add(3), DAEMON)
        calls = made.data_plane.calls
        commits = [i for i, call in enumerate(calls) if call == "commit"]
        assert "fence" in calls[commits[0] + 1 : commits[1]]


# -- the kernel refuses


async def test_what_the_kernel_refuses_is_said_and_written_in_a_later_round() -> None:
    """The edit is stored; until the maps follow, the daemon is not ready and says why."""
    async with daemon(config(1)) as made:
        made.data_plane.refuse_at = 1
        with pytest.raises(UnavailableError, match=r"Cannot allocate memory; the change is stored"):
            await made.controller.mutate(add(2), DAEMON)
        state = await made.controller.state()
        assert not state.ready
        assert "the maps are behind the configuration" in state.reason
        assert made.store.load().revision == 2
        made.data_plane.refuse_at = None
        await until(lambda: 2 in made.data_plane.entries and made.kinds() == {Kind.STABLE, Kind.MOVING})
        await until(lambda: not made.reconciler.failure)
        assert (await made.controller.state()).ready


async def test_an_edit_while_the_kernel_refuses_is_refused_and_not_stored() -> None:
    """Nothing is piled upon a batch that was cut short."""
    async with daemon(config(1)) as made:
        made.data_plane.refuse_at = 0
        with pytest.raises(UnavailableError):
            await made.controller.mutate(add(2), DAEMON)
        with pytest.raises(UnavailableError, match=r"Cannot allocate memory$"):
            await made.controller.mutate(add(3), DAEMON)
        assert made.store.load().revision == 2
        assert "b3" not in made.reconciler.view().config.pools["web"].backends
        made.data_plane.refuse_at = None
        await made.controller.mutate(add(3), DAEMON)
        assert set(made.data_plane.entries) == {1, 2, 3}


async def test_the_remains_of_a_batch_are_cleared_away_before_any_epoch_changes() -> None:
    """A slot may still name a backend that stopped accepting, and flows have gone on: it must not be found back."""
    async with daemon(config(1)) as made:
        await made.controller.mutate(add(2), DAEMON)
        made.data_plane.refuse_at = 1
        disabled = replace(backend(1), admin_state=AdminState.DISABLED)
        with pytest.raises(UnavailableError):
            await made.controller.mutate(lambda config: edit.put_backend(config, "web", disabled), DAEMON)
        assert made.data_plane.epochs()[1] == 2
        made.data_plane.calls.clear()
        made.data_plane.refuse_at = None
        await made.controller.mutate(lambda config: edit.put_backend(config, "web", backend(1)), DAEMON)
        calls = made.data_plane.calls
        cleared = next(i for i, call in enumerate(calls) if isinstance(call, WriteSlots))
        back = calls.index(SetEpoch(1, 3))
        assert cleared < back
        assert "fence" in calls[cleared:back]
        assert moving(2, 1) not in FakeDataPlane.slots(made.data_plane, 0)


# -- next hops


async def test_a_changed_next_hop_is_written() -> None:
    """A gateway fails over: its new MAC is in the maps with the next round."""
    async with daemon(config(1)) as made:
        new = replace(hop_to(backend(1).address), mac=b"\x02\x00\x00\x00\x00\x09")
        made.next_hops.set(backend(1).address, new)
        await until(lambda: made.data_plane.entries[1].mac == new.mac)
        await until(lambda: made.reconciler.view().backends["web", "b1"].hop == new)


async def test_a_backend_enters_the_ring_when_its_next_hop_is_found() -> None:
    """Until then the answer says why it is outside."""
    async with daemon(config(1)) as made:
        made.next_hops.set(backend(2).address, None)
        view = await made.controller.mutate(add(2), DAEMON)
        assert view.backends["web", "b2"].slots == 0
        assert "no route" in view.backends["web", "b2"].reason
        made.next_hops.set(backend(2).address, hop_to(backend(2).address))
        await until(lambda: made.reconciler.view().backends["web", "b2"].slots > 0)
        made.next_hops.set(backend(2).address, Unresolved("gone"))
        await until(lambda: made.reconciler.view().backends["web", "b2"].reason == "gone")
        assert made.data_plane.epochs()[2] == 1


# -- time and scans


async def test_moves_end_between_a_hold_with_a_fence_and_a_fence_with_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that is refused between the look and the store would have no entry that says where it went."""
    set_clock(monkeypatch, 1000)
    async with daemon(config(1)) as made:
        await made.controller.mutate(add(2), DAEMON)
        made.data_plane.calls.clear()
        set_clock(monkeypatch, 8502)
        await until(lambda: "let go 0" in made.data_plane.calls)
        calls = [call if isinstance(call, str) else type(call).__name__ for call in made.data_plane.calls]
        assert calls[:5] == ["hold 0", "fence", "WriteSlots", "fence", "let go 0"]


async def test_a_refusal_puts_the_end_of_moves_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some flow has no entry: it needs a whole limit to come again. The operator is told once, after twice the time."""
    set_clock(monkeypatch, 1000)
    async with daemon(config(1)) as made:
        await made.controller.mutate(add(2), DAEMON)
        made.data_plane.flows.mark_refused(0, 20_000)
        made.data_plane.calls.clear()
        set_clock(monkeypatch, 20_001)
        rounds = made.data_plane.flows.rounds
        await until(lambda: made.data_plane.flows.rounds > rounds + 3)
        assert "hold 0" not in made.data_plane.calls
        assert made.reconciler.view().rings["web"][0].held_back
        set_clock(monkeypatch, 27_502)
        await until(lambda: "let go 0" in made.data_plane.calls)


async def test_moves_whose_time_was_made_shorter_were_not_held_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was refused: a warning that the flow table is too full would send the operator the wrong way."""
    set_clock(monkeypatch, 1000)
    async with daemon(config(1)) as made:
        await made.controller.mutate(add(2), DAEMON)
        set_clock(monkeypatch, 5000)
        pool = made.reconciler.view().config.pools["web"]
        view = await made.controller.mutate(lambda now: edit.put_pool(now, replace(pool, settle_seconds=60)), DAEMON)
        assert not view.rings["web"][0].held_back
        await until(lambda: "let go 0" in made.data_plane.calls)
        assert "too full" not in caplog.text


async def test_an_operator_is_told_once_of_moves_that_refusals_hold_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not every second."""
    caplog.set_level(logging.WARNING)
    set_clock(monkeypatch, 1000)
    async with daemon(config(1)) as made:
        await made.controller.mutate(add(2), DAEMON)
        made.data_plane.flows.mark_refused(0, 20_000)
        set_clock(monkeypatch, 20_001)
        await until(lambda: "twice their time" in caplog.text)
        rounds = made.data_plane.flows.rounds
        await until(lambda: made.data_plane.flows.rounds > rounds + 3)
        assert caplog.text.count("twice their time") == 1


async def test_a_scan_lets_clear_slots_become_stable_and_collects_the_dead() -> None:
    """The last step of every move."""
    async with daemon(config(1, settle_seconds=0)) as made:
        dead = Entry(b"k" * 24, 1, 1, 1, Life.ESTABLISHED, 0, 5, 0)
        made.data_plane.flows.entries[dead.key] = dead
        await made.controller.mutate(add(2), DAEMON)
        await until(lambda: made.kinds() == {Kind.STABLE})
        await until(lambda: made.data_plane.flows.entries == {})
        assert set(FakeDataPlane.slots(made.data_plane, 0)) == {stable(1), stable(2)}


async def test_a_scan_of_a_ring_that_was_written_meanwhile_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slots are not those that the scan was made for: they wait for the next one."""
    monkeypatch.setattr(flow_keeper, "SCAN_SECONDS", 3600)
    async with daemon(config(1, settle_seconds=0)) as made:
        flows = made.data_plane.flows
        flows.may_read.clear()
        await made.controller.mutate(add(2), DAEMON)
        await until(flows.reading.is_set)
        await made.controller.mutate(add(3), DAEMON)
        collections = flows.collections
        flows.may_read.set()
        await until(lambda: flows.collections > collections)
        rounds = flows.rounds
        await until(lambda: flows.rounds > rounds + 3)
        words = set(FakeDataPlane.slots(made.data_plane, 0))
        assert {tracked(2), tracked(3)} <= words


async def test_a_scan_does_not_hold_edits_up() -> None:
    """It takes long where the table is full."""
    async with daemon(config(1, settle_seconds=0)) as made:
        made.data_plane.flows.may_read.clear()
        await made.controller.mutate(add(2), DAEMON)
        await until(made.data_plane.flows.reading.is_set)
        view = await made.controller.mutate(add(3), DAEMON)
        assert view.backends["web", "b3"].slots > 0


async def test_a_longer_settle_time_takes_effect_after_a_scan() -> None:
    """Expired entries are gone by then."""

    def longer(config: Config) -> Config:
        return edit.put_pool(config, replace(config.pools["web"], settle_seconds=7500))

    async with daemon(config(1, settle_seconds=100)) as made:
        made.data_plane.flows.may_read.clear()
        await made.controller.mutate(longer, DAEMON)
        await until(made.data_plane.flows.reading.is_set)
        assert made.data_plane.flows.settle_seconds(0) == 100
        made.data_plane.flows.may_read.set()
        await until(lambda: made.data_plane.flows.settle_seconds(0) == 7500)


async def test_budgets_follow_the_free_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old flows stop at half of the table, so that they cannot starve new ones."""
    monkeypatch.setattr(flow_keeper, "FLOW_ENTRIES", 100)
    async with daemon(config(1)) as made:
        assert made.data_plane.flows.budget == (100, 50)
        made.data_plane.flows.counted = replace(made.data_plane.flows.counted, inserted_syn=70)
        await until(lambda: made.data_plane.flows.budget == (30, 0))


@pytest.mark.parametrize("method", ["refill", "scan"])
async def test_upkeep_that_the_kernel_refuses_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Timers, budgets and scans must not end in silence while the status says ready."""
    async with daemon(config(1)) as made:

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

        with monkeypatch.context() as refusing:
            refusing.setattr(made.data_plane.flows, method, refuse)
            made.data_plane.flows.counted = replace(made.data_plane.flows.counted, inserted_syn=1)
            await until(lambda: "not kept up" in made.reconciler.failure)
            assert not (await made.controller.state()).ready
        await until(lambda: not made.reconciler.failure)
        assert (await made.controller.state()).ready


async def test_counters_go_by_name() -> None:
    """Numbers are the data plane's own business."""
    async with daemon(config(1, 2)) as made:
        counters = await made.controller.counters()
        assert set(counters.vips) == {"web"}
        assert set(counters.backends) == {("web", "b1"), ("web", "b2")}
