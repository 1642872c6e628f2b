# SPDX-License-Identifier: Apache-2.0
"""Resources as tables: what people see with ``-o table``. Pure: messages in, sheets out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lb.cli.names import BACKEND, POOL, VIP, Kind, short
from lb.core.model import RING_SIZE
from lb.v1.backend_pb2 import Backend, NextHop
from lb.v1.pool_pb2 import Pool, RingStatus
from lb.v1.vip_pb2 import Vip

NOTHING = "-"
"""An empty cell would shift the columns for awk and for the eye."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table before it is drawn. Without headers: rows of (field, value). ``numeric`` columns align right."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[str] = frozenset()


def list_sheet(kind: Kind, messages: Iterable[Any]) -> Sheet:
    """One row for each resource."""
    headers, numeric, row = _LISTS[kind]
    return Sheet(headers, tuple(map(row, messages)), frozenset(numeric))


def detail_sheet(kind: Kind, message: Any) -> Sheet:
    """One resource in full, a field a line."""
    return Sheet((), _DETAILS[kind](message))


def enum_name(wrapper: Any, number: int) -> str:
    """Name of an enum's value in lower case; the number when lbd is newer and knows more of them."""
    return str(wrapper.Name(number)).lower() if number in wrapper.values() else str(number)


def why_out(backend: Backend) -> str:
    """Why a backend takes no new flows; "" when it does."""
    return backend.status.reason or backend.status.next_hop.reason


def _vip_row(vip: Vip) -> tuple[str, ...]:
    port = str(vip.port) if vip.port else "any"
    return (short(vip.name), vip.address, port, enum_name(Vip.Protocol, vip.protocol), short(vip.pool))


def _vip_details(vip: Vip) -> tuple[tuple[str, str], ...]:
    name, address, port, protocol, pool = _vip_row(vip)
    return (
        ("NAME", name),
        ("ADDRESS", address),
        ("PORT", port),
        ("PROTOCOL", protocol),
        ("POOL", pool),
        ("HASH-POLICY", enum_name(Vip.HashPolicy, vip.hash_policy).replace("_", "-")),
        ("FORCE", "yes" if vip.force else "no"),
        ("ETAG", vip.etag or NOTHING),
    )


def _pool_row(pool: Pool) -> tuple[str, ...]:
    in_ring = sum(backend.status.in_ring for backend in pool.backends)
    return (
        short(pool.name),
        str(len(pool.backends)),
        str(in_ring),
        ",".join(map(short, pool.vips)) or NOTHING,
        pool.description or NOTHING,
    )


def _pool_details(pool: Pool) -> tuple[tuple[str, str], ...]:
    name, _, in_ring, vips, description = _pool_row(pool)
    return (
        ("NAME", name),
        ("DESCRIPTION", description),
        ("BACKENDS", ",".join(short(backend.name) for backend in pool.backends) or NOTHING),
        ("IN-RING", in_ring),
        ("RING", f"{pool.filled_slots} of {RING_SIZE} slots filled"),
        *((f"{ring.protocol}-SLOTS", _slots(ring)) for ring in pool.rings),
        ("SETTLE", f"{pool.settle_seconds} s for TCP, {pool.udp_settle_seconds} s for UDP"),
        ("DRAIN-IDLE", f"{pool.drain_idle_seconds} s"),
        ("VIPS", vips),
        ("ETAG", pool.etag or NOTHING),
    )


def _slots(ring: RingStatus) -> str:
    slots = f"{ring.stable_slots} stable, {ring.moving_slots} moving, {ring.tracked_slots} tracked"
    held = "; they hold moves back: see the flow table in `lbctl stats`" if ring.held_back else ""
    return f"{slots}; {ring.refused_flows} flows refused{held}"


def _backend_row(backend: Backend) -> tuple[str, ...]:
    return (
        short(backend.name),
        backend.address,
        str(backend.weight),
        enum_name(Backend.AdminState, backend.admin_state),
        f"{backend.status.slots / RING_SIZE:.1%}",
        _next_hop(backend.status.next_hop),
        why_out(backend) or NOTHING,
    )


def _backend_details(backend: Backend) -> tuple[tuple[str, str], ...]:
    name, address, weight, admin, share, next_hop, reason = _backend_row(backend)
    hop = backend.status.next_hop
    return (
        ("NAME", name),
        ("ADDRESS", address),
        ("WEIGHT", weight),
        ("ADMIN", admin),
        ("IN-RING", "yes" if backend.status.in_ring else "no"),
        ("SHARE", f"{share} ({backend.status.slots} of {RING_SIZE} slots)"),
        ("NEXT-HOP", next_hop),
        ("GATEWAY", hop.gateway or NOTHING),
        ("MTU", f"{hop.mtu_bytes} bytes" if hop.mtu_bytes else NOTHING),
        ("REASON", reason),
        ("ETAG", backend.etag or NOTHING),
    )


def _next_hop(hop: NextHop) -> str:
    if hop.state == NextHop.RESOLVED:
        return f"{hop.mac} via {hop.interface}"
    return "unresolved" if hop.state == NextHop.UNRESOLVED else NOTHING


_LISTS: dict[Kind, tuple[tuple[str, ...], set[str], Callable[[Any], tuple[str, ...]]]] = {
    VIP: (("NAME", "ADDRESS", "PORT", "PROTOCOL", "POOL"), {"PORT"}, _vip_row),
    POOL: (("NAME", "BACKENDS", "IN-RING", "VIPS", "DESCRIPTION"), {"BACKENDS", "IN-RING"}, _pool_row),
    BACKEND: (
        ("NAME", "ADDRESS", "WEIGHT", "ADMIN", "SHARE", "NEXT-HOP", "REASON"),
        {"WEIGHT", "SHARE"},
        _backend_row,
    ),
}
_DETAILS: dict[Kind, Callable[[Any], tuple[tuple[str, str], ...]]] = {
    VIP: _vip_details,
    POOL: _pool_details,
    BACKEND: _backend_details,
}
