# SPDX-License-Identifier: Apache-2.0
"""Nanoseconds a packet: every row once a round, in another order each round, on one CPU."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from bench.arena import HAS_FLOW_TABLE, MOVING_SLOTS, Arena, BenchError, arena
from bench.driver import Driver, Toolkit
from bench.gauge import Gauge
from bench.results import Case, Settings
from bench.workloads import TCP4, Program, Shape, Workload

_MIN_WARM_UP = 1_000

Key = tuple[Shape, int, int, bool]
"""What an arena is built for: shape, VIPs, pools, moving."""


@dataclass(frozen=True, slots=True)
class Row:
    """A case and what it needs to be run."""

    case: Case
    arena: Arena
    driver: Driver

    def run(self, repeat: int) -> float:
        """Warm up with every flow once, then time ``repeat`` packets: CPU nanoseconds each, driver included."""
        self.arena.enter()
        self.driver.aim(self.case.workload, self.case.flows, self.arena.programs[self.case.program])
        self._warm_up()
        start = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)
        self.driver.run(self.arena.ifindex, repeat)
        return (time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) - start) / repeat

    def _warm_up(self) -> None:
        packets = max(self.case.flows, _MIN_WARM_UP)
        before = self.arena.forwarded()
        self.driver.run(self.arena.ifindex, packets)
        forwarded = self.arena.forwarded() - before
        expected = packets if self.case.program.is_balancer else 0
        if forwarded != expected:
            raise BenchError(f"{self.case}: {forwarded} of {packets} packets were forwarded, expected {expected}")


class Arenas:
    """All arenas of a run, built when they are first asked for."""

    def __init__(self, tools: Toolkit, stack: ExitStack) -> None:
        self.tools = tools
        self._stack = stack
        self._built: dict[Key, Arena] = {}

    def get(self, workload: Workload, *, moving: bool = False) -> Arena:
        """The arena of a workload; those that differ only in the packets' flags share one."""
        key = (workload.shape, workload.vips, workload.pools, moving)
        if key not in self._built:
            self._built[key] = self._stack.enter_context(arena(workload, self.tools, moving=moving))
        return self._built[key]

    def rows(self, settings: Settings) -> tuple[list[Row], list[Case]]:
        """Rows that this build can run, and cases that it can't."""
        rows: list[Row] = []
        absent: list[Case] = []
        for case in cases(settings):
            program, workload = case.program, case.workload
            if program.tracks and not HAS_FLOW_TABLE:
                absent.append(case)
                continue
            where = self.get(workload, moving=program is Program.MOVING)
            if program.is_balancer and not where.forwards:
                absent.append(case)
            else:
                rows.append(Row(case, where, self.tools.drivers[workload.shape]))
        return rows, absent

    def fill_flow_tables(self, max_flows: int) -> dict[str, int]:
        """Open every flow before the first sample; returns the entries of each tracking arena's table by name.

        A SYN opens it, since packets of older flows may take half of the table only; what follows confirms it.
        """
        entries = {}
        for (shape, vips, pools, moving), where in self._built.items():
            program = Program.MOVING if moving else Program.TRACK_ALL
            if program not in where.programs or not where.forwards:
                continue
            where.enter()
            driver = self.tools.drivers[shape]
            workload = replace(TCP4, shape=shape, vips=vips, pools=pools)
            for syn in (True, False):
                driver.aim(replace(workload, syn=syn), max_flows, where.programs[program])
                # Twice as many packets as flows reach each of them at least once.
                driver.run(where.ifindex, 2 * max_flows)
            name = f"{shape.key} {program}"
            entries[name] = where.flow_entries()
            expected = max_flows // MOVING_SLOTS if moving else max_flows
            if max_flows >= _MIN_WARM_UP and not 0.8 * expected <= entries[name] <= 1.2 * expected:
                raise BenchError(f"{name}: the flow table holds {entries[name]} entries, not about {expected}")
        return entries


def cases(settings: Settings) -> Iterator[Case]:
    """Every row of the table."""
    for workload in settings.workloads:
        for flows in workload.flows:
            if flows <= settings.max_flows:
                for program in workload.programs:
                    yield Case(workload, program, flows)


@contextmanager
def arenas(tools: Toolkit) -> Iterator[Arenas]:
    """Arenas, all removed afterwards."""
    with ExitStack() as stack:
        yield Arenas(tools, stack)


def measure(
    rows: Sequence[Row], settings: Settings, gauge: Gauge, progress: Callable[[str], None]
) -> Mapping[Case, Sequence[float]]:
    """Samples of every row, one a round. Raises ``BenchError``."""
    samples: dict[Case, list[float]] = {row.case: [] for row in rows}
    for number in range(settings.rounds):
        progress(f"round {number + 1} of {settings.rounds}: {len(rows)} rows")
        for row in random.Random(number).sample(rows, len(rows)):
            samples[row.case].append(gauge.sample(partial(row.run, settings.repeat)))
    return samples
