# SPDX-License-Identifier: Apache-2.0
"""Next hops of backends: what an operator hears of, and what would only be noise."""

from __future__ import annotations

import pytest
from fakes.daemon import Daemon, add, backend, config, daemon, until
from fakes.next_hops import hop_to

from lb.core.audit import DAEMON
from lb.core.events import NextHopChanged
from lb.core.model import Unresolved
from lb.daemon import reconciler

REASON = "no route to 10.0.0.20: add one with `ip route add`"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit does not wait for next hops."""
    monkeypatch.setattr(reconciler, "SETTLE_SECONDS", 0.01)


def heard(made: Daemon) -> list[NextHopChanged]:
    """Events of next hops so far."""
    return [body for body in made.said if isinstance(body, NextHopChanged)]


async def test_a_new_backend_whose_way_is_known_is_not_announced() -> None:
    """The change was: a file may bring thousands, more than anybody who watches can take in."""
    async with daemon(config(1)) as made:
        await made.reconciler.apply(add(2), DAEMON)
        assert heard(made) == []


async def test_a_new_backend_without_a_way_is_announced() -> None:
    async with daemon(config(1)) as made:
        await made.reconciler.apply(add(20), DAEMON)
        assert heard(made) == [NextHopChanged("web", "b20", "", REASON)]


async def test_a_way_that_is_lost_and_found_is_announced() -> None:
    async with daemon(config(1)) as made:
        made.next_hops.set(backend(1).address, Unresolved("eth0 is down"))
        await until(lambda: heard(made) == [NextHopChanged("web", "b1", "", "eth0 is down")])
        made.next_hops.set(backend(1).address, hop_to(backend(1).address))
        await until(lambda: len(heard(made)) == 2)
        assert heard(made)[1].problem == ""
