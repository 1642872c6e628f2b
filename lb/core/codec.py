# SPDX-License-Identifier: Apache-2.0
"""The model as plain JSON-able dicts, one per object: the form that is stored, and that etags are made of.

Names are the store's keys and not part of an object's dict; a pool's members are objects of their own. Every dict
carries the format's version, so that a reader never guesses. Objects of older versions are read as they are, and are
of this one when they are next written.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network

from lb.core.checks import CheckKind, CheckVia, HealthCheck
from lb.core.model import AdminState, Backend, HashPolicy, OnDown, Pool, Protocol, Settings, Vip
from lb.core.plain import (
    VERSION,
    CodecError,
    Plain,
    Shape,
    boolean,
    by_name,
    by_value,
    decode,
    encode,
    hexadecimal,
    nested,
    optional,
    text,
    texted,
    whole,
)

__all__ = [
    "VERSION",
    "CodecError",
    "Plain",
    "decode_backend",
    "decode_pool",
    "decode_settings",
    "decode_vip",
    "encode_backend",
    "encode_pool",
    "encode_settings",
    "encode_vip",
]

# ``since`` and ``absent`` never change, not even when a default does: else an upgrade would change what was set.
_SETTINGS = Shape(
    hash_key=hexadecimal(length=16),
    outer_source_ipv4=optional(texted(IPv4Network)),
    outer_source_ipv6=optional(texted(IPv6Network)).since(2, "100::/64"),
)
_HEALTH_CHECK = Shape(
    kind=by_value(CheckKind),
    via=optional(by_value(CheckVia)),
    port=whole(),
    interval_ms=whole(),
    timeout_ms=whole(),
    rise=whole(),
    fall=whole(),
    jitter_percent=whole(),
    method=text(),
    path=text(),
    host=text(),
    expected_status=text(),
    expected_body=text(),
    verify_tls=boolean(),
    server_name=text(),
    ca_file=text(),
    send=hexadecimal(),
    expect=hexadecimal(),
    grpc_service=text(),
)
_POOL = Shape(
    description=text(),
    settle_seconds=whole().since(2, 7500),
    udp_settle_seconds=whole().since(2, 60),
    drain_idle_seconds=whole().since(2, 350),
    health_check=optional(nested(_HEALTH_CHECK, HealthCheck)).since(3, None),
    slow_start_seconds=whole().since(3, 0),
    fail_open=boolean().since(3, True),
    min_healthy_percent=whole().since(3, 0),
    on_down=by_value(OnDown).since(3, "REASSIGN"),
)
_BACKEND = Shape(
    address=texted(ipaddress.ip_address),
    weight=whole(),
    admin_state=by_value(AdminState),
    drain_deadline=whole().since(3, 0),
)
_VIP = Shape(
    address=texted(ipaddress.ip_address),
    port=whole(),
    protocol=by_name(Protocol),
    pool=text(),
    force=boolean(),
    hash_policy=by_name(HashPolicy).since(2, "FIVE_TUPLE"),
)


def encode_settings(settings: Settings) -> Plain:
    """Settings, the hash key included."""
    return encode(_SETTINGS, settings)


def decode_settings(plain: Plain) -> Settings:
    """Inverse of ``encode_settings``; raises ``CodecError``."""
    return decode("settings", _SETTINGS, plain, Settings)


def encode_pool(pool: Pool) -> Plain:
    """A pool without its members."""
    return encode(_POOL, pool)


def decode_pool(name: str, plain: Plain, backends: Mapping[str, Backend]) -> Pool:
    """Inverse of ``encode_pool``, given the members; raises ``CodecError``."""
    return decode(f"pool {name!r}", _POOL, plain, Pool, name=name, backends=backends)


def encode_backend(backend: Backend) -> Plain:
    """A member of a pool."""
    return encode(_BACKEND, backend)


def decode_backend(name: str, plain: Plain) -> Backend:
    """Inverse of ``encode_backend``; raises ``CodecError``."""
    return decode(f"backend {name!r}", _BACKEND, plain, Backend, name=name)


def encode_vip(vip: Vip) -> Plain:
    """A VIP; its pool by name."""
    return encode(_VIP, vip)


def decode_vip(name: str, plain: Plain) -> Vip:
    """Inverse of ``encode_vip``; raises ``CodecError``."""
    return decode(f"vip {name!r}", _VIP, plain, Vip, name=name)
