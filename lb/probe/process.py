# SPDX-License-Identifier: Apache-2.0
"""The prober's process, as lbd has it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

from lb.probe.protocol import MAX_LINE_BYTES, Change, Report, decode_report, encode_change
from lb.probe.sockets import readable

COMMAND = (sys.executable, "-P", "-m", "lb.probe.worker")
"""-P: nothing is imported from the working directory."""

START_SECONDS = 30.0
END_SECONDS = 2.0
PATIENCE_SECONDS = 10.0
"""It says something each second."""


class Broken(Exception):  # noqa: N818 - a state, for the one who restarts it
    """The process is of no more use; says why."""


class Process:
    """A prober that was started, and is ready; ``pid``: its process id."""

    def __init__(
        self, popen: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.pid = popen.pid
        self._popen = popen
        self._reader = reader
        self._writer = writer

    @staticmethod
    async def start(command: Sequence[str] = COMMAND) -> Process:
        """Start one and wait until it is ready. Raises ``Broken``."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                popen = _spawn(command, theirs.fileno())
            except OSError as error:
                ours.close()
                raise Broken(f"cannot be started: {error}") from error
        reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES)
        process = Process(popen, reader, writer)
        try:
            await process.receive(START_SECONDS)
        except Broken as broken:
            raise Broken(f"{broken} ({await process.end()}): it may have said why on stderr") from broken
        except BaseException:
            await process.end()
            raise
        return process

    async def receive(self, patience_seconds: float = PATIENCE_SECONDS) -> Report:
        """The next report. Raises ``Broken`` when there will be none."""
        for _ in range(2):
            # The first time it may be lbd that did not run, and what came meanwhile is still to be read.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds / 2):
                    return await self._receive()
        raise Broken(f"says nothing for {patience_seconds:g} s")

    async def send(self, change: Change) -> None:
        """Returns when there is room for another one. Raises ``Broken``."""
        try:
            self._writer.write(encode_change(change))
            await self._writer.drain()
        except ConnectionError as error:
            raise Broken("does not listen any more") from error

    async def end(self) -> str:
        """Have it end; returns how it did: "exit status 0", "killed by SIGKILL"."""
        self._writer.transport.abort()
        if self._popen.returncode is None:
            await self._reap()
        status = self._popen.wait()
        return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"

    async def _reap(self) -> None:
        fd = os.pidfd_open(self.pid)
        try:
            async with asyncio.timeout(END_SECONDS):
                await readable(fd)
        except TimeoutError:
            self._popen.kill()
            await readable(fd)
        finally:
            os.close(fd)
        self._popen.wait()

    async def _receive(self) -> Report:
        try:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise Broken("ended")
            return decode_report(line)
        except ConnectionError as error:
            raise Broken("ended") from error
        except ValueError as error:
            raise Broken(f"does not keep to the protocol: {error}") from error


def _spawn(command: Sequence[str], fd: int) -> subprocess.Popen[bytes]:
    """Takes a few milliseconds, and must be done in the loop's thread: the child dies with the thread that made it."""
    arguments = [*command, str(fd), str(os.getpid())]
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[fd])
