# SPDX-License-Identifier: Apache-2.0
"""`lbd` as a whole, where it can be looked at without a kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from lb.core.audit import Caller
from lb.core.model import Config
from lb.daemon.reconciler import Reconciler
from lb.daemon.service import Options, Service
from lb.ports import Applied, Change

OPTIONS = Options(("eth0",), None, Path("/state"), Path("/bpf"), "unix:///lbd.sock", None, None, replace=False)


class FakeReconciler:
    """``applied``: what changes make of an empty configuration."""

    def __init__(self, crash: Callable[[], Awaitable[None]]) -> None:
        self.crash = crash
        self.applied: list[Config] = []

    async def apply(self, change: Change, _by: Caller) -> Applied:
        self.applied.append(change(Config()))
        return Applied(cast("object", None), (), ())  # type: ignore[arg-type]


async def never() -> None:
    """Nothing goes wrong."""
    await asyncio.Event().wait()


async def fail() -> None:
    raise KeyError("a bug")


def service(reconciler: FakeReconciler, options: Options = OPTIONS) -> Service:
    """As if it were about to start."""
    made = Service(options)
    made._reconciler = cast("Reconciler", reconciler)
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
    made = service(reconciler, Options(("eth0",), file, Path("/state"), Path("/bpf"), "", None, None, replace=False))
    reload = asyncio.create_task(made.reload())
    done, _ = await asyncio.wait([reload], timeout=0.05)
    assert not done
    assert reconciler.applied == []
    made._started.set()
    await asyncio.wait_for(reload, 5)
    assert [set(config.pools) for config in reconciler.applied] == [{"web"}]
