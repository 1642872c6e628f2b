# SPDX-License-Identifier: Apache-2.0
"""What the checks observed of a backend. Never stored with the configuration, never overwritten by it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

FULL = 100


class Status(enum.Enum):
    """UNKNOWN: checked, but without a verdict yet."""

    UNKNOWN = "UNKNOWN"
    UP = "UP"
    DOWN = "DOWN"


@dataclass(frozen=True, slots=True)
class Health:
    """Of one backend.

    ``since``: seconds since the epoch (UTC) at which ``status`` began; 0 = it is not checked. ``reason``: in words, why
    it is not UP, or the last error of one that is; "" when it is UP and the last probe passed. ``ramp``: percent of its
    weight that is in force (slow start), 1 to 100.
    """

    status: Status
    since: float = 0.0
    reason: str = ""
    ramp: int = FULL


NO_PROBE = "no probe has ended yet"
"""Reason of a member that is new to the checks."""

UNCHECKED = Health(Status.UP)
"""A member of a pool without a health check."""

MemberKey = tuple[str, str, IPv4Address | IPv6Address]
"""Pool name, backend name, address: a new address is a new backend, under whatever name."""
