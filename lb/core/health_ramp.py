# SPDX-License-Identifier: Apache-2.0
"""Slow start: the weight of a backend that came UP grows in a few equal steps, since each of them rebuilds the ring."""

from __future__ import annotations

from lb.core.health import FULL

STEP = 10
"""Percent of the weight: with how much a ramp begins, and by how much it grows."""

STEPS = FULL // STEP - 1


def ramp_percent(began: float, slow_start_seconds: int, now: float) -> int:
    """Percent of the weight that is in force ``now``, 10 to 100; both times are CLOCK_MONOTONIC seconds."""
    return STEP + STEP * sum(now >= _step_at(began, slow_start_seconds, number) for number in range(1, STEPS + 1))


def next_step_at(began: float, slow_start_seconds: int, percent: int) -> float:
    """CLOCK_MONOTONIC second at which a ramp that stands at ``percent``, below 100, grows."""
    return _step_at(began, slow_start_seconds, percent // STEP)


def _step_at(began: float, slow_start_seconds: int, number: int) -> float:
    # One expression for both functions: rounded in two ways, a step that is due might not be taken.
    return began + slow_start_seconds * number / STEPS
