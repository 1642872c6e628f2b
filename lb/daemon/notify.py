# SPDX-License-Identifier: Apache-2.0
"""What the daemon tells systemd, by its notification protocol (sd_notify(3)); without systemd, nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger("lb.daemon")

_SEND_SECONDS = 1.0
"""systemd reads at once; when it is stuck, the daemon must not be."""

_MICROSECONDS = 1_000_000


class Notifier:
    """Sends messages to the socket that $NOTIFY_SOCKET names, if it names one."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            # An abstract name.
            self._address = "\0" + self._address[1:]

    def ready(self) -> None:
        """The daemon forwards; also the end of ``reloading``."""
        self._send("READY=1", "STATUS=forwarding")

    def reloading(self) -> None:
        """The configuration file is read again."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}", "STATUS=reading the configuration file again")

    def stopping(self) -> None:
        """The daemon is about to end."""
        self._send("STOPPING=1", "STATUS=stopping; the data plane goes on forwarding")

    def status(self, words: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={' '.join(words.splitlines())}")

    def alive(self) -> None:
        """All is well: the watchdog may wait for another interval."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as messenger:
                messenger.settimeout(_SEND_SECONDS)
                messenger.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.warning("systemd can't be told %r: %s", lines[0], error)


def watchdog_seconds(environment: Mapping[str, str] = os.environ, pid: int | None = None) -> float:
    """How often systemd wants to hear from process ``pid`` (this one); 0 = it does not ask."""
    if environment.get("WATCHDOG_PID", str(pid or os.getpid())) != str(pid or os.getpid()):
        return 0.0
    try:
        return int(environment.get("WATCHDOG_USEC", "0")) / _MICROSECONDS
    except ValueError:
        log.warning("WATCHDOG_USEC=%s is no number of microseconds: no watchdog", environment["WATCHDOG_USEC"])
        return 0.0


class Watchdog:
    """Checks the data plane twice an interval, and tells systemd that all is well only if it is.

    That also shows that the event loop still turns. ``check``: words, "" = fine; it blocks, in a thread of its own.
    """

    def __init__(self, notifier: Notifier, check: Callable[[], str], seconds: float | None = None) -> None:
        """``seconds``: between two signs of life at most; None = as systemd asks for, 0 = no watchdog."""
        self._notifier = notifier
        self._check = check
        self._seconds = watchdog_seconds() if seconds is None else seconds
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, if systemd asks for it."""
        if self._seconds > 0:
            self._task = asyncio.create_task(self._run(), name="watchdog")

    async def stop(self) -> None:
        """End, after the check that is under way: it still uses the data plane."""
        self._stopped.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def _run(self) -> None:
        wrong = ""
        while not self._stopped.is_set():
            before, wrong = wrong, await asyncio.to_thread(self._check)
            if not wrong:
                self._notifier.alive()
            if wrong != before:
                self._tell(wrong)
            try:
                async with asyncio.timeout(self._seconds / 2):
                    await self._stopped.wait()
            except TimeoutError:
                continue

    def _tell(self, wrong: str) -> None:
        if wrong:
            log.error("the self-check fails: %s; systemd will restart lbd", wrong)
            self._notifier.status(f"the self-check fails: {wrong}")
        else:
            log.info("the self-check passes again")
            self._notifier.status("forwarding")
