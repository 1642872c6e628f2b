# SPDX-License-Identifier: Apache-2.0
"""A backend as a row and as lines; ``now`` is in seconds since the epoch (UTC)."""

from __future__ import annotations

from lb.cli.durations import moment, span
from lb.cli.names import short
from lb.cli.views import NOTHING, enum_name
from lb.core.model import RING_SIZE
from lb.v1.backend_pb2 import Backend, DrainStatus, HealthStatus, NextHop

BACKEND_HEADERS = ("NAME", "ADDRESS", "WEIGHT", "ADMIN", "SHARE", "HEALTH", "SINCE", "NEXT-HOP", "REASON")
BACKEND_NUMERIC = frozenset({"WEIGHT", "SHARE"})


def backend_row(backend: Backend, now: float) -> tuple[str, ...]:
    """Of `lbctl backend list`."""
    status = backend.status
    since = status.health.since
    return (
        short(backend.name),
        backend.address,
        str(backend.weight),
        enum_name(Backend.AdminState, backend.admin_state),
        f"{status.slots / RING_SIZE:.1%}",
        _health(status.health),
        span(now - since.seconds, parts=1) if since.seconds else NOTHING,
        _next_hop(status.next_hop),
        _reason(backend) or _slow_start(status.health) or NOTHING,
    )


def backend_details(backend: Backend, now: float) -> tuple[tuple[str, str], ...]:
    """Of `lbctl backend get`."""
    name, address, weight, admin, share, health, _, next_hop, reason = backend_row(backend, now)
    status = backend.status
    return (
        ("NAME", name),
        ("ADDRESS", address),
        ("WEIGHT", weight),
        ("ADMIN", admin),
        ("DEADLINE", _moment(backend.drain_deadline_at_seconds, now)),
        ("DRAIN", drain_text(status.drain, now) if status.HasField("drain") else NOTHING),
        ("IN-RING", "yes" if status.in_ring else "no"),
        ("SHARE", f"{share} ({status.slots} of {RING_SIZE} slots)"),
        ("HEALTH", health),
        ("SINCE", _moment(status.health.since.seconds, now)),
        ("LAST-ERROR", status.health.last_error or NOTHING),
        ("NEXT-HOP", f"{status.next_hop.mac} via {next_hop}" if status.next_hop.mac else next_hop),
        ("GATEWAY", status.next_hop.gateway or NOTHING),
        ("MTU", f"{status.next_hop.mtu_bytes} bytes" if status.next_hop.mtu_bytes else NOTHING),
        ("REASON", reason),
        ("ETAG", backend.etag or NOTHING),
    )


def why_out(backend: Backend) -> str:
    """Why a backend takes no new flows; "" when it does."""
    return backend.status.reason or backend.status.next_hop.reason


def drain_text(drain: DrainStatus, now: float) -> str:
    """How far a drain is, in words."""
    if drain.cut_flows:
        return cut_text(drain.cut_flows)
    if drain.drained:
        return "drained: nothing names it any more, it may be switched off"
    live = "1 live flow" if drain.flows == 1 else f"{drain.flows} live flows"
    closing = f" and {drain.closing_flows} closing" if drain.closing_flows else ""
    silent = drain.untracked_until.seconds - now
    untracked = f", silent flows possible for {span(silent)}" if silent > 0 else ""
    return f"{live}{closing}, {drain.packets_per_second:.0f} packets/s{untracked}"


def cut_text(flows: int) -> str:
    """What a deadline cost, in words."""
    return f"deadline reached: {'1 flow was' if flows == 1 else f'{flows} flows were'} cut"


def _reason(backend: Backend) -> str:
    """Why it takes no new flows, or what its checks complain of while it does."""
    reason, error = why_out(backend), backend.status.health.last_error
    if backend.status.health.state == HealthStatus.UNKNOWN:
        return reason or error
    return "; ".join(filter(None, (reason, f"check: {error}" if error and error not in reason else "")))


def _health(health: HealthStatus) -> str:
    if health.state in (HealthStatus.STATE_UNSPECIFIED, HealthStatus.UNCHECKED):
        return NOTHING
    return enum_name(HealthStatus.State, health.state)


def _slow_start(health: HealthStatus) -> str:
    """Why its share is less than its weight says; "" when it is not."""
    # 0 comes from an lbd that does not know of slow start.
    return f"slow start: {health.weight_percent}% of its weight in force" if 0 < health.weight_percent < 100 else ""


def _moment(seconds: int, now: float) -> str:
    """A point in time, and how far it is away."""
    if not seconds:
        return NOTHING
    away = f"in {span(seconds - now)}" if seconds > now else f"{span(now - seconds)} ago"
    return f"{moment(seconds)} ({away})"


def _next_hop(hop: NextHop) -> str:
    if hop.state == NextHop.RESOLVED:
        return hop.interface
    return "unresolved" if hop.state == NextHop.UNRESOLVED else NOTHING
