# SPDX-License-Identifier: Apache-2.0
"""The verdict on one backend: what a row of probes makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from lb.core.checks import HealthCheck, Outcome
from lb.core.health import FULL, NO_PROBE, Health, Status
from lb.core.health_ramp import ramp_percent

FLAP_WINDOW_SECONDS = 600
"""A backend that goes DOWN again within this time is flapping; one that did not for so long starts afresh."""

MAX_PENALTY = 8
"""Times ``rise``: the most successes in a row that a flapping backend needs."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of a backend that is probed.

    ``began``, ``since``: seconds since the epoch (UTC) at which its checking and its ``status`` began. ``accepted``: it
    had flows when its checking began. ``error``: of the last probe, "" = it passed. ``passed``, ``failed``: in a row
    under the present check, one of them 0. ``penalty``: times ``rise``, what the next UP needs. ``down_at``,
    ``ramp_began``: CLOCK_MONOTONIC seconds of the last DOWN and of the last slow start. ``ramp``: percent of its weight
    that is in force.
    """

    began: float
    since: float
    accepted: bool
    status: Status = Status.UNKNOWN
    error: str = ""
    passed: int = 0
    failed: int = 0
    penalty: int = 1
    down_at: float = -math.inf
    ramp_began: float = -math.inf
    ramp: int = FULL


def judge(known: Checked, outcome: Outcome, check: HealthCheck, slow_start_seconds: int, utc: float) -> Checked:
    """What is known after one more probe.

    ``fall`` failures in a row make a backend DOWN; ``rise`` successes in a row, times the penalty, make one UP that was
    DOWN. The first success of one without a verdict makes it UP: it has just served, and nothing speaks against it yet.

    Args:
        known: What was known before it.
        outcome: Of the probe.
        check: The pool's.
        slow_start_seconds: The pool's.
        utc: Seconds since the epoch, for ``since``.
    """
    fell_lately = outcome.ended_at - known.down_at < FLAP_WINDOW_SECONDS
    counted = replace(
        known,
        error=outcome.error,
        passed=0 if outcome.error else known.passed + 1,
        failed=known.failed + 1 if outcome.error else 0,
        penalty=known.penalty if fell_lately else 1,
    )
    if known.status is not Status.DOWN and counted.failed >= check.fall:
        penalty = min(2 * known.penalty, MAX_PENALTY) if fell_lately else 1
        return replace(counted, status=Status.DOWN, since=utc, penalty=penalty, down_at=outcome.ended_at, ramp=FULL)
    if known.status is Status.UNKNOWN and counted.passed:
        up = replace(counted, status=Status.UP, since=utc)
        return up if known.accepted else start_slowly(up, slow_start_seconds, outcome.ended_at)
    if known.status is Status.DOWN and counted.passed >= _needed(counted, check):
        return start_slowly(replace(counted, status=Status.UP, since=utc), slow_start_seconds, outcome.ended_at)
    return counted


def start_slowly(known: Checked, slow_start_seconds: int, now: float) -> Checked:
    """It takes flows from ``now`` (CLOCK_MONOTONIC seconds) on, a few at first."""
    return replace(known, ramp_began=now, ramp=ramp_percent(now, slow_start_seconds, now))


def grow(known: Checked, slow_start_seconds: int, now: float) -> Checked:
    """Its weight at ``now``; never less than before, also when slow start was made longer meanwhile."""
    return replace(known, ramp=max(known.ramp, ramp_percent(known.ramp_began, slow_start_seconds, now)))


def recount(known: Checked) -> Checked:
    """Under another check: the verdict stands until that one decides otherwise, by probes of its own."""
    return replace(known, passed=0, failed=0)


def health(known: Checked, check: HealthCheck) -> Health:
    """What there is to say of it."""
    return Health(known.status, known.since, _reason(known, check), known.ramp)


def _needed(known: Checked, check: HealthCheck) -> int:
    return check.rise * known.penalty


def _reason(known: Checked, check: HealthCheck) -> str:
    match known.status:
        case Status.UNKNOWN:
            return known.error or NO_PROBE
        case Status.UP:
            return known.error
    needed = _needed(known, check)
    words = known.error or f"answers again, {known.passed} of {needed} successes in a row"
    return f"{words}; flapping: needs {needed} successes" if known.penalty > 1 else words
