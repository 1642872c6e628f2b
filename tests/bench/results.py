# SPDX-License-Identifier: Apache-2.0
"""Samples and what is made of them. One sample a round, so that samples of a round can be compared with each other."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.workloads import Program, Workload


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured. ``repeat``: packets a sample; ``live_frames``: frames a sample through veth."""

    repeat: int
    rounds: int
    live_frames: int
    workloads: tuple[Workload, ...]
    patience_seconds: float
    """For how long samples that something disturbed are taken again."""
    max_flows: int = 1_000_000
    """Cases with more flows are left out."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a program under a workload with so many flows."""

    workload: Workload
    program: Program
    flows: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, quartiles and extremes of samples."""

    median: float
    q1: float
    q3: float
    minimum: float
    maximum: float

    @property
    def half(self) -> float:
        """Half of the distance between the quartiles."""
        return (self.q3 - self.q1) / 2


def spread(samples: Sequence[float]) -> Spread:
    """Summarise; a single sample is its own everything."""
    assert samples
    # Quartiles need two samples.
    padded = [*samples, *samples] if len(samples) == 1 else samples
    q1, median, q3 = statistics.quantiles(padded, n=4, method="inclusive")
    return Spread(median, q1, q3, min(samples), max(samples))


@dataclass(frozen=True, slots=True)
class TwoCpus:
    """Throughput of two CPUs at once by that of one: ``gross`` with the driver's share, ``net`` without."""

    flows: int
    gross: Spread
    net: Spread


@dataclass(frozen=True, slots=True)
class Live:
    """Frames through veth and back, in millions a second, and the balancer's by the bare program's in each round."""

    flows: int
    bare_mpps: Spread
    balancer_mpps: Spread
    ratio: Spread
    delivered: float
    """Share of the frames that came back."""


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured. ``samples``: gross nanoseconds a packet, empty where this build lacks what it needs."""

    samples: Mapping[Case, Sequence[float]]
    flow_entries: Mapping[str, int]
    two_cpus: Sequence[TwoCpus]
    live: Sequence[Live]
    disturbed: float
    """Share of the samples that something on this machine disturbed, however often they were taken again."""

    @property
    def noise(self) -> float:
        """How far samples of one row lie apart, as a share of its median; the median of all rows."""
        spreads = [spread(samples) for samples in self.samples.values() if samples]
        return statistics.median(found.half / found.median for found in spreads)

    def gross(self, workload: Workload, program: Program, flows: int) -> Spread | None:
        """Nanoseconds a packet with the driver's share; None when it was not measured."""
        samples = self.samples.get(Case(workload, program, flows))
        return spread(samples) if samples else None

    def net(self, workload: Workload, program: Program, flows: int) -> Spread | None:
        """Nanoseconds a packet beyond the empty program's, round by round; None when it was not measured."""
        samples = self.samples.get(Case(workload, program, flows))
        empty = self.samples.get(Case(workload, Program.EMPTY, flows))
        if not samples or not empty:
            return None
        return spread([sample - base for sample, base in zip(samples, empty, strict=True)])
