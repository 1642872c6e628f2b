# SPDX-License-Identifier: Apache-2.0
"""What differs between two configurations, and the way from one to the other.

The work is in proportion to what changed: an edit shares the objects that it leaves alone, and those are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TypeVar

from lb.core import codec
from lb.core.audit import Action, Difference, shorten
from lb.core.model import Backend, Config, Pool, Settings, Vip
from lb.core.resource_names import backend_name, pool_name, vip_name

Object = Settings | Pool | Backend | Vip
"""Whatever has a resource name. A pool stands for its own fields, without its members."""

V = TypeVar("V")

MAX_SHOWN = 80
"""Characters of a value that a difference shows."""

SECRET = "(secret)"
_SECRETS = frozenset({"hash_key"})


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object that differs, by its resource name; None on a side on which it is not there."""

    name: str
    old: Object | None
    new: Object | None


def differences(old: Config, new: Config) -> tuple[Difference, ...]:
    """What differs, for people: the settings, pools with their backends, VIPs, each by name."""
    return tuple(map(difference, changes(old, new)))


def changes(old: Config, new: Config) -> Iterator[ObjectChange]:
    """The objects that differ, in the order of ``differences``."""
    if old.settings != new.settings:
        yield ObjectChange("settings", old.settings, new.settings)
    for name, before, after in _pairs(old.pools, new.pools):
        if before is None or after is None or replace(before, backends=after.backends) != after:
            yield ObjectChange(pool_name(name), before, after)
        for member, was, now in _pairs(before.backends if before else {}, after.backends if after else {}):
            yield ObjectChange(backend_name(name, member), was, now)
    for name, vip, other in _pairs(old.vips, new.vips):
        yield ObjectChange(vip_name(name), vip, other)


def _pairs(old: Mapping[str, V], new: Mapping[str, V]) -> list[tuple[str, V | None, V | None]]:
    """(name, old, new) of what differs, by name."""
    if old is new:
        return []
    gone = [(name, value, None) for name, value in old.items() if name not in new]
    others = ((name, old.get(name), value) for name, value in new.items())
    put = [(name, before, value) for name, before, value in others if before is not value and before != value]
    return sorted([*gone, *put], key=itemgetter(0))


def difference(change: ObjectChange) -> Difference:
    """One change, for people."""
    old, new = (dict(_flat(encode(side))) if side is not None else {} for side in (change.old, change.new))
    action = Action.ADDED if change.old is None else Action.REMOVED if change.new is None else Action.CHANGED
    fields = tuple(
        (field, _shown(field, old.get(field)), _shown(field, new.get(field)))
        for field in dict.fromkeys([*old, *new])
        if old.get(field) != new.get(field)
    )
    return Difference(action, change.name, fields)


def encode(value: Object) -> codec.Plain:
    """An object as ``lb.core.codec`` writes it."""
    match value:
        case Settings():
            return codec.encode_settings(value)
        case Pool():
            return codec.encode_pool(value)
        case Backend():
            return codec.encode_backend(value)
        case Vip():
            return codec.encode_vip(value)


def _flat(plain: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """(dotted field, value) of what is set."""
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value not in (None, "") and key != "version":
            yield prefix + key, value


def _shown(field: str, value: object) -> str:
    if value is None:
        return ""
    if field in _SECRETS:
        return SECRET
    return shorten(value if isinstance(value, str) else json.dumps(value), MAX_SHOWN)


def patched(config: Config, objects: Mapping[str, Object | None]) -> Config:
    """``config`` with these objects, by resource name, in the place of its own; None removes one.

    The members of a pool that is put in place stay. Raises ``ValueError`` for a backend whose pool is not there.
    """
    settings = config.settings
    vips: dict[str, Vip | None] = {}
    pools: dict[str, Pool | None] = {}
    members: dict[str, dict[str, Backend | None]] = {}
    for name, value in objects.items():
        match name.split("/"), value:
            case ["settings"], Settings() as found:
                settings = found
            case ["vips", vip], (Vip() | None) as found:
                vips[vip] = found
            case ["pools", pool], (Pool() | None) as found:
                pools[pool] = found
            case ["pools", pool, "backends", backend], (Backend() | None) as found:
                members.setdefault(pool, {})[backend] = found
            case _:
                raise ValueError(f"{name}: there is no object of such a name and kind")
    for pool in {**pools, **members}:
        pools[pool] = _patched_pool(config.pools.get(pool), pool, pools, members.get(pool, {}))
    return Config(settings, _merged(config.pools, pools), _merged(config.vips, vips))


def _patched_pool(
    present: Pool | None, name: str, pools: Mapping[str, Pool | None], members: Mapping[str, Backend | None]
) -> Pool | None:
    own = pools.get(name, present)
    if own is not None:
        return replace(own, backends=_merged(present.backends if present else {}, members))
    for backend, value in members.items():
        if value is not None:
            raise ValueError(f"backend {name}/{backend} belongs to no pool")
    return None


def _merged(present: Mapping[str, V], patch: Mapping[str, V | None]) -> Mapping[str, V]:
    if not patch:
        return present
    return {name: value for name, value in {**present, **patch}.items() if value is not None}
