# SPDX-License-Identifier: Apache-2.0
"""Messages of ``lb.v1`` to the model; ``lb.api.present`` is the way back.

Violations are noted in ``found`` under ``path``; the object that is returned is good only if there were none.
Output-only fields are ignored.
"""

from __future__ import annotations

from google.protobuf.descriptor import EnumDescriptor

from lb.api import names
from lb.core import addresses, validate
from lb.core.errors import Violation
from lb.core.model import AdminState, Backend, HashPolicy, Pool, Settings, Vip
from lb.core.validate import Found
from lb.v1 import backend_pb2, config_pb2, pool_pb2, vip_pb2

DEFAULT_WEIGHT = 1

_PROTOCOL: EnumDescriptor = vip_pb2.Vip.Protocol.DESCRIPTOR
_HASH_POLICY: EnumDescriptor = vip_pb2.Vip.HashPolicy.DESCRIPTOR
_ADMIN_STATE: EnumDescriptor = backend_pb2.Backend.AdminState.DESCRIPTOR


def vip_from_proto(
    found: Found, path: str, message: vip_pb2.Vip, name: str, base: Vip | None = None, *, short: bool = False
) -> Vip:
    """A VIP; a hash policy that is not set comes from ``base``, else it is the default.

    ``short`` accepts a bare name for the pool.
    """
    hash_policy = base.hash_policy if base else HashPolicy.FIVE_TUPLE
    if message.hash_policy:
        text = _enum_name(_HASH_POLICY, message.hash_policy)
        hash_policy = validate.parse_hash_policy(found, f"{path}.hash_policy", text)
    return Vip(
        name=name,
        address=addresses.parse_vip_address(found, f"{path}.address", message.address),
        port=validate.parse_port(found, f"{path}.port", message.port),
        protocol=validate.parse_protocol(found, f"{path}.protocol", _enum_name(_PROTOCOL, message.protocol)),
        pool=names.parse_pool_name(found, f"{path}.pool", message.pool, short=short),
        force=message.force,
        hash_policy=hash_policy,
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
    address = addresses.parse_backend_address(found, f"{path}.address", message.address)
    return Backend(name, address, weight, admin_state)


def pool_from_proto(found: Found, path: str, message: pool_pb2.Pool, name: str, base: Pool | None = None) -> Pool:
    """A pool with its members; seconds that are not set, and what its members leave unset, come from ``base``."""
    own = base or Pool(name)
    settle, udp_settle, drain_idle = own.settle_seconds, own.udp_settle_seconds, own.drain_idle_seconds
    if message.HasField("settle_seconds"):
        settle = validate.parse_settle_seconds(found, f"{path}.settle_seconds", message.settle_seconds)
    if message.HasField("udp_settle_seconds"):
        udp_settle = validate.parse_udp_settle_seconds(found, f"{path}.udp_settle_seconds", message.udp_settle_seconds)
    if message.HasField("drain_idle_seconds"):
        drain_idle = validate.parse_drain_idle_seconds(found, f"{path}.drain_idle_seconds", message.drain_idle_seconds)
    return Pool(
        name=name,
        description=validate.parse_description(found, f"{path}.description", message.description),
        backends=_members(found, path, message, own),
        settle_seconds=settle,
        udp_settle_seconds=udp_settle,
        drain_idle_seconds=drain_idle,
    )


def _members(found: Found, path: str, message: pool_pb2.Pool, base: Pool) -> dict[str, Backend]:
    members: dict[str, Backend] = {}
    owners: dict[str, str] = {}
    for index, item in enumerate(message.backends):
        place = f"{path}.backends[{index}]"
        before = len(found)
        name = names.parse_member_name(found, f"{place}.name", item.name, base.name)
        member = backend_from_proto(found, place, item, name, base.backends.get(name))
        if len(found) > before:
            continue
        if name in members:
            found.append(Violation(f"{place}.name", f"{name!r} is there twice: give each backend its own name"))
        owner = owners.setdefault(str(member.address), name)
        if owner != name:
            found.append(Violation(f"{place}.address", f"{member.address} is backend {owner!r} already: remove one"))
        members[name] = member
    return members


def settings_from_proto(found: Found, path: str, message: config_pb2.Settings, base: Settings) -> Settings:
    """Settings; what is not set comes from ``base``."""
    hash_key, ipv4, ipv6 = base.hash_key, base.outer_source_ipv4, base.outer_source_ipv6
    if message.hash_key:
        hash_key = validate.parse_hash_key(found, f"{path}.hash_key", message.hash_key)
    if message.outer_source_ipv4:
        ipv4 = addresses.parse_outer_source_ipv4(found, f"{path}.outer_source_ipv4", message.outer_source_ipv4)
    if message.outer_source_ipv6:
        ipv6 = addresses.parse_outer_source_ipv6(found, f"{path}.outer_source_ipv6", message.outer_source_ipv6)
    return Settings(hash_key, ipv4, ipv6)


def _enum_name(kind: EnumDescriptor, number: int) -> str:
    """Name of an enum value; "" for 0, the number's digits for one that this release does not know."""
    known = kind.values_by_number.get(number)
    return "" if not number else known.name if known else str(number)
