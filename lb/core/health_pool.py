# SPDX-License-Identifier: Apache-2.0
"""The verdicts on a pool's members, and when the outside gets to see them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from lb.core.checks import HealthCheck, Outcome
from lb.core.health import FULL, Health, MemberKey, Status
from lb.core.health_member import Checked, grow, health, judge, recount, start_slowly
from lb.core.health_ramp import next_step_at

Change = tuple[MemberKey, Health, Health]
"""A member whose status or ramp is another than it was: what was shown of it, and what is shown now."""


def cycle_seconds(check: HealthCheck) -> float:
    """After so long every member that is probed has had its chance of a verdict."""
    return (check.interval_ms + check.timeout_ms) / 1000 * max(check.rise, check.fall)


class PoolVerdicts:
    """The checked members of one pool.

    When checking begins while members have flows (the daemon started again, or the pool got its check just now), all
    verdicts are held back until each member has one, or a check cycle has passed: the first members that happen to be
    found DOWN would give their flows to others that are about to be.

    ``shown``: what the outside sees, of each member. ``due_at``: CLOCK_MONOTONIC second at which ``advance`` has
    something to do.
    """

    def __init__(self, check: HealthCheck, slow_start_seconds: int) -> None:
        self.shown: dict[MemberKey, Health] = {}
        self.due_at = math.inf
        self._check = check
        self._slow_start_seconds = slow_start_seconds
        self._members: dict[MemberKey, Checked] = {}
        self._held_until: float | None = None

    def update(
        self,
        check: HealthCheck,
        slow_start_seconds: int,
        members: Mapping[MemberKey, bool],
        now: float,
        utc: float,
    ) -> list[Change]:
        """Take over a changed pool; verdicts on members that stay are kept.

        Args:
            check: The pool's.
            slow_start_seconds: The pool's.
            members: Those to be checked; True: it accepts flows now.
            now: CLOCK_MONOTONIC seconds.
            utc: Seconds since the epoch.

        Returns:
            What changed of those that stay.
        """
        if not self._members and any(members.values()):
            self._held_until = now + cycle_seconds(check)
        known = self._members
        if check != self._check:
            known = {key: recount(member) for key, member in known.items()}
        self._check, self._slow_start_seconds = check, slow_start_seconds
        self._members = {key: known.get(key) or Checked(utc, utc, accepts) for key, accepts in members.items()}
        self.shown = {key: shown for key, shown in self.shown.items() if key in members}
        changes = self._publish(self._members, now)
        self._schedule()
        return changes

    def observe(self, key: MemberKey, outcome: Outcome, utc: float) -> list[Change]:
        """Count one probe of a member."""
        # A slow start begins when the verdict is shown, and that of a member that has flows anyway would cut them.
        slow_start_seconds = self._slow_start_seconds if self._held_until is None else 0
        self._members[key] = judge(self._members[key], outcome, self._check, slow_start_seconds, utc)
        changes = self._publish([key], outcome.ended_at)
        if changes:
            self._schedule()
        return changes

    def advance(self, now: float) -> list[Change]:
        """Take the steps of slow starts, and end a hold, that are due by ``now`` (CLOCK_MONOTONIC seconds)."""
        if now < self.due_at:
            return []
        growing = [key for key, member in self._members.items() if member.ramp < FULL]
        for key in growing:
            self._members[key] = grow(self._members[key], self._slow_start_seconds, now)
        changes = self._publish(growing, now)
        self._schedule()
        return changes

    def _publish(self, keys: Collection[MemberKey], now: float) -> list[Change]:
        """Show what is known of these members; of all, when that ends a hold."""
        if self._held_until is not None and (now >= self._held_until or self._is_decided()):
            self._held_until = None
            for key, member in self._members.items():
                if member.status is Status.UP and not member.accepted:
                    self._members[key] = start_slowly(member, self._slow_start_seconds, now)
            keys = self._members.keys()
        changes = []
        for key in keys:
            before, after = self.shown.get(key), self._visible(self._members[key])
            self.shown[key] = after
            if before is not None and (before.status, before.ramp) != (after.status, after.ramp):
                changes.append((key, before, after))
        return changes

    def _is_decided(self) -> bool:
        return all(member.status is not Status.UNKNOWN for member in self._members.values())

    def _visible(self, member: Checked) -> Health:
        found = health(member, self._check)
        if self._held_until is None:
            return found
        reason = found.reason or "answers; waits for the first verdicts on the pool's other members"
        return Health(Status.UNKNOWN, member.began, reason)

    def _schedule(self) -> None:
        if self._held_until is not None:
            self.due_at = self._held_until
            return
        steps = (
            next_step_at(member.ramp_began, self._slow_start_seconds, member.ramp)
            for member in self._members.values()
            if member.ramp < FULL
        )
        self.due_at = min(steps, default=math.inf)
