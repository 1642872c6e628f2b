# SPDX-License-Identifier: Apache-2.0
"""Whatever backends answer, in whatever order: no verdict without its row of probes, no half of a hold."""

from __future__ import annotations

import math
from ipaddress import ip_address
from itertools import pairwise
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from lb.core.checks import CheckKind, HealthCheck, Outcome
from lb.core.health import Health, MemberKey, Status
from lb.core.health_member import FLAP_WINDOW_SECONDS, MAX_PENALTY, Checked, judge
from lb.core.health_pool import PoolVerdicts, cycle_seconds
from lb.core.health_ramp import next_step_at, ramp_percent

UTC = 1_700_000_000.0
KEYS: list[MemberKey] = [("web", f"b{number}", ip_address(f"10.0.0.{number}")) for number in range(4)]

checks = st.builds(HealthCheck, st.just(CheckKind.TCP), rise=st.integers(1, 4), fall=st.integers(1, 4))
gaps = st.sampled_from([0.1, 5.0, 60.0, FLAP_WINDOW_SECONDS])
T = TypeVar("T")


def rows(probe: st.SearchStrategy[T]) -> st.SearchStrategy[list[T]]:
    """Several equal ones in a row, many times: single ones would hardly ever add up to a verdict."""
    row = st.tuples(probe, st.integers(1, 9)).map(lambda pair: [pair[0]] * pair[1])
    return st.lists(row, max_size=20).map(lambda found: [one for many in found for one in many])


results = rows(st.tuples(st.booleans(), gaps))
"""(passed, seconds since the probe before)."""

probes = rows(st.tuples(st.sampled_from(KEYS), st.booleans()))
"""(member, passed), half a second apart."""


def outcome(passed: bool, at: float) -> Outcome:
    """Of a probe that ended ``at``."""
    return Outcome("" if passed else "timeout", at, at)


@given(results, checks, st.booleans())
def test_a_verdict_changes_only_after_its_row_of_probes(
    probed: list[tuple[bool, float]], check: HealthCheck, accepted: bool
) -> None:
    """``fall`` failures for DOWN; at least ``rise`` successes for the way back; one for the first UP."""
    known, now = Checked(UTC, UTC, accepted), 0.0
    passes: list[bool] = []
    for passed, gap in probed:
        now += gap
        passes.append(passed)
        before, known = known, judge(known, outcome(passed, now), check, 0, UTC + now)
        match before.status, known.status:
            case Status.UNKNOWN, Status.UP:
                assert passed
            case Status.DOWN, Status.UP:
                assert len(passes) >= check.rise
                assert all(passes[-check.rise :])
            case ((Status.UNKNOWN | Status.UP), Status.DOWN):
                assert len(passes) >= check.fall
                assert not any(passes[-check.fall :])
            case old, new:
                assert old is new


@given(results, checks)
def test_every_row_of_probes_gets_its_verdict(probed: list[tuple[bool, float]], check: HealthCheck) -> None:
    """No backend is without one after ``fall`` probes, kept in for longer than ``fall`` failures, or out for ever."""
    known, now, passed_in_a_row, failed_in_a_row = Checked(UTC, UTC, False), 0.0, 0, 0
    for number, (passed, gap) in enumerate(probed, 1):
        now += gap
        passed_in_a_row, failed_in_a_row = (passed_in_a_row + 1, 0) if passed else (0, failed_in_a_row + 1)
        known = judge(known, outcome(passed, now), check, 0, UTC + now)
        if number >= check.fall:
            assert known.status is not Status.UNKNOWN
        if failed_in_a_row >= check.fall:
            assert known.status is Status.DOWN
        if passed_in_a_row >= check.rise * MAX_PENALTY:
            assert known.status is Status.UP


@given(rows(st.booleans()), checks)
def test_flapping_never_makes_coming_back_easier(probed: list[bool], check: HealthCheck) -> None:
    """Within the window each DOWN doubles what the next UP needs, and nothing halves it."""
    known, penalties = Checked(UTC, UTC, False), []
    for number, passed in enumerate(probed):
        before, known = known, judge(known, outcome(passed, float(number)), check, 0, UTC)
        if before.status is not Status.DOWN and known.status is Status.DOWN:
            penalties.append(known.penalty)
    assert penalties == [min(2**number, MAX_PENALTY) for number in range(len(penalties))]


@given(st.floats(0, 1e9), st.integers(0, 3600), st.lists(st.floats(0, 4000), max_size=50))
def test_a_ramp_grows_to_the_end_in_few_steps(began: float, seconds: int, ages: list[float]) -> None:
    """Each value is a ring: ten at most."""
    percents = [ramp_percent(began, seconds, began + age) for age in sorted(ages)]
    assert percents == sorted(percents)
    assert set(percents) <= set(range(10, 101, 10))
    assert ramp_percent(began, seconds, began + seconds) == 100


@given(st.floats(0, 1e9), st.integers(1, 3600))
def test_a_ramp_has_grown_when_it_said_it_would(began: float, seconds: int) -> None:
    """Not a moment earlier or later: a step that is due is never missed by a rounding."""
    for percent in range(10, 100, 10):
        due = next_step_at(began, seconds, percent)
        assert ramp_percent(began, seconds, due) >= percent + 10
        assert ramp_percent(began, seconds, math.nextafter(due, 0)) <= percent


def run(pool: PoolVerdicts, steps: list[tuple[int, MemberKey, bool]]) -> dict[MemberKey, list[Health]]:
    """What each member's probes led to; (half seconds, member, passed)."""
    history: dict[MemberKey, list[Health]] = {}
    for half_seconds, key, passed in steps:
        now = half_seconds / 2
        pool.advance(now)
        pool.observe(key, outcome(passed, now), UTC + now)
        history.setdefault(key, []).append(pool.shown[key])
    return history


@given(probes, checks, st.sampled_from([0, 20]))
def test_other_members_do_not_bear_on_a_verdict(
    probed: list[tuple[MemberKey, bool]], check: HealthCheck, slow_start_seconds: int
) -> None:
    """Equal rows of probes give equal verdicts, whatever comes between them."""
    steps = [(number, key, passed) for number, (key, passed) in enumerate(probed)]
    together = PoolVerdicts(check, slow_start_seconds)
    together.update(check, slow_start_seconds, dict.fromkeys(KEYS, False), 0.0, UTC)
    found = run(together, steps)
    for key in KEYS:
        alone = PoolVerdicts(check, slow_start_seconds)
        alone.update(check, slow_start_seconds, {key: False}, 0.0, UTC)
        assert run(alone, [step for step in steps if step[1] == key]).get(key) == found.get(key)


@given(probes, checks, st.lists(st.booleans(), min_size=4, max_size=4), st.sampled_from([0, 20]))
def test_a_hold_is_never_published_in_part(
    probed: list[tuple[MemberKey, bool]], check: HealthCheck, accepted: list[bool], slow_start_seconds: int
) -> None:
    """Until each member has a verdict, or a check cycle has passed, nothing; then all that is known, at once."""
    pool = PoolVerdicts(check, slow_start_seconds)
    pool.update(check, slow_start_seconds, dict(zip(KEYS, accepted, strict=True)), 0.0, UTC)
    known = {key: Checked(UTC, UTC, had) for key, had in zip(KEYS, accepted, strict=True)}
    held = any(accepted)
    for number, (key, passed) in enumerate(probed):
        now = number / 2
        changes = pool.advance(now)
        known[key] = judge(known[key], outcome(passed, now), check, 0, UTC + now)
        changes += pool.observe(key, outcome(passed, now), UTC + now)
        statuses = {key: member.status for key, member in known.items()}
        ends = now >= cycle_seconds(check) or Status.UNKNOWN not in statuses.values()
        if held and not ends:
            assert changes == []
            assert {shown.status for shown in pool.shown.values()} == {Status.UNKNOWN}
            continue
        held = False
        assert {key: shown.status for key, shown in pool.shown.items()} == statuses


@given(probes, checks, st.integers(1, 40))
def test_every_change_is_told_once(
    probed: list[tuple[MemberKey, bool]], check: HealthCheck, slow_start_seconds: int
) -> None:
    """Who follows the changes knows what is shown; each begins where the last one ended."""
    pool = PoolVerdicts(check, slow_start_seconds)
    pool.update(check, slow_start_seconds, dict.fromkeys(KEYS, False), 0.0, UTC)
    told: dict[MemberKey, list[tuple[Status, int]]] = {key: [(Status.UNKNOWN, 100)] for key in KEYS}
    for number, (key, passed) in enumerate(probed):
        now = number / 2
        for changed, before, after in pool.advance(now) + pool.observe(key, outcome(passed, now), UTC + now):
            assert told[changed][-1] == (before.status, before.ramp)
            told[changed].append((after.status, after.ramp))
    assert {key: states[-1] for key, states in told.items()} == {
        key: (shown.status, shown.ramp) for key, shown in pool.shown.items()
    }
    for states in told.values():
        assert all(one != other for one, other in pairwise(states))
