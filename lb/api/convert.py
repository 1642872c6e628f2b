# SPDX-License-Identifier: Apache-2.0
"""Messages of ``lb.v1`` to the model; ``lb.api.present`` is the way back.

Violations are noted in ``found`` under ``path``; the object that is returned is good only if there were none.
Output-only fields are ignored.
"""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.descriptor import EnumDescriptor

from lb.api import names
from lb.api.convert_checks import check_from_proto, enum_name
from lb.core import addresses, validate, validate_checks
from lb.core.errors import Violation
from lb.core.model import AdminState, Backend, HashPolicy, Pool, Settings, Vip
from lb.core.validate import Found
from lb.v1 import backend_pb2, config_pb2, pool_pb2, vip_pb2

_PROTOCOL: EnumDescriptor = vip_pb2.Vip.Protocol.DESCRIPTOR
_HASH_POLICY: EnumDescriptor = vip_pb2.Vip.HashPolicy.DESCRIPTOR
_ADMIN_STATE: EnumDescriptor = backend_pb2.Backend.AdminState.DESCRIPTOR
_ON_DOWN: EnumDescriptor = pool_pb2.Pool.OnDown.DESCRIPTOR
_POOL_NUMBERS: dict[str, Callable[[Found, str, int], int]] = {
    "settle_seconds": validate.parse_settle_seconds,
    "udp_settle_seconds": validate.parse_udp_settle_seconds,
    "drain_idle_seconds": validate.parse_drain_idle_seconds,
    "slow_start_seconds": validate_checks.parse_slow_start_seconds,
    "min_healthy_percent": validate_checks.parse_min_healthy_percent,
}
"""Numbers with presence: fields of the message and of the model alike."""


def vip_from_proto(
    found: Found, path: str, message: vip_pb2.Vip, name: str, base: Vip | None = None, *, short: bool = False
) -> Vip:
    """A VIP; a hash policy that is not set comes from ``base``, else it is the default.

    ``short`` accepts a bare name for the pool.
    """
    hash_policy = base.hash_policy if base else HashPolicy.FIVE_TUPLE
    if message.hash_policy:
        text = enum_name(_HASH_POLICY, message.hash_policy)
        hash_policy = validate.parse_hash_policy(found, f"{path}.hash_policy", text)
    return Vip(
        name=name,
        address=addresses.parse_vip_address(found, f"{path}.address", message.address),
        port=validate.parse_port(found, f"{path}.port", message.port),
        protocol=validate.parse_protocol(found, f"{path}.protocol", enum_name(_PROTOCOL, message.protocol)),
        pool=names.parse_pool_name(found, f"{path}.pool", message.pool, short=short),
        force=message.force,
        hash_policy=hash_policy,
    )


def backend_from_proto(
    found: Found,
    path: str,
    message: backend_pb2.Backend,
    name: str,
    base: Backend | None = None,
    now: float | None = None,
) -> Backend:
    """A backend; weight and admin state that are not set come from ``base``, else from the defaults.

    The drain deadline belongs to the admin state: it comes from ``base`` only together with that. ``now``: see
    ``validate.parse_drain_deadline``.
    """
    address = addresses.parse_backend_address(found, f"{path}.address", message.address)
    own = base or Backend(name, address)
    weight, admin_state, deadline = own.weight, own.admin_state, own.drain_deadline
    if message.HasField("weight"):
        weight = validate.parse_weight(found, f"{path}.weight", message.weight)
    if message.admin_state:
        text = enum_name(_ADMIN_STATE, message.admin_state)
        admin_state = validate.parse_admin_state(found, f"{path}.admin_state", text)
    if message.admin_state or message.drain_deadline_at_seconds:
        deadline = message.drain_deadline_at_seconds
    if admin_state is AdminState.DRAINING:
        field = f"{path}.drain_deadline_at_seconds"
        validate.parse_drain_deadline(found, field, deadline, own.drain_deadline, now)
    else:
        deadline = 0
    return Backend(name, address, weight, admin_state, deadline)


def pool_from_proto(
    found: Found, path: str, message: pool_pb2.Pool, name: str, base: Pool | None = None, now: float | None = None
) -> Pool:
    """A pool with its members; what is not set, but for the description, comes from ``base``, else it is the default.

    An empty health check says that there is none. ``now``: see ``validate.parse_drain_deadline``.
    """
    own = base or Pool(name)
    check, on_down = own.health_check, own.on_down
    if message.HasField("health_check"):
        check = check_from_proto(found, f"{path}.health_check", message.health_check)
    if message.on_down:
        on_down = validate_checks.parse_on_down(found, f"{path}.on_down", enum_name(_ON_DOWN, message.on_down))
    return Pool(
        name=name,
        description=validate.parse_description(found, f"{path}.description", message.description),
        backends=_members(found, path, message, own, now),
        health_check=check,
        fail_open=message.fail_open if message.HasField("fail_open") else own.fail_open,
        on_down=on_down,
        **{
            field: parse(found, f"{path}.{field}", getattr(message, field))
            if message.HasField(field)
            else getattr(own, field)
            for field, parse in _POOL_NUMBERS.items()
        },
    )


def _members(found: Found, path: str, message: pool_pb2.Pool, base: Pool, now: float | None) -> dict[str, Backend]:
    members: dict[str, Backend] = {}
    owners: dict[str, str] = {}
    for index, item in enumerate(message.backends):
        place = f"{path}.backends[{index}]"
        before = len(found)
        name = names.parse_member_name(found, f"{place}.name", item.name, base.name)
        member = backend_from_proto(found, place, item, name, base.backends.get(name), now)
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
