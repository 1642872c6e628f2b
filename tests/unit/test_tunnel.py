# SPDX-License-Identifier: Apache-2.0
"""How the tunnel of health checks is looked after while `lbd` runs; what it sets up is tested in ``e2e``."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from lb.core.errors import UnavailableError
from lb.core.model import Unresolved
from lb.daemon import tunnel as module
from lb.daemon.tunnel import Tunnel

WAYS = {4: ip_address("10.0.0.1"), 6: Unresolved("the box has no IPv6 address")}


@pytest.fixture
def refresh(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], object]], None]:
    """Give what laying the routes does, by the number of the attempt."""

    def give(answer: Callable[[int], object]) -> None:
        attempts = iter(range(1, 1000))
        monkeypatch.setattr(module.probe_filter, "runs", lambda *_: True)
        monkeypatch.setattr(module.probe_route, "lay", lambda _: answer(next(attempts)))
        monkeypatch.setattr(module, "KEEP_SECONDS", 0)

    return give


async def test_it_is_looked_after_until_cancelled(
    refresh: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong is logged when it begins, not at every look."""
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    def answer(attempt: int) -> object:
        if attempt > 8:
            loop.call_soon_threadsafe(enough.set)
        if attempt in (2, 3, 4, 7):
            raise UnavailableError("no buffer space")
        return WAYS

    refresh(answer)
    kept = Tunnel(Path("/nowhere"), ["eth0"])
    task = asyncio.create_task(kept.keep())
    await enough.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == ["the tunnel of health checks is not looked after: no buffer space"] * 2
    assert kept.problem(4) == ""
    assert kept.problem(6) == "the box has no IPv6 address"


def test_an_interface_that_cannot_be_looked_at_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one that has no program: its route would be removed for that."""

    def runs(*_: object) -> bool:
        raise OSError(errno.ENOBUFS, "look for a tc program: No buffer space available")

    monkeypatch.setattr(module.probe_filter, "runs", runs)
    with pytest.raises(UnavailableError, match="which interfaces wrap health checks: look for a tc program: No buffer"):
        Tunnel(Path("/nowhere"), ["eth0"]).refresh()
