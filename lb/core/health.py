# SPDX-License-Identifier: Apache-2.0
"""What the checks observed of a backend. Never stored with the configuration, never overwritten by it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

FULL = 100


class Status(enum.Enum):
    """UNKNOWN: checked, but without a verdict yet."""

    UNKNOWN = "UNKNOWN"
    UP = "UP"
    DOWN = "DOWN"


@dataclass(frozen=True, slots=True)
class Health:
    """Of one backend.

    ``since``: seconds since the epoch (UTC) at which ``status`` began; 0 = it is not checked. ``reason``: the last
    error in words, "" when the last probe passed. ``ramp``: percent of its weight that is in force (slow start), 1 to
    100.
    """

    status: Status
    since: float = 0.0
    reason: str = ""
    ramp: int = FULL


UNCHECKED = Health(Status.UP)
"""A member of a pool without a health check."""
