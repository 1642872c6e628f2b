# SPDX-License-Identifier: Apache-2.0
"""How many probes one core makes.

``PYTHONPATH=tests python -m bench.probes [--targets N] [--seconds S] [--kind KIND]``

Needs no root. The servers run in a process of their own, on another core where there is one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import statistics
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from multiprocessing.connection import Connection
from pathlib import Path

from lb.core.checks import CheckKind, HealthCheck, Outcome, Target
from lb.probe.prober import ProcessProber

INTERVAL_MS = 1_000
WARM_UP_SECONDS = 2.0
KINDS = {"tcp": [CheckKind.TCP], "http": [CheckKind.HTTP], "mixed": [CheckKind.TCP, CheckKind.HTTP]}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Service(asyncio.Protocol):
    """Accepts, and answers whatever is asked."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, _: bytes) -> None:
        self._transport.write(ANSWER)
        self._transport.close()


def serve(ports: Connection) -> None:
    """The servers' process: listens on all of 127.0.0.0/8, tells the port, and serves until it is ended."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Service, "0.0.0.0", 0, backlog=4096)
        ports.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    _pin(0)
    asyncio.run(run())


@contextlib.contextmanager
def served() -> Iterator[int]:
    """The port of running servers."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def targets(kinds: list[CheckKind], count: int, port: int) -> list[Target]:
    """Each at an address of its own, half of them of each kind."""
    checks = [
        HealthCheck(kind, interval_ms=INTERVAL_MS, expected_body="ok" * (kind is CheckKind.HTTP)) for kind in kinds
    ]
    first = int(ip_address("127.1.0.1"))
    addresses = [ip_address(first + number) for number in range(count)]
    return [Target(checks[n % len(checks)], each, each, port) for n, each in enumerate(addresses)]


def cpu_seconds(pid: int) -> float:
    """Of a process so far, all its threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(kinds: list[CheckKind], count: int, seconds: float, port: int) -> None:
    """Probe for a while, and print what came of it."""
    loop = asyncio.get_running_loop()
    outcomes: list[Outcome] = []
    prober = ProcessProber()
    prober.on_outcome(lambda _, outcome: outcomes.append(outcome))
    await prober.start()
    try:
        assert prober.pid is not None
        os.sched_setaffinity(prober.pid, {max(os.sched_getaffinity(0))})
        prober.watch(targets(kinds, count, port))
        await asyncio.sleep(WARM_UP_SECONDS)
        outcomes.clear()
        began, cpu, own = loop.time(), cpu_seconds(prober.pid), cpu_seconds(os.getpid())
        await asyncio.sleep(seconds)
        took = loop.time() - began
        cpu, own = cpu_seconds(prober.pid) - cpu, cpu_seconds(os.getpid()) - own
    finally:
        await prober.stop()
    report(outcomes, took, cpu, own, count)


def report(outcomes: list[Outcome], took: float, cpu: float, own: float, count: int) -> None:
    """The figures."""
    times_ms = [(each.ended_at - each.started_at) * 1000 for each in outcomes if not each.error]
    print(f"{count:,} targets, one probe each {INTERVAL_MS / 1000:g} s, for {took:.1f} s")
    print(f"  probes a second     {len(outcomes) / took:10.0f}")
    print(f"  prober's CPU        {cpu / took:10.1%}   {cpu / max(1, len(outcomes)) * 1e6:.0f} us a probe")
    print(f"  receiver's CPU      {own / took:10.1%}   {own / max(1, len(outcomes)) * 1e6:.0f} us a probe")
    if len(times_ms) > 1:
        cuts = statistics.quantiles(times_ms, n=100)
        names = {"median": cuts[49], "90 %": cuts[89], "99 %": cuts[98], "longest": max(times_ms)}
        print("  time of a probe     " + ", ".join(f"{name} {value:.2f} ms" for name, value in names.items()))
    for error, number in Counter(each.error for each in outcomes if each.error).most_common(5):
        print(f"  failed              {number:10} {error}")


def _pin(cpu_place: int) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[cpu_place]})


def main() -> None:
    """Prints figures; judges nothing."""
    parser = argparse.ArgumentParser(prog="bench.probes", description="How many probes one core makes.")
    parser.add_argument("--targets", type=int, default=1_000, metavar="N", help="each is probed once a second")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="how long to measure")
    parser.add_argument("--kind", choices=KINDS, default="mixed")
    args = parser.parse_args()
    with served() as port:
        asyncio.run(measure(KINDS[args.kind], args.targets, args.seconds, port))


if __name__ == "__main__":
    main()
