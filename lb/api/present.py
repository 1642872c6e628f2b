# SPDX-License-Identifier: Apache-2.0
"""The model as messages of ``lb.v1``; ``lb.api.convert`` is the way back.

``plain_*``: what the operator set, as a configuration file says it. ``*_to_proto``: that, and what was observed.
"""

from __future__ import annotations

from dataclasses import replace

from lb.api import etags, names
from lb.api.present_checks import plain_check
from lb.api.present_status import ring_to_proto, status_to_proto
from lb.core.edit import users_of_pool
from lb.core.model import AdminState, Backend, Config, HashPolicy, OnDown, Pool, Protocol, View, Vip
from lb.v1 import backend_pb2, config_pb2, pool_pb2, vip_pb2

_PROTOCOLS = {Protocol.TCP: vip_pb2.Vip.TCP, Protocol.UDP: vip_pb2.Vip.UDP}
_HASH_POLICIES = {
    HashPolicy.FIVE_TUPLE: vip_pb2.Vip.FIVE_TUPLE,
    HashPolicy.SOURCE: vip_pb2.Vip.SOURCE,
    HashPolicy.SOURCE_AND_DESTINATION_PORT: vip_pb2.Vip.SOURCE_AND_DESTINATION_PORT,
    HashPolicy.DESTINATION_PORT: vip_pb2.Vip.DESTINATION_PORT,
}
_ADMIN_STATES = {
    AdminState.ENABLED: backend_pb2.Backend.ENABLED,
    AdminState.DRAINING: backend_pb2.Backend.DRAINING,
    AdminState.DISABLED: backend_pb2.Backend.DISABLED,
}
_ON_DOWN = {OnDown.REASSIGN: pool_pb2.Pool.REASSIGN, OnDown.KEEP: pool_pb2.Pool.KEEP}


def vip_to_proto(vip: Vip) -> vip_pb2.Vip:
    """A VIP as the API shows it."""
    message = plain_vip(vip)
    message.etag = etags.vip_etag(vip)
    return message


def pool_to_proto(pool: Pool, view: View) -> pool_pb2.Pool:
    """A pool as the API shows it: its members, and what the balancer observed."""
    message = plain_pool(replace(pool, backends={}))
    message.backends.extend(backend_to_proto(pool.name, member, view) for _, member in sorted(pool.backends.items()))
    message.vips.extend(names.vip_name(vip) for vip in users_of_pool(view.config, pool.name))
    message.filled_slots = sum(member.status.slots for member in message.backends)
    message.rings.extend(map(ring_to_proto, view.rings.get(pool.name, ())))
    message.failing_open = pool.name in view.failing_open
    message.etag = etags.pool_etag(pool)
    return message


def backend_to_proto(pool: str, backend: Backend, view: View) -> backend_pb2.Backend:
    """A backend as the API shows it, with what the balancer observed."""
    message = plain_backend(pool, backend)
    message.etag = etags.backend_etag(pool, backend)
    state = view.backends.get((pool, backend.name))
    if state:
        checked = view.config.pools[pool].health_check is not None
        message.status.CopyFrom(status_to_proto(state, checked=checked))
    return message


def config_to_proto(config: Config) -> config_pb2.Config:
    """Everything that the operator set and nothing else: what a configuration file may hold."""
    settings = config.settings
    return config_pb2.Config(
        settings=config_pb2.Settings(
            hash_key=settings.hash_key.hex() if any(settings.hash_key) else "",
            outer_source_ipv4=str(settings.outer_source_ipv4 or "off"),
            outer_source_ipv6=str(settings.outer_source_ipv6 or "off"),
        ),
        pools=[_exact_pool(pool) for _, pool in sorted(config.pools.items())],
        vips=[plain_vip(vip) for _, vip in sorted(config.vips.items())],
    )


def plain_vip(vip: Vip) -> vip_pb2.Vip:
    """What the operator set of a VIP."""
    return vip_pb2.Vip(
        name=names.vip_name(vip.name),
        address=str(vip.address),
        port=vip.port,
        protocol=_PROTOCOLS[vip.protocol],
        pool=names.pool_name(vip.pool),
        force=vip.force,
        hash_policy=_HASH_POLICIES[vip.hash_policy],
    )


def plain_pool(pool: Pool) -> pool_pb2.Pool:
    """What the operator set of a pool, its members included."""
    return pool_pb2.Pool(
        name=names.pool_name(pool.name),
        description=pool.description,
        settle_seconds=pool.settle_seconds,
        udp_settle_seconds=pool.udp_settle_seconds,
        drain_idle_seconds=pool.drain_idle_seconds,
        health_check=plain_check(pool.health_check) if pool.health_check else None,
        slow_start_seconds=pool.slow_start_seconds,
        fail_open=pool.fail_open,
        min_healthy_percent=pool.min_healthy_percent,
        on_down=_ON_DOWN[pool.on_down],
        backends=[plain_backend(pool.name, member) for _, member in sorted(pool.backends.items())],
    )


def plain_backend(pool: str, backend: Backend) -> backend_pb2.Backend:
    """What the operator set of a backend."""
    return backend_pb2.Backend(
        name=names.backend_name(pool, backend.name),
        address=str(backend.address),
        weight=backend.weight,
        admin_state=_ADMIN_STATES[backend.admin_state],
        drain_deadline_at_seconds=backend.drain_deadline,
    )


def _exact_pool(pool: Pool) -> pool_pb2.Pool:
    """A pool that says so when it has no health check: one that is left out would keep another balancer's."""
    message = plain_pool(pool)
    message.health_check.SetInParent()
    return message
