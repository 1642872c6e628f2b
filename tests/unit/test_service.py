# SPDX-License-Identifier: Apache-2.0
"""`lbd` as a whole, where it can be looked at without a kernel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from lb.core.audit import Caller
from lb.core.diff import differences
from lb.core.errors import UnavailableError
from lb.core.model import Config, View
from lb.daemon.reconciler import Reconciler
from lb.daemon.service import Options, Service, _make_state_dir
from lb.ports import Applied, Change

OPTIONS = Options(("eth0",), None, Path("/state"), Path("/bpf"), "unix:///lbd.sock", None, None, replace=False)


class FakeReconciler:
    """``applied``: what changes make of an empty configuration."""

    def __init__(self, crash: Callable[[], Awaitable[None]]) -> None:
        self.crash = crash
        self.applied: list[Config] = []

    async def apply(self, change: Change, _by: Caller) -> Applied:
        # As the real one: before it waits for next hops, and again after that.
        self.applied += [change(Config()), change(Config())]
        return Applied(View(2, self.applied[-1], {}), differences(Config(), self.applied[-1]), ())


async def never() -> None:
    """Nothing goes wrong."""
    await asyncio.Event().wait()


async def fail() -> None:
    raise KeyError("a bug")


def service(reconciler: FakeReconciler, config: Path | None = None) -> Service:
    """As if it were about to start."""
    made = Service(replace(OPTIONS, config=config))
    made._reconciler = cast("Reconciler", reconciler)
    return made


def started(reconciler: FakeReconciler, config: Path | None = None) -> Service:
    """As if it had started."""
    made = service(reconciler, config)
    made._started.set()
    return made


async def test_it_serves_until_it_is_told_to_stop() -> None:
    stopped = asyncio.Event()
    running = asyncio.create_task(service(FakeReconciler(never)).run(stopped))
    await asyncio.sleep(0)
    assert not running.done()
    stopped.set()
    await asyncio.wait_for(running, 5)


async def test_a_loop_that_ends_by_itself_ends_the_daemon() -> None:
    """Its supervisor starts it anew; without its loops it would only seem to be there."""
    with pytest.raises(KeyError, match="a bug"):
        await asyncio.wait_for(service(FakeReconciler(fail)).run(asyncio.Event()), 5)


async def test_a_reload_that_comes_during_the_start_waits_for_its_end(tmp_path: Path) -> None:
    """The stored configuration is not there yet: laid over nothing, the file would replace it."""
    file = tmp_path / "lb.yaml"
    file.write_text("pools: [{name: web}]\n")
    reconciler = FakeReconciler(never)
    made = service(reconciler, file)
    reload = asyncio.create_task(made.reload())
    done, _ = await asyncio.wait([reload], timeout=0.05)
    assert not done
    assert reconciler.applied == []
    made._started.set()
    await asyncio.wait_for(reload, 5)
    assert {*reconciler.applied[0].pools} == {"web"}


async def test_a_reload_tells_once_what_the_file_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "lb.yaml"
    file.write_text("pools: [{name: web}]\n")
    await started(FakeReconciler(never), file).reload()
    assert caplog.text.count("pools/web: set from") == 1
    assert "was read again: 1 changes" in caplog.text


@pytest.mark.parametrize("text", ["pools: [{name: Web}]", "vips: [{name: web, pool: nowhere}]", None])
async def test_a_file_that_is_wrong_at_a_reload_is_told_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    """The daemon goes on with what it has, and systemd is told that the reload is over."""
    file = tmp_path / "lb.yaml"
    if text is not None:
        file.write_text(text)
    reconciler = FakeReconciler(never)
    await started(reconciler, file).reload()
    assert "lb.yaml was not applied: " in caplog.text
    assert reconciler.applied == []


async def test_a_reload_without_a_file_says_that_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await started(FakeReconciler(never)).reload()
    assert "there is no --config to read again" in caplog.text


def test_a_state_dir_that_cannot_be_made_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match=r"/file/state: Not a directory: give a writable one with --state-dir"):
        _make_state_dir(tmp_path / "file" / "state")
