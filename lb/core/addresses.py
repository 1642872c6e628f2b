# SPDX-License-Identifier: Apache-2.0
"""Validation of addresses and prefixes; the contract of ``found`` is that of ``lb.core.validate``."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import TypeVar

from lb.core.errors import Violation
from lb.core.model import Address
from lb.core.validate import Found, quote

_WITH_PORT = re.compile(r"\[[^\]]*\](:\d*)?|[^:]*:\d*")
_STAND_IN = IPv4Address(0)

N = TypeVar("N", IPv4Network, IPv6Network)


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


def parse_outer_source_ipv4(found: Found, field: str, text: str) -> IPv4Network | None:
    """Prefix of the outer source address of IPv4 tunnels; "off" gives None."""
    return _parse_outer_source(found, field, text, IPv4Network, (8, 30), "172.16.0.0/16")


def parse_outer_source_ipv6(found: Found, field: str, text: str) -> IPv6Network | None:
    """Prefix of the outer source address of IPv6 tunnels; "off" gives None."""
    return _parse_outer_source(found, field, text, IPv6Network, (32, 96), "100::/64")


def _parse_address(found: Found, field: str, text: str, port_remedy: str) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        found.append(Violation(field, _why_not_address(text, port_remedy)))
        return _STAND_IN
    reason = why_unusable(address)
    if reason:
        # A zone can be any text: what is sent back stays short and ASCII.
        found.append(Violation(field, f"{str(address).partition('%')[0]} {reason}"))
    return address


def _why_not_address(text: str, port_remedy: str) -> str:
    if not text:
        return "is required: an IP address such as 192.0.2.1 or 2001:db8::1"
    if "/" in text:
        return f"{quote(text)} is a prefix: write one address, without '/'"
    if _WITH_PORT.fullmatch(text):
        return f"{quote(text)} is not an address: {port_remedy}"
    return f"{quote(text)} is not an IP address: names are not looked up, write an address such as 192.0.2.1"


def _parse_outer_source(
    found: Found, field: str, text: str, family: type[N], lengths: tuple[int, int], example: str
) -> N | None:
    if text == "off":
        return None
    low, high = lengths
    remedy = f"write a prefix from /{low} to /{high} such as {example}, or off"
    network = _network(text, family)
    if network is None:
        found.append(Violation(field, f"{quote(text)} is not an IPv{family(0).version} prefix: {remedy}"))
        return None
    bad = why_unusable(network.network_address) or why_unusable(network.broadcast_address)
    if not low <= network.prefixlen <= high:
        found.append(Violation(field, f"{quote(text)} has the wrong length: {remedy}"))
    elif text != str(network):
        found.append(Violation(field, f"{quote(text)} has host bits set or is in another form: write {network}"))
    elif bad:
        found.append(Violation(field, f"{network} has an address that {bad.partition(':')[0]}: {remedy}"))
    return network


def _network(text: str, family: type[N]) -> N | None:
    """The prefix, its host bits cut off; None when it is none of that family, or has a zone."""
    try:
        return None if "%" in text else family(text, strict=False)
    except ValueError:
        return None


def why_unusable(address: Address) -> str:
    """Why no packet can be balanced from or sent to the address, with the remedy; "" if it can."""
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
        return ""
    if address.is_unspecified:
        return "is the unspecified address: use the address that clients or packets go to"
    if address.ipv4_mapped is not None:
        # The data plane's keys are v4-mapped: this would be the IPv4 address.
        return f"is a mapped IPv4 address: write {address.ipv4_mapped}"
    if address.scope_id is not None:
        return "has a zone: write the address without '%'"
    return ""
