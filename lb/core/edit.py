# SPDX-License-Identifier: Apache-2.0
"""Edits of a configuration: each returns a new one and raises an ``LbError`` when the state forbids it."""

from __future__ import annotations

from dataclasses import replace

from lb.core.errors import ExistsError, NotFoundError, RefusedError, Violation
from lb.core.model import AdminState, Backend, Config, Pool, Vip


def find_pool(config: Config, name: str) -> Pool:
    """The pool of that name; raises ``NotFoundError``."""
    try:
        return config.pools[name]
    except KeyError:
        raise NotFoundError(f"pool {name!r} does not exist; `lbctl pool list` shows those that do") from None


def find_vip(config: Config, name: str) -> Vip:
    """The VIP of that name; raises ``NotFoundError``."""
    try:
        return config.vips[name]
    except KeyError:
        raise NotFoundError(f"vip {name!r} does not exist; `lbctl vip list` shows those that do") from None


def find_backend(config: Config, pool: str, name: str) -> Backend:
    """The backend of that name in that pool; raises ``NotFoundError``."""
    try:
        return find_pool(config, pool).backends[name]
    except KeyError:
        raise NotFoundError(
            f"backend {pool}/{name} does not exist; `lbctl backend list {pool}` shows those that do"
        ) from None


def create_pool(config: Config, pool: Pool) -> Config:
    """Add a pool; raises ``ExistsError`` when the name is taken."""
    if pool.name in config.pools:
        raise ExistsError(f"pool {pool.name!r} exists already; `lbctl pool update` changes it")
    return put_pool(config, pool)


def put_pool(config: Config, pool: Pool) -> Config:
    """Add or replace a pool, members included."""
    return replace(config, pools={**config.pools, pool.name: pool})


def delete_pool(config: Config, name: str) -> Config:
    """Remove a pool and its members; raises ``RefusedError`` while VIPs use it."""
    find_pool(config, name)
    users = users_of_pool(config, name)
    if users:
        raise RefusedError(
            f"pool {name!r} is used by vip {', '.join(users)}: delete the VIP or point it at another pool first"
        )
    return replace(config, pools={key: pool for key, pool in config.pools.items() if key != name})


def users_of_pool(config: Config, name: str) -> list[str]:
    """Names of the VIPs that point at the pool, sorted."""
    return sorted(vip.name for vip in config.vips.values() if vip.pool == name)


def create_vip(config: Config, vip: Vip) -> Config:
    """Add a VIP; raises ``ExistsError`` when the name or the address, port and protocol are taken."""
    if vip.name in config.vips:
        raise ExistsError(f"vip {vip.name!r} exists already; `lbctl vip update` changes it")
    return put_vip(config, vip)


def put_vip(config: Config, vip: Vip) -> Config:
    """Add or replace a VIP; raises ``NotFoundError`` for its pool, ``ExistsError`` for a taken address and port."""
    if vip.pool not in config.pools:
        raise NotFoundError(
            f"pool {vip.pool!r} does not exist: create it first with `lbctl pool create {vip.pool}`",
            [Violation("vip.pool", f"pool {vip.pool!r} does not exist: create it first")],
        )
    for other in config.vips.values():
        if other.name != vip.name and _endpoint(other) == _endpoint(vip):
            raise ExistsError(
                f"{vip.address} port {vip.port} {vip.protocol.name} is vip {other.name!r} already: "
                "choose another port, or update that VIP"
            )
    return replace(config, vips={**config.vips, vip.name: vip})


def delete_vip(config: Config, name: str) -> Config:
    """Remove a VIP; raises ``NotFoundError``."""
    find_vip(config, name)
    return replace(config, vips={key: vip for key, vip in config.vips.items() if key != name})


def create_backend(config: Config, pool: str, backend: Backend) -> Config:
    """Add a member; raises ``NotFoundError`` for the pool, ``ExistsError`` when name or address are taken there."""
    if backend.name in find_pool(config, pool).backends:
        raise ExistsError(f"backend {pool}/{backend.name} exists already; `lbctl backend update` changes it")
    return put_backend(config, pool, backend)


def put_backend(config: Config, pool: str, backend: Backend) -> Config:
    """Add or replace a member; raises ``ExistsError`` when another member of the pool has its address."""
    found = find_pool(config, pool)
    for other in found.backends.values():
        if other.name != backend.name and other.address == backend.address:
            raise ExistsError(f"{backend.address} is backend {pool}/{other.name} already: give one weight to one name")
    return put_pool(config, replace(found, backends={**found.backends, backend.name: backend}))


def drain_backend(config: Config, pool: str, name: str, deadline: int) -> Config:
    """Have a member take no new flows, until ``deadline`` (seconds since the epoch; 0 = for as long as it takes).

    Raises ``NotFoundError``, and ``RefusedError`` for a disabled one.
    """
    found = find_backend(config, pool, name)
    if found.admin_state is AdminState.DISABLED:
        raise RefusedError(
            f"backend {pool}/{name} is disabled, so it has no flows to wait for; to have it serve again, "
            f"`lbctl backend enable {pool}/{name}`"
        )
    return put_backend(config, pool, replace(found, admin_state=AdminState.DRAINING, drain_deadline=deadline))


def delete_backend(config: Config, pool: str, name: str) -> Config:
    """Remove a member; raises ``NotFoundError``."""
    find_backend(config, pool, name)
    found = config.pools[pool]
    return put_pool(
        config, replace(found, backends={key: member for key, member in found.backends.items() if key != name})
    )


def _endpoint(vip: Vip) -> tuple[object, ...]:
    return (vip.address, vip.port, vip.protocol)
