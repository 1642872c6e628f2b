# SPDX-License-Identifier: Apache-2.0
"""One probe from begin to outcome: in time, in words, and only if it says something about the backend."""

from __future__ import annotations

import asyncio

from lb.core.checks import Outcome, Target
from lb.probe.ask import ask
from lb.probe.attempt import Attempt, Stage
from lb.probe.diagnosis import Case, Doctor
from lb.probe.failures import Failed, TimedOut
from lb.probe.lag import Lag

LATE_SHARE = 0.25
"""A timeout counts only if this process lost less than this share of the probe's time."""

_LOOK_AFTER = 0.5
_LOOK_SHARE = 0.45
"""Shares of the timeout: when a diagnosis begins, and how long it may take. The rest is for its end to come first."""


class Rounds:
    """Makes probes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lag = Lag()
        self._doctor = Doctor()

    def stop(self) -> None:
        """No more probes."""
        self._lag.stop()

    async def probe(self, target: Target, case: Case, *, be_patient: bool) -> Outcome | None:
        """Probe once.

        Args:
            target: What.
            case: What is known of its silence through the tunnel; kept up to date.
            be_patient: Return None when the probe timed out while this process did not run: it must be repeated.

        Raises:
            Unable: It could not be made.
        """
        seconds = target.check.timeout_ms / 1000
        started_at, lost_seconds = self._loop.time(), self._lag.lost_seconds
        error = await self._error(target, case, seconds)
        ended_at = self._loop.time()
        if isinstance(error, TimedOut) and be_patient:
            late_seconds = max(self._lag.lost_seconds - lost_seconds, ended_at - started_at - seconds)
            if late_seconds > LATE_SHARE * seconds:
                return None
        if error is None:
            case.close()
        return Outcome(error.words if error else "", started_at, ended_at)

    async def _error(self, target: Target, case: Case, seconds: float) -> Failed | None:
        attempt = Attempt(target)
        if not target.mark:
            return await _ask(attempt, seconds)
        half_time = self._loop.call_later(_LOOK_AFTER * seconds, self._look, attempt, case, _LOOK_SHARE * seconds)
        try:
            error = await _ask(attempt, seconds)
        finally:
            half_time.cancel()
        if isinstance(error, TimedOut) and attempt.stage is Stage.SENT:
            return TimedOut(f"{error.words} through the tunnel{case.finding.value}")
        return error

    def _look(self, attempt: Attempt, case: Case, seconds: float) -> None:
        if attempt.stage is Stage.SENT:
            self._doctor.look(case, attempt.target, seconds)


async def _ask(attempt: Attempt, seconds: float) -> Failed | None:
    try:
        await ask(attempt, seconds)
    except Failed as failed:
        return failed
    return None
