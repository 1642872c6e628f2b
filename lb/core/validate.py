# SPDX-License-Identifier: Apache-2.0
"""Validation: raw fields to values of the model, and what must hold between objects.

A ``parse_*`` function notes what is wrong in ``found`` and returns a stand-in, so that one pass collects every
violation of an input. Build the object only when ``found`` stayed empty (``raise_if_any``).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from lb.core.errors import InvalidError, LimitError, RefusedError, Violation
from lb.core.limits import MAX_BACKENDS, MAX_BACKENDS_PER_POOL, MAX_POOLS, MAX_VIPS
from lb.core.model import MAX_WEIGHT, Address, AdminState, Config, Protocol, Vip

Found = list[Violation]

MAX_PORT = 65_535
MAX_DESCRIPTION = 256
FORWARDED_IP_VERSIONS = frozenset({4})
"""IP versions that the data plane forwards; the one place to change when it learns IPv6."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_WITH_PORT = re.compile(r"\[[^\]]*\](:\d*)?|[^:]*:\d*")
_STAND_IN = IPv4Address(0)
_QUOTED = 60


def quote(text: str) -> str:
    """``text`` for an error message: quoted, ASCII, cut to a bounded length."""
    return ascii(text if len(text) <= _QUOTED else text[:_QUOTED] + "...")


def raise_if_any(found: Found) -> None:
    """Raise ``InvalidError`` with everything that was found; nothing found, nothing raised."""
    if found:
        raise InvalidError(found)


def parse_name(found: Found, field: str, text: str) -> str:
    """The last part of a resource name."""
    if not text:
        found.append(Violation(field, "is required: lower-case letters, digits and '-', such as 'web'"))
    elif not _NAME.fullmatch(text):
        rule = "use lower-case letters, digits and '-', at most 63, starting with a letter"
        found.append(Violation(field, f"{quote(text)} is not a name: {rule}"))
    return text


def parse_vip_address(found: Found, field: str, text: str) -> Address:
    """Address of a VIP."""
    return _parse_address(found, field, text, "the port of a VIP is a field of its own: write the address alone")


def parse_backend_address(found: Found, field: str, text: str) -> Address:
    """Address of a backend."""
    remedy = (
        "direct server return cannot change ports: write the address alone, "
        "and let the backend listen on the VIP's address and port"
    )
    return _parse_address(found, field, text, remedy)


def _parse_address(found: Found, field: str, text: str, port_remedy: str) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        found.append(Violation(field, _why_not_address(text, port_remedy)))
        return _STAND_IN
    reason = _why_unusable(address)
    if reason:
        found.append(Violation(field, f"{address} {reason}"))
    return address


def _why_not_address(text: str, port_remedy: str) -> str:
    if not text:
        return "is required: an IP address such as 192.0.2.1"
    if "/" in text:
        return f"{quote(text)} is a prefix: write one address, without '/'"
    if _WITH_PORT.fullmatch(text):
        return f"{quote(text)} is not an address: {port_remedy}"
    return f"{quote(text)} is not an IP address: names are not looked up, write an address such as 192.0.2.1"


def _why_unusable(address: Address) -> str:
    """Why no packet can be balanced from or sent to the address; "" if it can."""
    if address.is_link_local:
        return "is link-local: it means something else on every link and needs a zone, so use a routable address"
    if address.is_multicast:
        return "is a multicast address: use a unicast address"
    if address.is_loopback:
        return "is a loopback address: it never leaves a host, so use one that the network routes"
    if isinstance(address, IPv4Address):
        if int(address) >> 24 == 0:
            return "is unspecified ('this network', 0.0.0.0/8): use the address that clients or packets go to"
        if address == IPv4Address("255.255.255.255"):
            return "is the broadcast address: use a unicast address"
    elif address.is_unspecified:
        return "is the unspecified address: use the address that clients or packets go to"
    elif address.ipv4_mapped is not None:
        return f"is a mapped IPv4 address: write {address.ipv4_mapped}"
    elif address.scope_id is not None:
        return "has a zone: write the address without '%'"
    if address.version not in FORWARDED_IP_VERSIONS:
        return "is an IPv6 address: this release forwards IPv4 only, so use an IPv4 address"
    return ""


def parse_port(found: Found, field: str, number: int) -> int:
    """Port of a VIP; 0 means every port."""
    if not 0 <= number <= MAX_PORT:
        found.append(Violation(field, f"{number} is not a port: 1 to {MAX_PORT}, or 0 for every port"))
    return number


def parse_weight(found: Found, field: str, number: int) -> int:
    """Weight of a backend; 0 means no new flows."""
    if not 0 <= number <= MAX_WEIGHT:
        found.append(Violation(field, f"{number} is not a weight: 0 (no new flows) to {MAX_WEIGHT}"))
    return number


def parse_protocol(found: Found, field: str, text: str) -> Protocol:
    """Protocol of a VIP by name; required."""
    choices = " or ".join(member.name for member in Protocol)
    if not text:
        found.append(Violation(field, f"is required: {choices}"))
    elif text not in Protocol.__members__:
        found.append(Violation(field, f"{quote(text)} is not a protocol that is balanced: choose {choices}"))
    else:
        return Protocol[text]
    return Protocol.TCP


def parse_admin_state(found: Found, field: str, text: str) -> AdminState:
    """Admin state of a backend by name."""
    if text not in AdminState.__members__:
        choices = ", ".join(member.name for member in AdminState)
        found.append(Violation(field, f"{quote(text)} is not an admin state: choose one of {choices}"))
        return AdminState.ENABLED
    return AdminState[text]


def parse_description(found: Found, field: str, text: str) -> str:
    """A line for people."""
    if len(text) > MAX_DESCRIPTION:
        found.append(Violation(field, f"has {len(text)} characters: shorten it to {MAX_DESCRIPTION}"))
    elif not text.isprintable():
        found.append(Violation(field, "has a line break or another unprintable character: write one plain line"))
    return text


def parse_hash_key(found: Found, field: str, text: str) -> bytes:
    """Key of the flow hash."""
    if not re.fullmatch(r"[0-9a-fA-F]{32}", text):
        # The key is a secret, so the message does not repeat it.
        found.append(Violation(field, f"needs 32 hexadecimal digits, this has {len(text)} characters"))
        return bytes(16)
    key = bytes.fromhex(text)
    if not any(key):
        found.append(Violation(field, "is all zeros, which means none: leave it out to have one made"))
    return key


def parse_outer_source_ipv4(found: Found, field: str, text: str) -> IPv4Network | None:
    """Prefix of the outer source address; "off" gives None."""
    if text == "off":
        return None
    remedy = "write a prefix from /8 to /30 such as 172.16.0.0/16, or off"
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        found.append(Violation(field, f"{quote(text)} is not an IPv4 prefix: {remedy}"))
        return None
    if not 8 <= network.prefixlen <= 30:
        found.append(Violation(field, f"{quote(text)} has the wrong length: {remedy}"))
    elif text != str(network):
        found.append(Violation(field, f"{quote(text)} has host bits set or is in another form: write {network}"))
    elif _why_unusable(network.network_address):
        found.append(Violation(field, f"{network} {_why_unusable(network.network_address)}"))
    return network


def check_vip_address(vip: Vip, local_addresses: Iterable[Address]) -> None:
    """Raise ``RefusedError`` when the VIP is an address of the box and ``force`` does not accept that."""
    if not vip.force and vip.address in local_addresses:
        traffic = f"its own traffic to port {vip.port}" if vip.port else "all its own traffic"
        raise RefusedError(
            f"{vip.address} is an address of this balancer: {traffic} would be balanced; use --force if that is wanted",
            [Violation("vip.address", "is an address of this balancer: set force (--force) if that is wanted")],
        )


def check_edit(before: Config, after: Config, local_addresses: Iterable[Address]) -> None:
    """Raise ``LimitError`` or ``RefusedError`` for what an edit made worse; what was there before may stay.

    So an address that the box got after a VIP was made does not block unrelated edits, nor the way back.
    """
    _check_limits(before, after)
    local = frozenset(local_addresses)
    for name, vip in after.vips.items():
        if before.vips.get(name) != vip:
            check_vip_address(vip, local)
    new_loops = _loops(after) - _loops(before)
    if new_loops:
        vip_name, pool, backend = min(new_loops)
        address = after.vips[vip_name].address
        raise RefusedError(
            f"{address} is vip {vip_name!r} and backend {pool}/{backend}: packets to the backend would come back to "
            "the balancer; give the host's own address as the backend's"
        )


def _loops(config: Config) -> set[tuple[str, str, str]]:
    vips: dict[IPv4Address | IPv6Address, list[str]] = {}
    for vip in config.vips.values():
        vips.setdefault(vip.address, []).append(vip.name)
    return {
        (vip_name, pool.name, backend.name)
        for pool in config.pools.values()
        for backend in pool.backends.values()
        for vip_name in vips.get(backend.address, ())
    }


def _check_limits(before: Config, after: Config) -> None:
    was, now = _members(before), _members(after)
    largest = max(now, key=now.__getitem__, default="")
    for what, old, new, limit in (
        ("VIPs", len(before.vips), len(after.vips), MAX_VIPS),
        ("pools", len(was), len(now), MAX_POOLS),
        ("backends over all pools", sum(was.values()), sum(now.values()), MAX_BACKENDS),
        (f"backends in pool {largest!r}", was.get(largest, 0), now.get(largest, 0), MAX_BACKENDS_PER_POOL),
    ):
        if new > limit and new > old:
            raise LimitError(f"{new:,} {what} would exceed the data plane's limit of {limit:,}: delete some first")


def _members(config: Config) -> dict[str, int]:
    return {name: len(pool.backends) for name, pool in config.pools.items()}
