# SPDX-License-Identifier: Apache-2.0
"""Which target is probed when, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import pairwise

import pytest
from unit.probe_time import run, stall

from lb.core.checks import PROBE_MARK, CheckKind, HealthCheck, Outcome, Target
from lb.probe.diagnosis import Case
from lb.probe.failures import Unable
from lb.probe.protocol import TARGETS_PER_LINE
from lb.probe.schedule import MAX_REPEATS, PER_TARGET_SECONDS, SPREAD_SECONDS, Schedule, describe

SERVICE_SECONDS = 0.01
"""What a probe takes here."""


def targets(count: int, **check: int) -> list[tuple[int, Target]]:
    """Numbered from 1."""
    asked = HealthCheck(CheckKind.TCP, **{"interval_ms": 1_000, "timeout_ms": 500, "jitter_percent": 0} | check)
    address = ip_address("10.0.0.1")
    return [(number, Target(asked, address, address, number)) for number in range(1, count + 1)]


async def passes(_: int) -> Outcome | None:
    """A probe that does."""
    await asyncio.sleep(SERVICE_SECONDS)
    now = asyncio.get_running_loop().time()
    return Outcome("", now - SERVICE_SECONDS, now)


async def hang(_: int) -> Outcome:
    """A probe that waits for its timeout."""
    await asyncio.sleep(0.5)
    return Outcome("timeout", 0, 0)


@dataclass
class Backends:
    """Stands for ``Rounds``. ``answer``: what a probe of the target with this port does. ``began``: (when, port)."""

    answer: Callable[[int], Awaitable[Outcome | None]] = passes
    began: list[tuple[float, int]] = field(default_factory=list)
    patience: list[bool] = field(default_factory=list)
    running: Counter[int] = field(default_factory=Counter)
    most: int = 0

    async def probe(self, target: Target, _case: Case, *, be_patient: bool) -> Outcome | None:
        self.began.append((asyncio.get_running_loop().time(), target.port))
        self.patience.append(be_patient)
        self.running[target.port] += 1
        self.most = max(self.most, self.running.total())
        assert self.running[target.port] == 1, "two probes of one target at a time"
        try:
            return await self.answer(target.port)
        finally:
            self.running[target.port] -= 1

    def times(self, port: int) -> list[float]:
        """When probes of one target began."""
        return [when for when, each in self.began if each == port]


@dataclass
class Lbd:
    """What is reported."""

    outcomes: list[tuple[int, Outcome]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def schedule(self, backends: Backends, limit: int = 1_000) -> Schedule:
        """That reports here."""
        return Schedule(backends, limit, lambda number, outcome: self.outcomes.append((number, outcome)), self.warn)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_each_target_is_probed_at_its_interval() -> None:
    """As long as probes take; and each outcome is told."""

    async def body() -> None:
        backends, lbd = Backends(), Lbd()
        schedule = lbd.schedule(backends)
        schedule.add(targets(1))
        await asyncio.sleep(10.5)
        times = backends.times(1)
        assert len(times) == 11
        assert [after - before for before, after in pairwise(times)] == pytest.approx([1.0] * 10)
        assert [number for number, _ in lbd.outcomes] == [1] * 11
        schedule.stop()

    run(body())


def test_jitter_makes_intervals_longer_and_shorter_within_its_bounds() -> None:
    """Probes do not stay in step; on average they keep their rate."""

    async def body() -> None:
        backends = Backends()
        schedule = Lbd().schedule(backends)
        schedule.add(targets(1, jitter_percent=20))
        await asyncio.sleep(1_000)
        intervals = [after - before for before, after in pairwise(backends.times(1))]
        assert 0.8 <= min(intervals) < 0.85
        assert 1.15 < max(intervals) <= 1.2
        assert sum(intervals) / len(intervals) == pytest.approx(1, abs=0.05)
        schedule.stop()

    run(body())


@pytest.mark.parametrize(
    ("count", "interval_ms", "within_seconds"),
    [(1, 60_000, 0.0), (10, 60_000, 0.05), (5_000, 60_000, SPREAD_SECONDS), (500, 200, 0.2)],
)
def test_first_probes_come_soon_and_spread(count: int, interval_ms: int, within_seconds: float) -> None:
    """A new backend gets its first verdict now; a thousand of them do not make a burst."""

    async def body() -> None:
        backends = Backends()
        schedule = Lbd().schedule(backends, 10_000)
        began = asyncio.get_running_loop().time()
        numbered = targets(count, interval_ms=interval_ms, timeout_ms=10)
        for first in range(0, count, TARGETS_PER_LINE):
            schedule.add(numbered[first : first + TARGETS_PER_LINE])
        await asyncio.sleep(within_seconds + 0.001)
        firsts = {port: when for when, port in reversed(backends.began)}
        assert len(firsts) == count
        assert max(firsts.values()) - began <= within_seconds
        if count >= 500:
            early = sum(when - began < within_seconds / 2 for when in firsts.values())
            assert 0.4 < early / count < 0.7
        schedule.stop()

    run(body())


def test_targets_that_stay_keep_their_schedule() -> None:
    """However often others come and go."""

    async def body() -> None:
        backends = Backends()
        schedule = Lbd().schedule(backends)
        [first, *others] = targets(50)
        schedule.add([first])
        for other in others:
            schedule.add([other])
            await asyncio.sleep(0.1)
            schedule.remove([other[0]])
        times = backends.times(1)
        assert [after - before for before, after in pairwise(times)] == pytest.approx([1.0] * 4)
        schedule.stop()

    run(body())


def test_what_is_removed_is_neither_probed_nor_told() -> None:
    """Also when its probe was on its way, or waited for its turn."""

    async def body() -> None:
        backends, lbd = Backends(hang), Lbd()
        schedule = lbd.schedule(backends, limit=1)
        schedule.add(targets(3))
        await asyncio.sleep(2 * PER_TARGET_SECONDS)  # the first runs, the others wait
        schedule.remove([1, 2, 3])
        assert backends.running.total() == 1
        probes = len(backends.began)
        await asyncio.sleep(5)
        assert (len(backends.began), lbd.outcomes, backends.running.total()) == (probes, [], 0)

    run(body())


def test_a_probe_that_takes_longer_than_its_interval_delays_the_next_one() -> None:
    """There are never two of one target; what was missed is not made up for."""

    async def slow(_: int) -> Outcome:
        await asyncio.sleep(0.25)
        return Outcome("", 0, 0)

    async def body() -> None:
        backends = Backends(slow)
        schedule = Lbd().schedule(backends)
        schedule.add(targets(1, interval_ms=100))
        await asyncio.sleep(2.1)
        assert [after - before for before, after in pairwise(backends.times(1))] == pytest.approx([0.25] * 8)
        schedule.stop()

    run(body())


def test_after_a_stall_probes_do_not_come_in_a_burst() -> None:
    """One of each target is enough."""

    async def body() -> None:
        backends = Backends()
        schedule = Lbd().schedule(backends)
        schedule.add(targets(1))
        await asyncio.sleep(0.5)
        stall(100)
        await asyncio.sleep(1.5)
        assert len(backends.began) == 3
        schedule.stop()

    run(body())


def test_a_bounded_number_is_probed_at_a_time_and_each_gets_its_turn() -> None:
    """Also when all hang: first come, first served."""

    async def body() -> None:
        backends = Backends(hang)
        schedule = Lbd().schedule(backends, limit=10)
        schedule.add(targets(100))
        await asyncio.sleep(20.25)  # 4 rounds: 10 at a time, 5 s for all
        assert backends.most == 10
        assert {len(backends.times(port)) for port in range(1, 101)} <= {4, 5}
        schedule.stop()

    run(body())


def test_a_probe_that_says_nothing_is_repeated_at_once_but_not_for_ever() -> None:
    """Else an overloaded prober would never find a backend DOWN."""

    async def late(_: int) -> None:
        await asyncio.sleep(0.1)

    async def body() -> None:
        backends, lbd = Backends(late), Lbd()
        schedule = lbd.schedule(backends)
        schedule.add(targets(1))
        await asyncio.sleep(0.1 * MAX_REPEATS + 0.05)
        assert backends.patience == [True] * MAX_REPEATS + [False]
        assert lbd.outcomes == []
        schedule.stop()

    run(body())


def test_a_probe_that_could_not_be_made_is_warned_of_and_comes_again() -> None:
    """No outcome is invented."""

    async def unable(_: int) -> Outcome:
        raise Unable("too many open files")

    async def body() -> None:
        backends, lbd = Backends(unable), Lbd()
        schedule = lbd.schedule(backends)
        schedule.add(targets(1))
        await asyncio.sleep(2.5)
        assert lbd.warnings == ["cannot probe TCP 10.0.0.1 port 1: too many open files"] * 3
        assert lbd.outcomes == []
        schedule.stop()

    run(body())


def test_a_bug_in_one_probe_stops_neither_it_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, with where it is."""

    async def broken(port: int) -> Outcome | None:
        return await passes(1 // (port - 1))

    async def body() -> None:
        backends, lbd = Backends(broken), Lbd()
        schedule = lbd.schedule(backends)
        schedule.add(targets(2))
        await asyncio.sleep(2.5)
        assert {number for number, _ in lbd.outcomes} == {2}
        assert len(backends.times(1)) == len(backends.times(2)) == 3
        schedule.stop()

    with caplog.at_level(logging.CRITICAL):
        run(body())
    assert "cannot probe TCP 10.0.0.1 port 1: this is a bug in lb" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_target_is_described_by_where_its_probe_goes() -> None:
    """The VIP, and the host behind the tunnel."""
    backend, vip = ip_address("10.0.0.1"), ip_address("2001:db8::1")
    check = HealthCheck(CheckKind.ICMP)
    assert describe(Target(check, backend, backend, 0)) == "ICMP 10.0.0.1"
    assert describe(Target(check, backend, vip, 80, PROBE_MARK | 1)) == (
        "ICMP 2001:db8::1 port 80 through the tunnel to 10.0.0.1"
    )
