# SPDX-License-Identifier: Apache-2.0
"""What goes on by itself: next hops, verdicts, timers of moving slots, scans of the flow table, deadlines of drains."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection

from lb.core.audit import MAX_TEXT, shorten
from lb.core.errors import LbError
from lb.daemon.drains import Key
from lb.daemon.flow_keeper import Findings
from lb.daemon.map_writer import MapWriter, now
from lb.daemon.readings import due_rings, ring_states

log = logging.getLogger("lb.reconciler")

TICK_SECONDS = 1.0
"""Between two rounds of timers, budgets and scans; also when the kernel refused an operation."""

RETRY_SECONDS = 10.0
"""After a deadline of a drain that could not be kept: each try takes a scan of the whole flow table."""

Disable = Callable[[Collection[Key], float], Awaitable[Collection[Key]]]


class Upkeep:
    """Two loops that keep the maps as the outside is: one follows what changes, the other scans the flow table.

    ``disable``: makes DISABLED those of these backends that drain until now (seconds since the epoch, UTC) at most;
    returns which. Raises an ``LbError``.
    """

    def __init__(self, maps: MapWriter, disable: Disable) -> None:
        self._maps = maps
        self._disable = disable
        self._moved = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._retry_at = 0.0

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

    async def crash(self) -> None:
        """Wait until a loop ends by itself, which is a bug in it, and raise why. Returns when both were stopped."""
        ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in ended:
            if not task.cancelled():
                task.result()

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
            if self._maps.failure:
                # What the slots say is not known; a round has to write them first.
                return
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
            numbers = self._maps.plan.allocation
            self._maps.findings = await asyncio.to_thread(self._maps.keeper.finish, scan, numbers, cost, loop.time())
            clocks = time.monotonic(), time.time()
            self._maps.drains.finish(
                glances, scan.census, lambda index: self._maps.data_plane.backend_count(index).packets, clocks
            )
            waits = {number for number, work in self._maps.plan.written.rings.items() if work.waits}
            if self._maps.findings.clear or waits & self._maps.findings.collected:
                await self._maps.round()
            # They are soon too old for a longer settle time that somebody asks for later.
            self._maps.findings = Findings()

    async def _end_drains(self) -> None:
        """Disable the backends whose drain deadline has passed, and say how many flows that cut."""
        loop, wall = asyncio.get_running_loop(), time.time()
        overdue = self._maps.drains.overdue(wall)
        if not overdue or loop.time() < self._retry_at:
            return
        await self._scan_once(forced=True)
        flows = {key: self._maps.drains.flows(key) for key in overdue}
        try:
            ended = await self._disable(overdue, wall)
        except LbError as error:
            names = shorten(", ".join(map("/".join, overdue)), MAX_TEXT)
            log.error("%s: can't be disabled at the deadline of the drain: %s; trying again", names, error.message)
            self._retry_at = loop.time() + RETRY_SECONDS
            return
        for key in ended:
            self._maps.drains.cut(key, flows[key])
