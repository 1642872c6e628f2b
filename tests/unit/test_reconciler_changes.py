# SPDX-License-Identifier: Apache-2.0
"""Changes under conditions, and those that nobody asks for: verdicts of the checks, deadlines of drains."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fakes.daemon import Daemon, add, backend, config, daemon, until
from fakes.next_hops import hop_to

from lb.core import edit
from lb.core.audit import DAEMON, Action, Caller
from lb.core.checks import CheckKind, HealthCheck
from lb.core.errors import RefusedError, StaleError, UnavailableError
from lb.core.events import ConfigChanged, DrainProgressed, NextHopChanged
from lb.core.flows import Entry
from lb.core.health import Health, Status
from lb.core.model import RING_SIZE, AdminState, Config, Settings, Unresolved
from lb.core.slots import Life
from lb.daemon import reconciler, upkeep
from lb.ports import Change

ALICE = Caller("alice", "192.0.2.7:5000", "BackendService.CreateBackend")
CHECK = HealthCheck(CheckKind.TCP)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds follow each other at once; nothing waits for a second."""
    monkeypatch.setattr(upkeep, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(reconciler, "SETTLE_SECONDS", 0.05)


def checked(*numbers: int) -> Config:
    """A pool with a health check."""
    made = config(*numbers)
    return replace(made, pools={"web": replace(made.pools["web"], health_check=CHECK)})


def verdicts(made: Daemon, **found: Status) -> None:
    """The checks say this now."""
    made.health.verdicts |= {
        ("web", name): Health(status, reason="connection refused") for name, status in found.items()
    }
    made.health.changed()


def draining(number: int, deadline: int = 0) -> Change:
    """An edit that drains a backend."""
    drained = replace(backend(number), admin_state=AdminState.DRAINING, drain_deadline=deadline)
    return lambda config: edit.put_backend(config, "web", drained)


# -- apply


async def test_an_apply_predicts_what_is_then_measured() -> None:
    """A third backend takes a third of the slots; nobody's flows are cut."""
    async with daemon(config(1, 2)) as made:
        planned = await made.controller.apply(add(3), ALICE, validate_only=True)
        assert planned.measured == ()
        assert made.reconciler.view().revision == planned.view.revision == 1
        done = await made.controller.apply(add(3), ALICE, base_revision=1)
        assert done.predicted == done.measured == planned.predicted
        assert done.predicted[0].moved / RING_SIZE == pytest.approx(1 / 3, rel=0.05)
        assert done.predicted[0].cut == 0
        assert [(found.action, found.name) for found in done.differences] == [(Action.ADDED, "pools/web/backends/b3")]
        assert done.view.revision == 2


async def test_an_apply_planned_from_another_revision_is_refused() -> None:
    """Somebody else was faster."""
    async with daemon(config(1)) as made:
        await made.controller.mutate(add(2), DAEMON)
        with pytest.raises(StaleError, match="at revision 2 by now, not 1"):
            await made.controller.apply(add(3), ALICE, base_revision=1)
        assert made.reconciler.view().revision == 2


async def test_of_two_applies_from_one_revision_one_wins() -> None:
    """Also when both wait for next hops at the same time."""
    async with daemon(config(1)) as made:
        results = await asyncio.gather(
            *(made.controller.apply(add(i), ALICE, base_revision=1) for i in (2, 3)), return_exceptions=True
        )
        assert sorted(type(result).__name__ for result in results) == ["Applied", "StaleError"]
        assert made.reconciler.view().revision == 2
        assert made.next_hops.tracked == {
            found.address for found in made.reconciler.view().config.pools["web"].backends.values()
        }


async def test_an_apply_that_would_move_too_much_changes_nothing() -> None:
    async with daemon(config(1, 2)) as made:
        with pytest.raises(RefusedError, match="more than the 10 %"):
            await made.controller.apply(add(3), ALICE, max_move_percent=10)
        assert made.store.load().revision == 1
        assert made.next_hops.tracked == {backend(1).address, backend(2).address}


async def test_an_apply_that_would_cut_a_whole_vip_changes_nothing() -> None:
    """No slot moves, but a limit on what may move is there to prevent just that: the file was empty."""
    async with daemon(config(1, 2)) as made:
        assert made.reconciler.view().config.vips
        with pytest.raises(RefusedError, match="all its flows are cut, more than the 20 %"):
            await made.controller.apply(lambda config: Config(config.settings), ALICE, max_move_percent=20)
        assert made.store.load().revision == 1


async def test_a_limit_does_not_keep_a_first_configuration_out() -> None:
    """A balancer without VIPs has no flows that another's hash key could move."""
    async with daemon(replace(config(1), vips={})) as made:
        key = Settings(hash_key=bytes(range(16)))
        await made.controller.apply(lambda _: replace(config(1), settings=key), ALICE, max_move_percent=0)
        assert made.reconciler.view().config.settings == key


async def test_a_change_is_announced_with_who_made_it() -> None:
    async with daemon(config(1)) as made:
        await made.controller.mutate(add(2), ALICE)
        (event,) = [said for said in made.said if isinstance(said, ConfigChanged)]
        assert (event.revision, event.who) == (2, "alice")
        assert [found.name for found in event.differences] == ["pools/web/backends/b2"]


async def test_what_changes_nothing_is_no_revision() -> None:
    async with daemon(config(1)) as made:
        done = await made.controller.apply(replace, ALICE)
        assert (done.differences, done.predicted, done.view.revision) == ((), (), 1)


async def test_what_is_not_protected_is_measured_as_it_was_predicted() -> None:
    """Flows follow their slot at once: words don't tell, the pool does."""
    async with daemon(config(1, 2, settle_seconds=0)) as made:
        done = await made.controller.apply(add(3), ALICE)
        assert done.measured == done.predicted
        assert done.measured[0].cut > 0


async def test_a_change_is_announced_before_what_it_leads_to() -> None:
    """Who watches hears of a backend before it hears of its next hop."""
    async with daemon(config(1)) as made:
        made.next_hops.set(backend(2).address, None)
        made.said.clear()
        await made.controller.mutate(add(2), ALICE)
        assert [type(said) for said in made.said] == [ConfigChanged, NextHopChanged]


async def test_a_change_that_the_kernel_refuses_is_announced_all_the_same() -> None:
    """It is in force: stored, shown, and written as soon as it can be."""
    async with daemon(config(1)) as made:
        made.data_plane.refuse_at = 0
        with pytest.raises(UnavailableError):
            await made.controller.mutate(add(2), ALICE)
        assert [said.revision for said in made.said if isinstance(said, ConfigChanged)] == [2]
        made.data_plane.refuse_at = None


async def test_before_the_start_and_after_the_stop_nothing_can_be_changed() -> None:
    """There is no configuration to change yet, and nobody writes any more."""
    made = Daemon(config(1))
    await made.next_hops.start()
    with pytest.raises(UnavailableError, match="starting or stopping"):
        await made.controller.mutate(add(2), ALICE)
    await made.reconciler.start(replace, DAEMON)
    await made.reconciler.stop()
    with pytest.raises(UnavailableError, match="starting or stopping"):
        await made.controller.mutate(add(2), ALICE)
    assert made.store.load().revision == 1


async def test_a_change_that_waits_for_a_next_hop_does_not_outlive_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store and maps are let go of then, and another lbd may have them."""
    async with daemon(config(1)) as made:
        monkeypatch.setattr(reconciler, "SETTLE_SECONDS", 5.0)
        made.next_hops.set(backend(2).address, Unresolved("nobody answers"))
        edit_task = asyncio.create_task(made.controller.mutate(add(2), ALICE))
        await until(lambda: backend(2).address in made.next_hops.tracked)
        await made.reconciler.stop()
        made.next_hops.set(backend(2).address, hop_to(backend(2).address))
        with pytest.raises(UnavailableError, match="starting or stopping"):
            await asyncio.wait_for(edit_task, 3)
        assert made.store.load().revision == 1


def rekey(before: Config) -> Config:
    """An edit that gives the flow hash another key."""
    return replace(before, settings=replace(before.settings, hash_key=bytes(range(16, 32))))


async def test_another_hash_key_is_in_force_when_the_change_is_answered() -> None:
    """It is compiled into the program; until then balancers that share it would disagree."""
    async with daemon(config(1)) as made:
        made.data_plane.calls.clear()
        await made.controller.mutate(rekey, ALICE)
        calls = [call for call in made.data_plane.calls if call in ("commit", "load", "attach")]
        assert calls == ["commit", "load", "attach"]


async def test_a_program_that_does_not_load_is_tried_again() -> None:
    """The key is stored: what runs must not go on with another one for good."""
    async with daemon(config(1)) as made:
        made.data_plane.load_failure = "no compiler"
        with pytest.raises(UnavailableError, match="no compiler; the change is stored"):
            await made.controller.mutate(rekey, ALICE)
        assert not (await made.controller.state()).ready
        made.data_plane.load_failure = ""
        made.data_plane.calls.clear()
        await until(lambda: not made.reconciler.failure)
        assert "attach" in made.data_plane.calls


async def test_verify_sees_a_ring_that_packets_do_not_find() -> None:
    async with daemon(config(1)) as made:
        assert (await made.controller.verify()).problems == ()
        made.data_plane.lost_rings.add(0)
        assert (await made.controller.verify()).problems == ("ring web TCP: packets do not find its slots (number 0)",)


async def test_verify_says_when_the_maps_are_behind() -> None:
    async with daemon(config(1)) as made:
        made.data_plane.refuse_at = 0
        with pytest.raises(UnavailableError):
            await made.controller.mutate(add(2), ALICE)
        found = await made.controller.verify()
        assert (found.revision, found.compared) == (2, 0)
        assert "the maps are behind the configuration" in found.problems[0]
        made.data_plane.refuse_at = None


# -- health


async def test_a_verdict_reaches_the_ring_at_once() -> None:
    """Not with the next tick, and not after somebody's next hop."""
    async with daemon(checked(1, 2)) as made:
        verdicts(made, b1=Status.UP, b2=Status.DOWN)
        await until(lambda: made.reconciler.view().backends["web", "b2"].slots == 0)
        state = made.reconciler.view().backends["web", "b2"]
        assert state.health.status is Status.DOWN
        assert state.reason == "its checks fail: connection refused"


async def test_a_verdict_does_not_wait_for_an_edit_that_waits_for_a_next_hop(monkeypatch: pytest.MonkeyPatch) -> None:
    async with daemon(checked(1, 2)) as made:
        verdicts(made, b1=Status.UP, b2=Status.UP)
        monkeypatch.setattr(reconciler, "SETTLE_SECONDS", 5.0)
        made.next_hops.set(backend(3).address, Unresolved("nobody answers"))
        edit_task = asyncio.create_task(made.controller.mutate(add(3), ALICE))
        await until(lambda: backend(3).address in made.next_hops.tracked)
        verdicts(made, b2=Status.DOWN)
        await until(lambda: made.reconciler.view().backends["web", "b2"].slots == 0)
        assert not edit_task.done()
        edit_task.cancel()


async def test_health_is_shown_as_it_is_now() -> None:
    """A probe that failed shows before the verdict, without a new plan."""
    async with daemon(checked(1)) as made:
        verdicts(made, b1=Status.UP)
        await until(lambda: made.reconciler.view().backends["web", "b1"].health.status is Status.UP)
        made.health.verdicts["web", "b1"] = Health(Status.UP, reason="timeout")
        assert made.reconciler.view().backends["web", "b1"].health.reason == "timeout"


async def test_why_a_backend_is_outside_is_told_as_it_is_now() -> None:
    """An old error beside the new one would send the operator to what is mended."""
    async with daemon(checked(1, 2)) as made:
        verdicts(made, b1=Status.UP, b2=Status.DOWN)
        await until(lambda: made.reconciler.view().backends["web", "b2"].reason.endswith("refused"))
        for status, error, words in (
            (Status.DOWN, "timeout after 2 s", "its checks fail: timeout after 2 s"),
            (Status.UP, "", "its checks fail"),
        ):
            made.health.verdicts["web", "b2"] = Health(status, reason=error)
            assert made.reconciler.view().backends["web", "b2"].reason == words


async def test_a_backend_without_a_verdict_says_what_its_last_probe_said() -> None:
    async with daemon(checked(1)) as made:
        await made.controller.mutate(add(2), ALICE)
        assert made.reconciler.view().backends["web", "b2"].reason == "its health check has no verdict yet"
        made.health.verdicts["web", "b2"] = Health(Status.UNKNOWN, reason="timeout after 2 s")
        assert made.reconciler.view().backends["web", "b2"].reason == "timeout after 2 s"


async def test_the_checks_hear_of_every_configuration() -> None:
    async with daemon(checked(1)) as made:
        await made.controller.mutate(add(2), ALICE)
        assert made.health.config == made.reconciler.view().config


async def test_a_denied_call_that_cannot_be_recorded_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever was denied must not get another answer for it."""
    async with daemon(config(1)) as made:
        made.store.failure = "disk full"
        await made.controller.denied(ALICE, "needs role operate")
        assert "denied: alice from 192.0.2.7:5000: BackendService.CreateBackend: needs role operate" in caplog.text
        assert "the denied call is not in the history: disk full" in caplog.text


# -- drains


async def test_at_its_deadline_a_drain_becomes_a_disable() -> None:
    """With a revision of its own, which says whose it is, and with the number of flows that it cut."""
    async with daemon(config(1, 2)) as made:
        await made.controller.mutate(draining(2), ALICE)
        flows = made.data_plane.flows
        epoch = made.data_plane.epochs()[2]
        seen = reconciler.now()
        for number in range(3):
            key = bytes([number])
            flows.entries[key] = Entry(key, 1, epoch, 2, Life.ESTABLISHED, seen, number, 0)
        await until(lambda: made.reconciler.view().backends["web", "b2"].drain is not None)
        await made.controller.mutate(draining(2, deadline=1), ALICE)

        await until(lambda: any(isinstance(said, DrainProgressed) and said.done == "deadline" for said in made.said))
        found = made.reconciler.view().config.pools["web"].backends["b2"]
        assert (found.admin_state, found.drain_deadline) == (AdminState.DISABLED, 0)
        state = made.reconciler.view().backends["web", "b2"]
        assert state.drain is not None
        assert state.drain.cut == 3
        record = made.store.history(0, 1)[0]
        assert (record.caller.who, record.note) == ("lbd", "drain deadline of web/b2")


async def test_a_drain_that_was_ended_has_no_deadline_any_more() -> None:
    async with daemon(config(1, 2)) as made:
        await made.controller.mutate(draining(2, deadline=1 << 33), ALICE)
        await made.controller.mutate(lambda before: edit.put_backend(before, "web", backend(2)), ALICE)
        assert made.reconciler.view().backends["web", "b2"].drain is None
