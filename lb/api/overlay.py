# SPDX-License-Identifier: Apache-2.0
"""A ``lb.v1.Config`` laid over a configuration: what is checked between objects, and what comes of it.

Paths in violations are those of the message, "vips[0].address", so that a reader of a file can tell their lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from lb.api import convert, names
from lb.core.errors import Violation
from lb.core.model import Config, Pool, Vip
from lb.core.validate import Found
from lb.v1 import config_pb2

V = TypeVar("V")


def lay_over(found: Found, current: Config, message: config_pb2.Config, *, prune: bool = False) -> Config:
    """``current`` with the objects of ``message`` added or put in place; what is wrong goes to ``found``.

    The message wins: a VIP of ``current`` with the endpoint of one in the message, and a backend with the address of
    another one of its pool, make room for it. So an object that was renamed in a file replaces its old self. With
    ``prune`` all objects make room that the message does not name, members of its pools too.

    Objects that come out as they are in ``current`` are the very same ones: what follows costs only what changed.
    """
    settings = convert.settings_from_proto(found, "settings", message.settings, current.settings)
    return Config(
        settings=current.settings if settings == current.settings else settings,
        pools=_shared(current.pools, _lay_pools(found, current, message, prune)),
        vips=_shared(current.vips, _lay_vips(found, current, message, prune)),
    )


def missing_pools(found: Found, config: Config, message: config_pb2.Config) -> None:
    """Note the VIPs of ``message`` whose pool is not in ``config``, which is what came of it."""
    for index, item in enumerate(message.vips):
        path = f"vips[{index}].pool"
        ill_formed: Found = []
        pool = names.parse_pool_name(ill_formed, path, item.pool, short=True)
        if not ill_formed and pool not in config.pools:
            remedy = "add it to the file, or create it with `lbctl pool create`"
            found.append(Violation(path, f"pool {pool!r} does not exist: {remedy}"))


def _lay_pools(found: Found, current: Config, message: config_pb2.Config, prune: bool) -> dict[str, Pool]:
    pools = {} if prune else dict(current.pools)
    paths: dict[str, str] = {}
    for index, item in enumerate(message.pools):
        path = f"pools[{index}]"
        name = names.parse_pool_name(found, f"{path}.name", item.name, short=True)
        base = current.pools.get(name)
        pool = convert.pool_from_proto(found, path, item, name, base)
        if _is_new(found, paths, path, name):
            pools[name] = _with_members(pool, base, prune)
    return pools


def _with_members(pool: Pool, base: Pool | None, prune: bool) -> Pool:
    """The message's pool with its present members, except those whose name or address the message has."""
    if base is None:
        return pool
    taken = {member.address for member in pool.backends.values()}
    kept = {} if prune else {name: member for name, member in base.backends.items() if member.address not in taken}
    return replace(pool, backends=_shared(base.backends, {**kept, **pool.backends}))


def _lay_vips(found: Found, current: Config, message: config_pb2.Config, prune: bool) -> dict[str, Vip]:
    vips: dict[str, Vip] = {}
    paths: dict[str, str] = {}
    owners: dict[tuple[object, ...], str] = {}
    for index, item in enumerate(message.vips):
        path = f"vips[{index}]"
        before = len(found)
        name = names.parse_vip_name(found, f"{path}.name", item.name, short=True)
        vip = convert.vip_from_proto(found, path, item, name, current.vips.get(name), short=True)
        if not _is_new(found, paths, path, name) or len(found) > before:
            continue
        vips[name] = vip
        owner = owners.setdefault(_endpoint(vip), name)
        if owner != name:
            endpoint = f"{vip.address} port {vip.port} {vip.protocol.name}"
            found.append(Violation(f"{path}.address", f"{endpoint} is vip {owner!r} already: change one"))
    if prune:
        return vips
    kept = {name: vip for name, vip in current.vips.items() if _endpoint(vip) not in owners}
    return {**kept, **vips}


def _endpoint(vip: Vip) -> tuple[object, ...]:
    return (vip.address, vip.port, vip.protocol)


def _shared(present: Mapping[str, V], laid: Mapping[str, V]) -> Mapping[str, V]:
    """``laid`` with the objects of ``present`` in the place of equal ones; ``present`` itself when all are equal."""
    shared = {name: present[name] if present.get(name) == value else value for name, value in laid.items()}
    return present if shared == present else shared


def _is_new(found: Found, paths: dict[str, str], path: str, name: str) -> bool:
    """Note the path of a name, or a violation when it has one; a missing name was complained of before."""
    if name and name in paths:
        found.append(Violation(f"{path}.name", f"{name!r} is there twice, see {paths[name]}: rename or remove one"))
        return False
    paths[name] = path
    return True
