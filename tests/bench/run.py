# SPDX-License-Identifier: Apache-2.0
"""One benchmark from beginning to end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.driver import toolkit
from bench.gauge import gauge
from bench.live import measure_live
from bench.measure import arenas, measure
from bench.parallel import measure_two_cpus
from bench.results import Results, Settings
from bench.workloads import TCP4, TCP6, VIPS, WORKLOADS

LOOPBACK = 1
"""Interface index that every network namespace has."""

FULL = Settings(repeat=2_000_000, rounds=11, live_frames=2_000_000, workloads=WORKLOADS, patience_seconds=90)
QUICK = Settings(
    repeat=100_000,
    rounds=3,
    live_frames=500_000,
    workloads=(TCP4, TCP6, VIPS),
    patience_seconds=10,
)


def bench(settings: Settings, progress: Callable[[str], None]) -> Results:
    """Measure everything. Raises ``BenchError``, ``LbError`` or ``OSError``."""
    with toolkit() as tools, arenas(tools) as built:
        progress("setting up")
        rows, absent = built.rows(settings)
        entries = built.fill_flow_tables(settings.max_flows)
        with gauge(partial(tools.sender.run, LOOPBACK), settings.patience_seconds) as quiet:
            samples = {**measure(rows, settings, quiet, progress), **dict.fromkeys(absent, ())}
            progress("two CPUs at once")
            two_cpus = measure_two_cpus(rows, settings, quiet)
            progress("live frames through veth")
            live = measure_live(built.get(TCP4), tools, settings, quiet)
        return Results(samples, entries, two_cpus, live, quiet.disturbed / quiet.samples)
