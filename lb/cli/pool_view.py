# SPDX-License-Identifier: Apache-2.0
"""A pool as a row and as lines."""

from __future__ import annotations

from lb.cli.check_view import check_text
from lb.cli.durations import span
from lb.cli.names import short
from lb.cli.views import NOTHING, enum_name
from lb.core.model import RING_SIZE
from lb.v1.pool_pb2 import Pool, RingStatus

POOL_HEADERS = ("NAME", "BACKENDS", "IN-RING", "VIPS", "DESCRIPTION")
POOL_NUMERIC = frozenset({"BACKENDS", "IN-RING"})


def pool_row(pool: Pool, _now: float) -> tuple[str, ...]:
    """Of `lbctl pool list`."""
    in_ring = sum(backend.status.in_ring for backend in pool.backends)
    return (
        short(pool.name),
        str(len(pool.backends)),
        str(in_ring),
        ",".join(map(short, pool.vips)) or NOTHING,
        pool.description or NOTHING,
    )


def pool_details(pool: Pool, now: float) -> tuple[tuple[str, str], ...]:
    """Of `lbctl pool get`."""
    name, _, in_ring, vips, description = pool_row(pool, now)
    return (
        ("NAME", name),
        ("DESCRIPTION", description),
        ("BACKENDS", ",".join(short(backend.name) for backend in pool.backends) or NOTHING),
        ("IN-RING", in_ring),
        ("RING", f"{pool.filled_slots} of {RING_SIZE} slots filled"),
        *((f"{ring.protocol}-SLOTS", _slots(ring)) for ring in pool.rings),
        ("HEALTH-CHECK", check_text(pool.health_check) if pool.HasField("health_check") else NOTHING),
        ("ON-DOWN", f"{enum_name(Pool.OnDown, pool.on_down)} its flows" if pool.on_down else NOTHING),
        ("FAIL-OPEN", _fail_open(pool)),
        ("FAILING-OPEN", "yes: too few members are up, so all are used" if pool.failing_open else "no"),
        ("SLOW-START", span(pool.slow_start_seconds) if pool.slow_start_seconds else NOTHING),
        ("SETTLE", f"{pool.settle_seconds} s for TCP, {pool.udp_settle_seconds} s for UDP"),
        ("DRAIN-IDLE", f"{pool.drain_idle_seconds} s"),
        ("VIPS", vips),
        ("ETAG", pool.etag or NOTHING),
    )


def _fail_open(pool: Pool) -> str:
    if not pool.HasField("fail_open"):
        return NOTHING
    if not pool.fail_open:
        return "no: packets are dropped when no member is up"
    limit = pool.min_healthy_percent
    return f"when fewer than {limit}% of the members are up" if limit else "when no member is up"


def _slots(ring: RingStatus) -> str:
    slots = f"{ring.stable_slots} stable, {ring.moving_slots} moving, {ring.tracked_slots} tracked"
    held = "; they hold moves back: see the flow table in `lbctl stats`" if ring.held_back else ""
    return f"{slots}; {ring.refused_flows} flows refused{held}"
