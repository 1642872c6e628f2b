# SPDX-License-Identifier: Apache-2.0
"""Two CPUs at once against one: what the CPUs share (maps, cache lines) must not slow them down."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.gauge import Gauge
from bench.measure import Row
from bench.results import Case, Settings, TwoCpus, spread
from bench.workloads import TCP4, Program


def measure_two_cpus(rows: Sequence[Row], settings: Settings, gauge: Gauge) -> list[TwoCpus]:
    """Wall-clock throughput of the stable balancer with 1 flow and with the most there are; none with one CPU."""
    by_case = {row.case: row for row in rows}
    counts = [flows for flows in TCP4.flows if flows <= settings.max_flows]
    if len(gauge.cpus) < 2:
        return []
    return [
        _compare(by_case[Case(TCP4, Program.EMPTY, flows)], by_case[Case(TCP4, Program.STABLE, flows)], settings, gauge)
        for flows in dict.fromkeys((counts[0], counts[-1]))
    ]


def _compare(empty: Row, stable: Row, settings: Settings, gauge: Gauge) -> TwoCpus:
    pairs = [
        gauge.sample(lambda: _speedups(empty, stable, gauge.cpus, settings.repeat), everywhere=True)
        for _ in range(settings.rounds)
    ]
    gross, net = zip(*pairs, strict=True)
    return TwoCpus(stable.case.flows, spread(gross), spread(net))


def _speedups(empty: Row, stable: Row, cpus: Sequence[int], repeat: int) -> tuple[float, float]:
    """Throughput of all CPUs at once by the mean of each alone: with the driver's share, and without."""
    empty_alone, stable_alone = ([_wall_ns(row, [cpu], repeat)[0] for cpu in cpus] for row in (empty, stable))
    empty_both, stable_both = (_wall_ns(row, cpus, repeat) for row in (empty, stable))

    def rate(walls: Sequence[float]) -> float:
        return sum(1 / wall for wall in walls)

    def net(walls: Sequence[float], bases: Sequence[float]) -> list[float]:
        return [wall - base for wall, base in zip(walls, bases, strict=True)]

    return (
        rate(stable_both) * len(cpus) / rate(stable_alone),
        rate(net(stable_both, empty_both)) * len(cpus) / rate(net(stable_alone, empty_alone)),
    )


def _wall_ns(row: Row, cpus: Sequence[int], repeat: int) -> list[float]:
    """Nanoseconds that each CPU needs for ``repeat`` packets, all starting together."""
    row.driver.aim(row.case.workload, row.case.flows, row.arena.programs[row.case.program])
    ready = threading.Barrier(len(cpus))

    def work(cpu: int) -> float:
        os.sched_setaffinity(0, {cpu})
        row.arena.enter()
        row.driver.run(row.arena.ifindex, max(row.case.flows, 1_000))
        ready.wait(timeout=60)
        start = time.perf_counter_ns()
        row.driver.run(row.arena.ifindex, repeat)
        return time.perf_counter_ns() - start

    with ThreadPoolExecutor(len(cpus)) as threads:
        return list(threads.map(work, cpus))
