# SPDX-License-Identifier: Apache-2.0
"""Flows that stay and are kept busy: each remembers which backend answered first, and must never hear another one.

``python -m testbed.connections tcp|udp HOST PORT N [--interval S] [--echoes E]``: N connections (UDP: sockets), each
asks again S seconds after the last answer; with E, each is closed after E answers and opened anew. Prints "ready" when
every one has been answered, "broken N" with each that breaks; on SIGTERM it closes all and prints ``Report`` as one
line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import time
from collections.abc import Sequence
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
    held: dict[str, int] = field(default_factory=dict)
    broken: list[Incident] = field(default_factory=list)
    moved: list[Incident] = field(default_factory=list)

    @classmethod
    def parse(cls, line: str) -> Report:
        """From the JSON that the program printed."""
        values = json.loads(line)
        for name in ("broken", "moved"):
            values[name] = [Incident(**item) for item in values[name]]
        return cls(**values)


class Flow:
    """One socket that asks and is answered."""

    def __init__(self, sock: socket.socket, report: Report) -> None:
        self._sock = sock
        self._report = report
        self._asked_at = time.monotonic()
        self._loses = sock.type == socket.SOCK_DGRAM
        self.answers = 0
        self.backend = ""

    def incident(self, what: str) -> Incident:
        """For the report."""
        return Incident(time.monotonic(), self._sock.getsockname()[1], self.backend, what)

    async def ask(self) -> None:
        """One question and its answer. Raises ``BrokenFlowError``."""
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not await self._attempt():
            if time.monotonic() >= deadline:
                raise BrokenFlowError(f"no answer within {_ANSWER_SECONDS:g} s")
            self._report.lost += 1
        self.answers += 1
        self._report.answers += 1

    async def _attempt(self) -> bool:
        now = time.monotonic()
        self._report.longest_silence_seconds = max(self._report.longest_silence_seconds, now - self._asked_at)
        self._asked_at = now
        question = f"{self.answers}\n"
        try:
            async with asyncio.timeout(_DATAGRAM_SECONDS if self._loses else _ANSWER_SECONDS):
                await asyncio.get_running_loop().sock_sendall(self._sock, question.encode())
                while not self._is_answer(await self._line(), question):
                    pass
        except TimeoutError:
            return False
        except OSError as error:
            raise BrokenFlowError(str(error)) from error
        return True

    async def _line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            piece = await asyncio.get_running_loop().sock_recv(self._sock, _ANSWER_BYTES)
            if not piece:
                raise BrokenFlowError("closed by the other end")
            line += piece
        return line.decode()

    def _is_answer(self, line: str, question: str) -> bool:
        name, _, echoed = line.partition(" ")
        if name != self.backend:
            if self.backend:
                self._report.moved.append(self.incident(f"answered by {name}"))
            self.backend = name
        if echoed == question:
            return True
        if self._loses:  # late: it was asked again meanwhile
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

    async def keep_busy(self, report: Report, ready: asyncio.Event) -> None:
        """One flow after the other; ``ready`` is set once the first has been answered, or could not be."""
        try:
            while await self._one_flow(report, ready):
                pass
        finally:
            ready.set()

    async def _one_flow(self, report: Report, ready: asyncio.Event) -> bool:
        """Whether there shall be another one: a lasting flow that broke is not replaced."""
        with socket.socket(socket.AF_INET, self.kind) as sock:
            sock.setblocking(False)
            flow = Flow(sock, report)
            try:
                await self._connect(sock)
                await flow.ask()
                ready.set()
                report.opened += 1
                while not self.echoes or flow.answers < self.echoes:
                    await asyncio.sleep(self.interval_seconds)
                    await flow.ask()
            except BrokenFlowError as error:
                report.broken.append(flow.incident(str(error)))
                print(f"broken {len(report.broken)}", flush=True)
            except asyncio.CancelledError:
                if flow.backend:
                    report.held[flow.backend] = report.held.get(flow.backend, 0) + 1
                raise
        await asyncio.sleep(self.interval_seconds)
        return self.echoes > 0

    async def _connect(self, sock: socket.socket) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await asyncio.get_running_loop().sock_connect(sock, (self.host, self.port))
        except OSError as error:  # TimeoutError is one
            raise BrokenFlowError(f"cannot connect: {error or 'no answer'}") from error


async def run(load: Load, count: int) -> Report:
    """Keep ``count`` flows busy until SIGTERM."""
    report = Report()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    ready = [asyncio.Event() for _ in range(count)]
    flows = [asyncio.create_task(load.keep_busy(report, event)) for event in ready]
    await asyncio.gather(*(event.wait() for event in ready))
    print("ready", flush=True)
    await stop.wait()
    for flow in flows:
        flow.cancel()
    ends = await asyncio.gather(*flows, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end
    return report


def main(argv: Sequence[str] | None = None) -> None:
    """Exit code 0 whatever broke: the report is the answer."""
    parser = argparse.ArgumentParser(prog="python -m testbed.connections", description="Keep flows busy.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between answer and question (default 0.1)")
    parser.add_argument("--echoes", type=int, default=0, help="answers after which a flow is replaced (default: never)")
    args = parser.parse_args(argv)
    load = Load(KINDS[args.kind], args.host, args.port, args.interval, args.echoes)
    print(json.dumps(asdict(asyncio.run(run(load, args.count)))), flush=True)


if __name__ == "__main__":
    main()
