# SPDX-License-Identifier: Apache-2.0
"""What happened: the stream that `lbctl watch` shows."""

from __future__ import annotations

from dataclasses import dataclass

from lb.core.audit import Difference
from lb.core.health import Status
from lb.core.model import Protocol


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """A new revision is in force."""

    revision: int
    who: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """A backend's verdict changed; ``reason`` in words, "" for UP."""

    pool: str
    backend: str
    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class DrainProgressed:
    """Of a draining backend; ``done``: "" while it goes on, "drained", or "deadline" (``flows`` were cut)."""

    pool: str
    backend: str
    flows: int
    done: str = ""


@dataclass(frozen=True, slots=True)
class NextHopChanged:
    """``problem``: why the backend has no next hop, "" when it has one (again); ``via``: interface and MAC then."""

    pool: str
    backend: str
    via: str
    problem: str


@dataclass(frozen=True, slots=True)
class MovesHeldBack:
    """Slots have been moving for more than twice their time because flows cannot be tracked."""

    pool: str
    protocol: Protocol


Body = ConfigChanged | HealthChanged | DrainProgressed | NextHopChanged | MovesHeldBack


@dataclass(frozen=True, slots=True)
class Event:
    """``at``: seconds since the epoch (UTC). ``revision``: of the configuration that was in force."""

    at: float
    revision: int
    body: Body
