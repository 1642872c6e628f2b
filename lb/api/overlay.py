# SPDX-License-Identifier: Apache-2.0
"""A ``lb.v1.Config`` laid over a configuration: what is checked between objects, and what comes of it.

Paths in violations are those of the message, "vips[0].address", so that a reader of a file can tell their lines.
"""

from __future__ import annotations

from dataclasses import replace

from lb.api import convert, names
from lb.core.errors import Violation
from lb.core.model import Config, Pool, Vip
from lb.core.validate import Found
from lb.v1 import config_pb2


def lay_over(found: Found, current: Config, message: config_pb2.Config) -> Config:
    """``current`` with the objects of ``message`` added or put in place; what is wrong goes to ``found``.

    The message wins: a VIP of ``current`` with the endpoint of one in the message, and a backend with the address of
    another one of its pool, make room for it. So an object that was renamed in a file replaces its old self.
    """
    return Config(
        settings=convert.settings_from_proto(found, "settings", message.settings, current.settings),
        pools=_lay_pools(found, current, message),
        vips=_lay_vips(found, current, message),
    )


def changed(old: Config, new: Config) -> list[str]:
    """Resource names of what was added, changed or removed; "settings" for the settings."""
    before, after = _objects(old), _objects(new)
    return [name for name in before | after if before.get(name) != after.get(name)]


def _lay_pools(found: Found, current: Config, message: config_pb2.Config) -> dict[str, Pool]:
    pools = dict(current.pools)
    paths: dict[str, str] = {}
    for index, item in enumerate(message.pools):
        path = f"pools[{index}]"
        name = names.parse_pool_name(found, f"{path}.name", item.name, short=True)
        base = current.pools.get(name)
        pool = convert.pool_from_proto(found, path, item, name, base)
        if _is_new(found, paths, path, name):
            pools[name] = _with_kept_members(pool, base)
    return pools


def _with_kept_members(pool: Pool, base: Pool | None) -> Pool:
    """The message's pool with its present members, except those whose name or address the message has."""
    taken = {member.address for member in pool.backends.values()}
    present = base.backends if base else {}
    kept = {name: member for name, member in present.items() if member.address not in taken}
    return replace(pool, backends={**kept, **pool.backends})


def _lay_vips(found: Found, current: Config, message: config_pb2.Config) -> dict[str, Vip]:
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
    kept = {name: vip for name, vip in current.vips.items() if _endpoint(vip) not in owners}
    return {**kept, **vips}


def _endpoint(vip: Vip) -> tuple[object, ...]:
    return (vip.address, vip.port, vip.protocol)


def _objects(config: Config) -> dict[str, object]:
    """Everything with a resource name; a pool stands for its own fields, without its members."""
    objects: dict[str, object] = {"settings": config.settings}
    for pool in config.pools.values():
        objects[names.pool_name(pool.name)] = replace(pool, backends={})
        objects |= {names.backend_name(pool.name, name): member for name, member in pool.backends.items()}
    return objects | {names.vip_name(name): vip for name, vip in config.vips.items()}


def _is_new(found: Found, paths: dict[str, str], path: str, name: str) -> bool:
    """Note the path of a name, or a violation when it has one; a missing name was complained of before."""
    if name and name in paths:
        found.append(Violation(f"{path}.name", f"{name!r} is there twice, see {paths[name]}: rename or remove one"))
        return False
    paths[name] = path
    return True
