# SPDX-License-Identifier: Apache-2.0
"""What goes on by itself: next hops, verdicts, timers of moving slots, scans of the flow table, deadlines of drains."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from lb.core.errors import LbError
from lb.daemon.map_writer import MapWriter, now
from lb.daemon.readings import due_rings, ring_states

log = logging.getLogger("lb.reconciler")

TICK_SECONDS = 1.0
"""Between two rounds of timers, budgets and scans; also when the kernel refused an operation."""


class Upkeep:
    """Two loops that keep the maps as the outside is: one follows what changes, the other scans the flow table.

    ``disable``: makes DISABLED what still drains of a pool and a backend. Raises an ``LbError``.
    """

    def __init__(self, maps: MapWriter, disable: Callable[[str, str], Awaitable[object]]) -> None:
        self._maps = maps
        self._disable = disable
        self._moved = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def wake(self) -> None:
        """A next hop, a verdict or a weight in force changed: plan anew."""
        self._moved.set()

    def forget(self) -> None:
        """What changed until now is in the next plan."""
        self._moved.clear()

    def start(self) -> None:
        """Begin."""
        self._tasks = [
            asyncio.create_task(self._follow(), name="follow"),
            asyncio.create_task(self._scan(), name="scan flows"),
        ]

    async def stop(self) -> None:
        """End, after the batch under way."""
        async with self._maps.lock:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _follow(self) -> None:
        """Rewrite what depends on next hops and health when they change, and what depends on time each second."""
        while True:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._moved.wait()
            self._maps.health.tick()
            moved = self._moved.is_set()
            self._moved.clear()
            try:
                await self._tick(moved)
            except OSError as error:
                self._maps.report(error)

    async def _tick(self, moved: bool) -> None:
        async with self._maps.lock:
            assert self._maps.plan is not None
            await asyncio.to_thread(self._maps.keeper.refill)
            due = due_rings(self._maps.plan, self._maps.data_plane.flows, now())
            if moved or self._maps.failure or due:
                await self._maps.round(due)
            self._maps.notices.rings(ring_states(self._maps.plan, self._maps.data_plane.flows, now()))

    async def _scan(self) -> None:
        """Scan the flow table for as long as there is anything in it, or a slot or a drain that waits for a scan."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self._scan_once()
                await self._end_drains()
            except OSError as error:
                self._maps.report(error)

    async def _scan_once(self, *, forced: bool = False) -> None:
        loop = asyncio.get_running_loop()
        async with self._maps.lock:
            assert self._maps.plan is not None
            waited_for = self._maps.drains.unfinished
            if not forced and not await asyncio.to_thread(
                self._maps.keeper.due, self._maps.plan, loop.time(), waited_for
            ):
                return
            await asyncio.to_thread(self._maps.fence)
            seconds = self._maps.drains.drain_seconds()
            scan = await asyncio.to_thread(self._maps.keeper.observe, self._maps.plan, now(), seconds)
            glances = await asyncio.to_thread(self._maps.drains.look, self._maps.plan, self._maps.data_plane)
        cost = await asyncio.to_thread(self._maps.keeper.scan, scan)
        async with self._maps.lock:
            vips = frozenset(self._maps.plan.allocation.vips.values())
            self._maps.findings = await asyncio.to_thread(self._maps.keeper.finish, scan, vips, cost, loop.time())
            clocks = time.monotonic(), time.time()
            self._maps.drains.finish(
                glances, scan.census, lambda index: self._maps.data_plane.backend_count(index).packets, clocks
            )
            waits = {number for number, work in self._maps.plan.written.rings.items() if work.waits}
            if self._maps.findings.clear or waits & self._maps.findings.collected:
                await self._maps.round()

    async def _end_drains(self) -> None:
        """Disable the backends whose drain deadline has passed, and say how many flows that cut."""
        overdue = self._maps.drains.overdue(time.time())
        if not overdue:
            return
        await self._scan_once(forced=True)
        for key in overdue:
            flows = self._maps.drains.flows(key)
            try:
                await self._disable(*key)
            except LbError as error:
                log.error("backend %s/%s can't be disabled at its deadline: %s; trying again", *key, error.message)
            else:
                self._maps.drains.cut(key, flows)
