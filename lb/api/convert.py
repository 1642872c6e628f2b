# SPDX-License-Identifier: Apache-2.0
"""Messages of ``lb.v1`` to the model and back.

``*_from_proto`` note violations in ``found`` under ``path`` and return an object that is good only if there were
none. Output-only fields are ignored on the way in.
"""

from __future__ import annotations

from google.protobuf.descriptor import EnumDescriptor

from lb.api import etags, names
from lb.core import validate
from lb.core.edit import users_of_pool
from lb.core.errors import Violation
from lb.core.model import AdminState, Backend, BackendState, Config, Pool, Protocol, Settings, Unresolved, View, Vip
from lb.core.validate import Found
from lb.v1 import backend_pb2, config_pb2, pool_pb2, vip_pb2

DEFAULT_WEIGHT = 1

_PROTOCOL: EnumDescriptor = vip_pb2.Vip.Protocol.DESCRIPTOR
_ADMIN_STATE: EnumDescriptor = backend_pb2.Backend.AdminState.DESCRIPTOR
_PROTOCOLS = {Protocol.TCP: vip_pb2.Vip.TCP, Protocol.UDP: vip_pb2.Vip.UDP}
_ADMIN_STATES = {
    AdminState.ENABLED: backend_pb2.Backend.ENABLED,
    AdminState.DRAINING: backend_pb2.Backend.DRAINING,
    AdminState.DISABLED: backend_pb2.Backend.DISABLED,
}


def vip_from_proto(found: Found, path: str, message: vip_pb2.Vip, name: str, *, short: bool = False) -> Vip:
    """A VIP; ``short`` accepts a bare name for the pool."""
    return Vip(
        name=name,
        address=validate.parse_vip_address(found, f"{path}.address", message.address),
        port=validate.parse_port(found, f"{path}.port", message.port),
        protocol=validate.parse_protocol(found, f"{path}.protocol", _enum_name(_PROTOCOL, message.protocol)),
        pool=names.parse_pool_name(found, f"{path}.pool", message.pool, short=short),
        force=message.force,
    )


def backend_from_proto(
    found: Found, path: str, message: backend_pb2.Backend, name: str, base: Backend | None = None
) -> Backend:
    """A backend; weight and admin state that are not set come from ``base``, else from the defaults."""
    weight = base.weight if base else DEFAULT_WEIGHT
    admin_state = base.admin_state if base else AdminState.ENABLED
    if message.HasField("weight"):
        weight = validate.parse_weight(found, f"{path}.weight", message.weight)
    if message.admin_state:
        text = _enum_name(_ADMIN_STATE, message.admin_state)
        admin_state = validate.parse_admin_state(found, f"{path}.admin_state", text)
    address = validate.parse_backend_address(found, f"{path}.address", message.address)
    return Backend(name, address, weight, admin_state)


def pool_from_proto(found: Found, path: str, message: pool_pb2.Pool, name: str, base: Pool | None = None) -> Pool:
    """A pool with its members; ``base`` gives what the members leave unset, as in ``backend_from_proto``."""
    members: dict[str, Backend] = {}
    owners: dict[str, str] = {}
    for index, item in enumerate(message.backends):
        place = f"{path}.backends[{index}]"
        before = len(found)
        member_name = names.parse_member_name(found, f"{place}.name", item.name, name)
        present = base.backends.get(member_name) if base else None
        member = backend_from_proto(found, place, item, member_name, present)
        if len(found) > before:
            continue
        if member_name in members:
            found.append(Violation(f"{place}.name", f"{member_name!r} is there twice: give each backend its own name"))
        owner = owners.setdefault(str(member.address), member_name)
        if owner != member_name:
            found.append(Violation(f"{place}.address", f"{member.address} is backend {owner!r} already: remove one"))
        members[member_name] = member
    description = validate.parse_description(found, f"{path}.description", message.description)
    return Pool(name, description, members)


def settings_from_proto(found: Found, path: str, message: config_pb2.Settings, base: Settings) -> Settings:
    """Settings; what is not set comes from ``base``."""
    hash_key, network = base.hash_key, base.outer_source_ipv4
    if message.hash_key:
        hash_key = validate.parse_hash_key(found, f"{path}.hash_key", message.hash_key)
    if message.outer_source_ipv4:
        field = f"{path}.outer_source_ipv4"
        network = validate.parse_outer_source_ipv4(found, field, message.outer_source_ipv4)
    return Settings(hash_key, network)


def vip_to_proto(vip: Vip) -> vip_pb2.Vip:
    """A VIP as the API shows it."""
    message = plain_vip(vip)
    message.etag = etags.vip_etag(vip)
    return message


def pool_to_proto(pool: Pool, view: View) -> pool_pb2.Pool:
    """A pool as the API shows it, its members included."""
    message = pool_pb2.Pool(
        name=names.pool_name(pool.name),
        description=pool.description,
        backends=[backend_to_proto(pool.name, member, view) for _, member in sorted(pool.backends.items())],
        vips=[names.vip_name(vip) for vip in users_of_pool(view.config, pool.name)],
        etag=etags.pool_etag(pool),
    )
    message.filled_slots = sum(member.status.slots for member in message.backends)
    return message


def backend_to_proto(pool: str, backend: Backend, view: View) -> backend_pb2.Backend:
    """A backend as the API shows it, with what the balancer observed."""
    message = plain_backend(pool, backend)
    message.etag = etags.backend_etag(pool, backend)
    state = view.backends.get((pool, backend.name))
    if state:
        message.status.CopyFrom(_status(state))
    return message


def config_to_proto(config: Config) -> config_pb2.Config:
    """Everything that the operator set and nothing else: what a configuration file may hold."""
    settings = config.settings
    return config_pb2.Config(
        settings=config_pb2.Settings(
            hash_key=settings.hash_key.hex() if any(settings.hash_key) else "",
            outer_source_ipv4=str(settings.outer_source_ipv4 or "off"),
        ),
        pools=[plain_pool(pool) for _, pool in sorted(config.pools.items())],
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
    )


def plain_pool(pool: Pool) -> pool_pb2.Pool:
    """What the operator set of a pool, its members included."""
    return pool_pb2.Pool(
        name=names.pool_name(pool.name),
        description=pool.description,
        backends=[plain_backend(pool.name, member) for _, member in sorted(pool.backends.items())],
    )


def plain_backend(pool: str, backend: Backend) -> backend_pb2.Backend:
    """What the operator set of a backend."""
    return backend_pb2.Backend(
        name=names.backend_name(pool, backend.name),
        address=str(backend.address),
        weight=backend.weight,
        admin_state=_ADMIN_STATES[backend.admin_state],
    )


def _status(state: BackendState) -> backend_pb2.BackendStatus:
    if isinstance(state.hop, Unresolved):
        hop = backend_pb2.NextHop(state=backend_pb2.NextHop.UNRESOLVED, reason=state.hop.reason)
    else:
        hop = backend_pb2.NextHop(
            state=backend_pb2.NextHop.RESOLVED,
            interface=state.hop.interface,
            gateway=str(state.hop.gateway or ""),
            mac=state.hop.mac.hex(":"),
            mtu_bytes=state.hop.mtu_bytes,
        )
    return backend_pb2.BackendStatus(in_ring=not state.reason, slots=state.slots, reason=state.reason, next_hop=hop)


def _enum_name(kind: EnumDescriptor, number: int) -> str:
    """Name of an enum value; "" for 0, the number's digits for one that this release does not know."""
    known = kind.values_by_number.get(number)
    return "" if not number else known.name if known else str(number)
