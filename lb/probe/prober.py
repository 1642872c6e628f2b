# SPDX-License-Identifier: Apache-2.0
"""The ``Prober`` port: keeps a prober's process running, tells it what to probe, and passes on what it found."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NoReturn

from lb.core.checks import Outcome, Target
from lb.core.errors import UnavailableError
from lb.probe.process import COMMAND, Broken, Process
from lb.probe.protocol import Report, changes

FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
STABLE_SECONDS = 60.0
"""A process that ran for so long had no trouble at its start: the next one starts at once again."""

_log = logging.getLogger("lb.probe")


class ProcessProber:
    """Probes from a process of its own, so that neither delays the other.

    When that process dies or hangs, another one is started, and nothing is told of the targets until it has probed
    them.

    Args:
        command: What starts the process.
    """

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._callbacks: list[Callable[[Target, Outcome], None]] = []
        self._numbers = itertools.count(1)
        self._targets: Mapping[int, Target] = {}
        self._by_target: Mapping[Target, int] = {}
        self._changed = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Of the process, None while there is none."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the process. Raises ``UnavailableError``."""
        assert self._task is None, "started twice"
        try:
            self._process = await Process.start(self._command)
        except Broken as broken:
            raise UnavailableError(f"health checks cannot be made: the prober {broken}") from broken
        self._task = asyncio.create_task(self._run(), name="lb.probe")
        self._task.add_done_callback(_report)

    async def stop(self) -> None:
        """Stop probing; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        process, self._process = self._process, None
        if process is not None:
            await process.end()

    def watch(self, targets: Collection[Target]) -> None:
        """Probe exactly these targets from now on; see ``ports.Prober``."""
        known = self._by_target
        self._by_target = {target: known.get(target) or next(self._numbers) for target in targets}
        self._targets = {number: target for target, number in self._by_target.items()}
        self._changed.set()

    def on_outcome(self, callback: Callable[[Target, Outcome], None]) -> None:
        """Call ``callback`` in the event loop for each probe that ended."""
        self._callbacks.append(callback)

    async def _run(self) -> None:
        """Talk with one process after the other."""
        loop = asyncio.get_running_loop()
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            began = loop.time()
            trouble = await self._serve()
            if loop.time() - began >= STABLE_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            _log.error(
                "the prober %s: no health checks until another one runs; starting it in %.1f s", trouble, backoff
            )
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)

    async def _serve(self) -> str:
        """Start a process if there is none, and talk with it; returns what became of it."""
        try:
            if self._process is None:
                self._process = await Process.start(self._command)
                _log.info("the prober runs again")
            await self._converse(self._process)
        except Broken as broken:
            if self._process is None:
                return str(broken)
            how = await self._process.end()
            self._process = None
            return f"{broken} ({how})"

    async def _converse(self, process: Process) -> NoReturn:
        sender = asyncio.create_task(self._send(process))
        try:
            while True:
                self._take(await process.receive())
                await asyncio.sleep(0)  # after a pause many reports may be there at once
        finally:
            sender.cancel()
            await asyncio.wait([sender])

    async def _send(self, process: Process) -> None:
        """Tell a process that knows nothing yet what to probe, and what changes."""
        told: Mapping[int, Target] = {}
        self._changed.set()
        with contextlib.suppress(Broken):  # which ``receive`` will notice, too
            while True:
                await self._changed.wait()
                self._changed.clear()
                wanted = self._targets
                for change in changes(told, wanted):
                    await process.send(change)
                    await asyncio.sleep(0)
                told = wanted

    def _take(self, report: Report) -> None:
        for warning in report.warnings:
            _log.warning("%s", warning)
        for number, outcome in report.outcomes:
            target = self._targets.get(number)
            if target is None:
                continue  # not watched any more
            for callback in self._callbacks:
                callback(target, outcome)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.critical("backends are not probed any more: this is a bug in lb", exc_info=error)
