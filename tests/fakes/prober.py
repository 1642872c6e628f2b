# SPDX-License-Identifier: Apache-2.0
"""``Prober`` in memory: the test says what backends answer. Passes the contract of the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from lb.core.checks import Outcome, Target
from lb.core.model import Address

FIRST_SECONDS = 0.001
"""A new target gets its first probe after this time."""


class FakeProber:
    """Probes by itself, each target at its interval, unless ``by_hand``: then there are only the outcomes of ``tell``.

    ``errors``: what probes of an address and port come to; "" = they pass, as do those of all others.
    """

    def __init__(self, *, by_hand: bool = False) -> None:
        self.errors: dict[tuple[Address, int], str] = {}
        self._by_hand = by_hand
        self._callbacks: list[Callable[[Target, Outcome], None]] = []
        self._watched: frozenset[Target] = frozenset()
        self._timers: dict[Target, asyncio.TimerHandle] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def watched(self) -> frozenset[Target]:
        """What ``watch`` was called with last."""
        return self._watched

    def tell(self, target: Target, error: str = "") -> None:
        """A probe of a target ends now."""
        now = asyncio.get_running_loop().time()
        for callback in self._callbacks:
            callback(target, Outcome(error, now, now))

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._set_timers()

    async def stop(self) -> None:
        self._loop = None
        self._cancel_timers(self._timers.keys())

    def watch(self, targets: Collection[Target]) -> None:
        self._watched = frozenset(targets)
        self._cancel_timers(self._timers.keys() - self._watched)
        self._set_timers()

    def on_outcome(self, callback: Callable[[Target, Outcome], None]) -> None:
        self._callbacks.append(callback)

    def _set_timers(self) -> None:
        if self._loop is None or self._by_hand:
            return
        for target in self._watched - self._timers.keys():
            self._timers[target] = self._loop.call_later(FIRST_SECONDS, self._probe, target)

    def _cancel_timers(self, targets: Collection[Target]) -> None:
        for target in list(targets):
            self._timers.pop(target).cancel()

    def _probe(self, target: Target) -> None:
        assert self._loop is not None
        self._timers[target] = self._loop.call_later(target.check.interval_ms / 1000, self._probe, target)
        self.tell(target, self.errors.get((target.address, target.port), ""))
