# SPDX-License-Identifier: Apache-2.0
"""What the balancer observed, as messages of ``lb.v1``: health, drains, next hops, rings."""

from __future__ import annotations

from lb.api.changes import timestamp
from lb.core.health import Health, Status
from lb.core.model import BackendState, DrainState, Hop, RingState, Unresolved
from lb.v1 import backend_pb2, pool_pb2

_STATES = {
    Status.UNKNOWN: backend_pb2.HealthStatus.UNKNOWN,
    Status.UP: backend_pb2.HealthStatus.UP,
    Status.DOWN: backend_pb2.HealthStatus.DOWN,
}


def status_to_proto(state: BackendState, *, checked: bool) -> backend_pb2.BackendStatus:
    """Of a backend; ``checked``: its pool has a health check."""
    return backend_pb2.BackendStatus(
        in_ring=not state.reason,
        slots=state.slots,
        reason=state.reason,
        next_hop=_next_hop(state.hop),
        health=_health(state.health, checked=checked),
        drain=_drain(state.drain) if state.drain else None,
    )


def ring_to_proto(state: RingState) -> pool_pb2.RingStatus:
    """Slots of one ring by state."""
    return pool_pb2.RingStatus(
        protocol=state.protocol.name,
        stable_slots=state.stable,
        moving_slots=state.moving,
        tracked_slots=state.tracked,
        refused_flows=state.refusals,
        held_back=state.held_back,
    )


def _next_hop(hop: Hop) -> backend_pb2.NextHop:
    if isinstance(hop, Unresolved):
        return backend_pb2.NextHop(state=backend_pb2.NextHop.UNRESOLVED, reason=hop.reason)
    return backend_pb2.NextHop(
        state=backend_pb2.NextHop.RESOLVED,
        interface=hop.interface,
        gateway=str(hop.gateway or ""),
        mac=hop.mac.hex(":"),
        mtu_bytes=hop.mtu_bytes,
    )


def _health(health: Health, *, checked: bool) -> backend_pb2.HealthStatus:
    if not checked:
        return backend_pb2.HealthStatus(state=backend_pb2.HealthStatus.UNCHECKED, weight_percent=health.ramp)
    return backend_pb2.HealthStatus(
        state=_STATES[health.status],
        since=timestamp(health.since) if health.since else None,
        last_error=health.reason,
        weight_percent=health.ramp,
    )


def _drain(drain: DrainState) -> backend_pb2.DrainStatus:
    return backend_pb2.DrainStatus(
        flows=drain.flows,
        packets_per_second=drain.packets_per_second,
        untracked_until=timestamp(drain.untracked_until) if drain.untracked_until else None,
        drained=drain.drained,
        cut_flows=drain.cut,
        closing_flows=drain.closing,
    )
