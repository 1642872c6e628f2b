# SPDX-License-Identifier: Apache-2.0
"""The ``NextHops`` port on a running event loop: reads events, decides when to look again, tells who listens."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable, Collection
from typing import TypeVar

from lb.core.errors import UnavailableError
from lb.core.model import Address, Hop, NextHop
from lb.net.kernel import Kernel
from lb.net.tracker import Tracker

COALESCE_SECONDS = 0.02
"""Events come in bursts (a link takes its addresses, routes and neighbours along): answer to them once."""

PASS_SHARE = 4
COALESCE_MAX_SECONDS = 0.5
"""After a pass over many addresses the next one waits this many times as long as it took, at most half a second."""

AUDIT_SECONDS = 60.0
"""All addresses are looked up again this often: an ICMP redirect, for one, changes a route without an event."""

REOPEN_SECONDS = 1.0
"""At most one full re-read a second, while sockets keep failing or events keep overrunning."""

BATCH = 32
"""Addresses between two turns of the loop: some 2 ms of work."""

FIRST_LOOK_SECONDS = 5.0
"""How long ``settle`` waits at most for a first look at each address: thousands may come at once."""

T = TypeVar("T")

_log = logging.getLogger("lb.net")


class NetlinkNextHops:
    """Next hops in the network namespace that the process runs in."""

    def __init__(self, connect: Callable[[], Kernel] = Kernel) -> None:
        self._connect = connect
        self._kernel: Kernel | None = None
        self._tracker = Tracker()
        self._task: asyncio.Task[None] | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._wake_later: asyncio.TimerHandle | None = None
        self._change = asyncio.Event()
        self._passed = asyncio.Event()
        self._delay = COALESCE_SECONDS
        self._audit_at = 0.0
        self._open_at = 0.0

    async def start(self) -> None:
        """Read the tables and begin to watch; raises ``UnavailableError`` when the kernel does not let us."""
        assert self._task is None, "started twice"
        try:
            self._open()
        except OSError as error:
            raise UnavailableError(f"cannot read the kernel's network tables over netlink: {error}") from error
        self._task = asyncio.create_task(self._run(), name="lb.net")
        self._task.add_done_callback(_report)

    async def stop(self) -> None:
        """Stop watching; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._close()
        if self._wake_later is not None:
            self._wake_later.cancel()
            self._wake_later = None

    def track(self, addresses: Collection[Address]) -> None:
        """Keep exactly these addresses resolved from now on."""
        self._tracker.track(addresses)
        if self._tracker.dirty:
            self._wake.set()

    def hop(self, address: Address) -> Hop:
        """The present state of a tracked address; Unresolved for one that is not tracked."""
        return self._tracker.hop(address)

    async def settle(self, addresses: Collection[Address], timeout_seconds: float) -> None:
        """Wait until each of these tracked addresses is resolved; ``timeout_seconds`` after a first look at all."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_SECONDS):
                while any(map(self._tracker.is_new, addresses)):
                    await self._passed.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while not all(isinstance(self.hop(address), NextHop) for address in addresses):
                    await self._change.wait()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the event loop after a tracked address's hop or the set of local addresses changed."""
        self._callbacks.append(callback)

    def local_addresses(self) -> frozenset[Address]:
        """Addresses of the box itself, all interfaces, up or down."""
        return self._tracker.local

    def _open(self) -> None:
        now = _now()
        self._open_at, self._audit_at = now + REOPEN_SECONDS, now + AUDIT_SECONDS
        kernel = self._connect()
        try:
            self._tracker.load(kernel)
        except BaseException:
            kernel.close()
            raise
        asyncio.get_running_loop().add_reader(kernel.fileno(), self._read, kernel)
        self._kernel = kernel
        self._wake.set()

    def _close(self) -> None:
        if self._kernel is not None:
            asyncio.get_running_loop().remove_reader(self._kernel.fileno())
            self._kernel.close()
            self._kernel = None

    def _lose(self, error: OSError) -> None:
        """Events may be missing from now on: start over, and doubt everything."""
        if error.errno == errno.ENOBUFS:
            _log.warning("the kernel had more network events than its buffer holds, some are lost: reading all again")
        else:
            _log.error("the netlink socket failed (%s): opening a new one and reading all again", error)
        self._close()
        self._wake.set()

    def _read(self, kernel: Kernel) -> None:
        try:
            called_for = self._tracker.apply(kernel.events(), _now())
        except OSError as error:
            self._lose(error)
            return
        if called_for and self._wake_later is None:
            self._wake_later = asyncio.get_running_loop().call_later(self._delay, self._wake_now)

    def _wake_now(self) -> None:
        self._wake_later = None
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._sleep()
            if self._kernel is None and not self._reopen():
                continue
            assert self._kernel is not None
            began = _now()
            try:
                await self._work(self._kernel)
            except OSError as error:
                if self._kernel is not None:
                    self._lose(error)
            self._delay = min(max(COALESCE_SECONDS, PASS_SHARE * (_now() - began)), COALESCE_MAX_SECONDS)
            self._passed.set()
            self._passed = asyncio.Event()
            self._tell()

    async def _sleep(self) -> None:
        """Until woken, or until something falls due."""
        until = self._open_at if self._kernel is None else min(self._audit_at, self._tracker.deadline())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._wake.wait()
        self._wake.clear()

    def _reopen(self) -> bool:
        if _now() < self._open_at:
            return False
        try:
            self._open()
        except OSError as error:
            _log.error("cannot read the network tables (%s): next hops may be out of date, trying again", error)
            return False
        _log.info("network tables were read again")
        return True

    async def _work(self, kernel: Kernel) -> None:
        """One pass: what is dirty now and what is due now, not what becomes so meanwhile."""
        if _now() >= self._audit_at:
            self._audit_at = _now() + AUDIT_SECONDS
            self._tracker.doubt()
        await self._each(kernel, list(self._tracker.dirty), self._tracker.look)
        await self._each(kernel, self._tracker.due(_now()), self._tracker.ask)
        await self._each(kernel, list(self._tracker.dirty), self._tracker.look)

    async def _each(self, kernel: Kernel, items: list[T], act: Callable[[Kernel, T, float], None]) -> None:
        for count, item in enumerate(items, 1):
            act(kernel, item, _now())
            if count % BATCH == 0:
                await asyncio.sleep(0)
                if kernel is not self._kernel:
                    return  # lost meanwhile: what is left will be done with the next one

    def _tell(self) -> None:
        if not self._tracker.changed:
            return
        self._tracker.changed = False
        for callback in self._callbacks:
            asyncio.get_running_loop().call_soon(callback)
        self._change.set()
        self._change = asyncio.Event()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.critical("next hops are not watched any more: this is a bug in lb", exc_info=error)
