# SPDX-License-Identifier: Apache-2.0
"""Flows that stay and are kept busy: each remembers which backend answered first, and must never hear another one.

``python -m testbed.connections tcp|udp HOST PORT N [--interval S] [--echoes E]``: N connections (UDP: sockets), each
asks again S seconds after the last answer; with E, each is closed after E answers and opened anew. Prints "ready" when
every one has been answered; on SIGTERM it closes all and prints ``Report`` as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

_ANSWER_SECONDS = 15.0
"""TCP repeats what is lost; a connection without an answer for so long is broken."""
_DATAGRAM_SECONDS = 0.25
"""UDP repeats nothing: the question is asked again after this."""
_ANSWER_BYTES = 2048

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class BrokenFlowError(Exception):
    """The flow cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that must not happen: when (CLOCK_MONOTONIC seconds), to which flow on which backend, and what."""

    at: float
    port: int
    backend: str
    what: str


@dataclass(slots=True)
class Report:
    """What became of the flows.

    ``held``: flows by backend, at the end. ``opened``: how many there were. ``lost``: datagrams asked again.
    ``broken`` and ``moved``: all of them. ``longest_silence_seconds``: between two questions of a flow.
    """

    opened: int = 0
    answers: int = 0
    lost: int = 0
    longest_silence_seconds: float = 0.0
    held: Counter[str] = field(default_factory=Counter)
    broken: list[Incident] = field(default_factory=list)
    moved: list[Incident] = field(default_factory=list)

    @classmethod
    def parse(cls, line: str) -> Report:
        """From the JSON that the program printed."""
        values = json.loads(line)
        for name in ("broken", "moved"):
            values[name] = [Incident(**item) for item in values[name]]
        return cls(**{**values, "held": Counter(values["held"])})


class Flow:
    """One socket that asks and is answered."""

    def __init__(self, sock: socket.socket, report: Report) -> None:
        self._sock = sock
        self._report = report
        self._number = 0
        self._asked_at = time.monotonic()
        self.backend = ""

    @property
    def is_udp(self) -> bool:
        """Where answers may get lost."""
        return self._sock.type == socket.SOCK_DGRAM

    def incident(self, what: str) -> Incident:
        """For the report."""
        return Incident(time.monotonic(), self._sock.getsockname()[1], self.backend, what)

    async def ask(self) -> None:
        """One question and its answer. Raises ``BrokenFlowError``."""
        self._number += 1
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not await self._attempt():
            self._report.lost += 1
            if time.monotonic() > deadline:
                raise BrokenFlowError(f"no answer within {_ANSWER_SECONDS:g} s")
        self._report.answers += 1

    async def _attempt(self) -> bool:
        now = time.monotonic()
        self._report.longest_silence_seconds = max(self._report.longest_silence_seconds, now - self._asked_at)
        self._asked_at = now
        question = b"%d" % self._number
        try:
            async with asyncio.timeout(_DATAGRAM_SECONDS if self.is_udp else _ANSWER_SECONDS):
                await asyncio.get_running_loop().sock_sendall(self._sock, question + b"\n")
                while not self._is_answer(await self._line(), question):
                    pass
        except TimeoutError:
            return False
        except OSError as error:
            raise BrokenFlowError(str(error)) from error
        return True

    async def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            piece = await asyncio.get_running_loop().sock_recv(self._sock, _ANSWER_BYTES)
            if not piece:
                raise BrokenFlowError("closed by the other end")
            line += piece
        return line

    def _is_answer(self, line: bytes, question: bytes) -> bool:
        name, _, echoed = line.decode().partition(" ")
        if name != self.backend:
            if self.backend:
                self._report.moved.append(self.incident(f"answered by {name}"))
            self.backend = name
        if echoed.encode() == question + b"\n":
            return True
        if self.is_udp:  # late, and asked again meanwhile
            return False
        raise BrokenFlowError(f"asked {question!r}, answered {line!r}")


@dataclass(frozen=True, slots=True)
class Load:
    """What to do; ``echoes`` 0: flows stay until the end."""

    kind: int
    host: str
    port: int
    interval_seconds: float
    echoes: int

    async def open(self, report: Report) -> Flow:
        """A new flow that has been answered once. Raises ``BrokenFlowError``."""
        sock = socket.socket(socket.AF_INET, self.kind)
        sock.setblocking(False)
        flow = Flow(sock, report)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await asyncio.get_running_loop().sock_connect(sock, (self.host, self.port))
            await flow.ask()
        except OSError as error:  # TimeoutError is one
            sock.close()
            raise BrokenFlowError(f"cannot connect: {error or 'no answer'}") from error
        except BaseException:
            sock.close()
            raise
        report.opened += 1
        return flow

    async def keep_busy(self, report: Report, ready: asyncio.Event) -> None:
        """One flow after the other until cancelled; ``ready`` is set when the first one has been answered."""
        while True:
            try:
                flow = await self.open(report)
            except BrokenFlowError as error:
                report.broken.append(Incident(time.monotonic(), 0, "", str(error)))
                return
            ready.set()
            try:
                with flow.sock:
                    if not await self._use(flow, report):
                        return
            finally:
                ready.set()


async def _run(load: Load, count: int) -> Report:
    raise NotImplementedError
