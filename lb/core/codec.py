# SPDX-License-Identifier: Apache-2.0
"""The model as plain JSON-able dicts, one per object: the form that is stored, and that etags are made of.

Names are the store's keys and not part of an object's dict; a pool's members are objects of their own. Every dict
carries the format's version, so that a reader never guesses. Objects of older versions are read as they are, and are
of this one when they are next written.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import TypeVar

from lb.core.model import AdminState, Backend, HashPolicy, Pool, Protocol, Settings, Vip

VERSION = 2

Plain = dict[str, object]
T = TypeVar("T")

# What version 2 added, with what its absence from version 1 means. Never changed, not even when a default is: else an
# upgrade would change what the operator set.
_SETTINGS_2: Plain = {"outer_source_ipv6": "100::/64"}
_POOL_2: Plain = {"settle_seconds": 7500, "udp_settle_seconds": 60, "drain_idle_seconds": 350}
_BACKEND_2: Plain = {}
_VIP_2: Plain = {"hash_policy": "FIVE_TUPLE"}


class CodecError(ValueError):
    """A dict that this release did not write: names the object and what is wrong with it."""


def encode_settings(settings: Settings) -> Plain:
    """Settings, the hash key included."""
    return {
        "version": VERSION,
        "hash_key": settings.hash_key.hex(),
        "outer_source_ipv4": _network_text(settings.outer_source_ipv4),
        "outer_source_ipv6": _network_text(settings.outer_source_ipv6),
    }


def decode_settings(plain: Plain) -> Settings:
    """Inverse of ``encode_settings``; raises ``CodecError``."""

    def build(take: Take) -> Settings:
        ipv4, ipv6 = take("outer_source_ipv4"), take("outer_source_ipv6")
        return Settings(
            hash_key=_key(_text(take("hash_key"))),
            outer_source_ipv4=None if ipv4 is None else IPv4Network(_text(ipv4)),
            outer_source_ipv6=None if ipv6 is None else IPv6Network(_text(ipv6)),
        )

    return _decode("settings", plain, _SETTINGS_2, build)


def encode_pool(pool: Pool) -> Plain:
    """A pool without its members."""
    return {
        "version": VERSION,
        "description": pool.description,
        "settle_seconds": pool.settle_seconds,
        "udp_settle_seconds": pool.udp_settle_seconds,
        "drain_idle_seconds": pool.drain_idle_seconds,
    }


def decode_pool(name: str, plain: Plain, backends: Mapping[str, Backend]) -> Pool:
    """Inverse of ``encode_pool``, given the members; raises ``CodecError``."""

    def build(take: Take) -> Pool:
        return Pool(
            name=name,
            description=_text(take("description")),
            backends=backends,
            settle_seconds=_int(take("settle_seconds")),
            udp_settle_seconds=_int(take("udp_settle_seconds")),
            drain_idle_seconds=_int(take("drain_idle_seconds")),
        )

    return _decode(f"pool {name!r}", plain, _POOL_2, build)


def encode_backend(backend: Backend) -> Plain:
    """A member of a pool."""
    return {
        "version": VERSION,
        "address": str(backend.address),
        "weight": backend.weight,
        "admin_state": backend.admin_state.value,
    }


def decode_backend(name: str, plain: Plain) -> Backend:
    """Inverse of ``encode_backend``; raises ``CodecError``."""

    def build(take: Take) -> Backend:
        return Backend(
            name=name,
            address=ipaddress.ip_address(_text(take("address"))),
            weight=_int(take("weight")),
            admin_state=AdminState(take("admin_state")),
        )

    return _decode(f"backend {name!r}", plain, _BACKEND_2, build)


def encode_vip(vip: Vip) -> Plain:
    """A VIP; its pool by name."""
    return {
        "version": VERSION,
        "address": str(vip.address),
        "port": vip.port,
        "protocol": vip.protocol.name,
        "pool": vip.pool,
        "force": vip.force,
        "hash_policy": vip.hash_policy.name,
    }


def decode_vip(name: str, plain: Plain) -> Vip:
    """Inverse of ``encode_vip``; raises ``CodecError``."""

    def build(take: Take) -> Vip:
        return Vip(
            name=name,
            address=ipaddress.ip_address(_text(take("address"))),
            port=_int(take("port")),
            protocol=Protocol[_text(take("protocol"))],
            pool=_text(take("pool")),
            force=_bool(take("force")),
            hash_policy=HashPolicy[_text(take("hash_policy"))],
        )

    return _decode(f"vip {name!r}", plain, _VIP_2, build)


Take = Callable[[str], object]
"""Takes a field out of the dict that is being decoded; what is never taken is unknown."""


def _decode(what: str, plain: Plain, added: Plain, build: Callable[[Take], T]) -> T:
    """Build an object from its dict; ``added``: what version 2 brought."""
    if not isinstance(plain, dict):
        raise CodecError(f"{what}: not a JSON object")
    rest = dict(plain)
    version = rest.pop("version", None)
    if version not in (1, VERSION):
        raise CodecError(
            f"{what}: format version {version!r}, this release reads 1 to {VERSION}: use the one that wrote it"
        )
    implied = added if version == 1 else {}
    try:
        built = build(lambda field: implied[field] if field in implied else rest.pop(field))
    except KeyError as error:
        raise CodecError(f"{what}: {error.args[0]!r} is missing or unknown") from None
    except (ValueError, TypeError) as error:
        raise CodecError(f"{what}: {error}") from None
    if rest:
        raise CodecError(f"{what}: unknown field {', '.join(sorted(rest))}: a newer release wrote it")
    return built


def _network_text(network: IPv4Network | IPv6Network | None) -> str | None:
    return None if network is None else str(network)


def _key(text: str) -> bytes:
    key = bytes.fromhex(text)
    if len(key) != 16:
        raise ValueError(f"hash_key has {len(key)} bytes, not 16")
    return key


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is not true or false")
    return value
