# SPDX-License-Identifier: Apache-2.0
"""What the health checks say, as the planner and the API ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lb.core.health import NO_PROBE, UNCHECKED, Health, MemberKey, Status
from lb.core.model import AdminState, Backend, Pool

DISABLED = Health(Status.UNKNOWN, reason="not checked: disabled")
PENDING = Health(Status.UNKNOWN, reason=NO_PROBE)
"""Of a member that the checks do not know yet: one that a change would bring."""


@dataclass(frozen=True, slots=True)
class Readings:
    """At one moment, for any configuration, also one that is not in force.

    ``members``: by pool name, of those that are checked. ``problems``: by pool name, why none of its members can be.
    """

    members: Mapping[str, Mapping[MemberKey, Health]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    def health(self, pool: Pool, backend: Backend) -> Health:
        """Of a member."""
        if pool.health_check is None:
            return UNCHECKED
        if backend.admin_state is AdminState.DISABLED:
            return DISABLED
        if pool.name in self.problems:
            return Health(Status.UNKNOWN, reason=self.problems[pool.name])
        return self.members.get(pool.name, {}).get(member_key(pool, backend), PENDING)


def member_key(pool: Pool, backend: Backend) -> MemberKey:
    """What verdicts go by."""
    return pool.name, backend.name, backend.address
