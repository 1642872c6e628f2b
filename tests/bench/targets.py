# SPDX-License-Identifier: Apache-2.0
"""What the project promises, as ratios within one run: only those mean anything on another machine."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from bench.results import Results
from bench.workloads import TCP4, TCP6, VIPS, VIPS_POOLS, Program, Workload


class Outcome(enum.StrEnum):
    """What became of a target."""

    REACHED = "reached"
    MISSED = "missed"
    REPORTED = "reported"
    ABSENT = "not measured"


@dataclass(frozen=True, slots=True)
class Target:
    """A line: ``figure`` is to be at most (or ``at_least``) ``limit``; None: was not measured, or has no limit."""

    text: str
    figure: float | None
    limit: float | None
    at_least: bool = False

    @property
    def outcome(self) -> Outcome:
        """Judge it."""
        if self.figure is None:
            return Outcome.ABSENT
        if self.limit is None:
            return Outcome.REPORTED
        good = self.figure >= self.limit if self.at_least else self.figure <= self.limit
        return Outcome.REACHED if good else Outcome.MISSED


Point = tuple[Workload, Program, int]


def targets(results: Results) -> Iterator[Target]:
    """All lines, judged."""

    def ratio(point: Point, base: Point) -> float | None:
        of, by = results.net(*point), results.net(*base)
        return None if of is None or by is None or by.median <= 0 else of.median / by.median

    def stable(flows: int, workload: Workload = TCP4) -> Point:
        return workload, Program.STABLE, flows

    def track_all(flows: int) -> Point:
        return TCP4, Program.TRACK_ALL, flows

    few, most = TCP4.flows[0], TCP4.flows[-1]
    one, all_flows = "1 flow", f"{most:,} flows"
    floor = (TCP4, Program.FLOOR, few)
    yield Target(f"stable / track-all, {one}", ratio(stable(few), track_all(few)), 0.45)
    yield Target(f"stable / floor, {one}", ratio(stable(few), floor), 6)
    yield Target(f"stable / track-all, {all_flows}", ratio(stable(most), track_all(most)), 0.15)
    yield Target(f"stable, {all_flows} / {one}", ratio(stable(most), stable(few)), 1.6)
    for flows, name in ((few, one), (most, all_flows)):
        yield Target(f"IPv6 / IPv4, stable, {name}", ratio(stable(flows, TCP6), stable(flows)), 1.25)
    for flows in VIPS.flows:
        name = f"stable, {flows:,} flows"
        yield Target(f"1,000 VIPs on 1 pool / 1 VIP, {name}", ratio(stable(flows, VIPS), stable(flows)), 1.15)
        yield Target(f"1,000 VIPs on 100 pools / 1 VIP, {name}", ratio(stable(flows, VIPS_POOLS), stable(flows)), None)
    yield Target(f"1 slot in 10 moving / stable, {all_flows}", ratio((TCP4, Program.MOVING, most), stable(most)), 2)
    cpus = {found.flows: found.gross.median for found in results.two_cpus}
    live = {found.flows: found.ratio.median for found in results.live}
    for flows, name, limit in ((few, one, 0.75), (most, all_flows, 0.68)):
        yield Target(f"two CPUs / one, stable, {name}", cpus.get(flows), 1.85, at_least=True)
        yield Target(f"through veth: balancer / bare XDP_TX, {name}", live.get(flows), limit, at_least=True)
