# SPDX-License-Identifier: Apache-2.0
"""Resources as tables. Pure: messages in, sheets out; ``now`` is in seconds since the epoch (UTC)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lb.cli.backend_view import BACKEND_HEADERS, BACKEND_NUMERIC, backend_details, backend_row
from lb.cli.names import BACKEND, POOL, VIP, Kind, short
from lb.cli.pool_view import POOL_HEADERS, POOL_NUMERIC, pool_details, pool_row
from lb.cli.views import NOTHING, Sheet, enum_name
from lb.v1.vip_pb2 import Vip

Row = tuple[str, ...]
Details = tuple[tuple[str, str], ...]

VIP_HEADERS = ("NAME", "ADDRESS", "PORT", "PROTOCOL", "POOL")
VIP_NUMERIC = frozenset({"PORT"})


def list_sheet(kind: Kind, messages: Iterable[Any], now: float) -> Sheet:
    """One row for each resource."""
    headers, numeric, row = _LISTS[kind]
    return Sheet(headers, tuple(row(message, now) for message in messages), numeric)


def detail_sheet(kind: Kind, message: Any, now: float) -> Sheet:
    """One resource in full, a field a line."""
    return Sheet((), _DETAILS[kind](message, now))


def vip_row(vip: Vip, _now: float) -> Row:
    """Of `lbctl vip list`."""
    port = str(vip.port) if vip.port else "any"
    return (short(vip.name), vip.address, port, enum_name(Vip.Protocol, vip.protocol), short(vip.pool))


def vip_details(vip: Vip, now: float) -> Details:
    """Of `lbctl vip get`."""
    return (
        *zip(VIP_HEADERS, vip_row(vip, now), strict=True),
        ("HASH-POLICY", enum_name(Vip.HashPolicy, vip.hash_policy).replace("_", "-")),
        ("FORCE", "yes" if vip.force else "no"),
        ("ETAG", vip.etag or NOTHING),
    )


_LISTS: dict[Kind, tuple[Row, frozenset[str], Callable[[Any, float], Row]]] = {
    VIP: (VIP_HEADERS, VIP_NUMERIC, vip_row),
    POOL: (POOL_HEADERS, POOL_NUMERIC, pool_row),
    BACKEND: (BACKEND_HEADERS, BACKEND_NUMERIC, backend_row),
}
_DETAILS: dict[Kind, Callable[[Any, float], Details]] = {
    VIP: vip_details,
    POOL: pool_details,
    BACKEND: backend_details,
}
