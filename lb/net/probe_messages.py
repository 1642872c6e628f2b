# SPDX-License-Identifier: Apache-2.0
"""Rtnetlink messages about the tunnel of health checks: its rule, its routing table, its fake gateway."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, rtnl
from pyroute2.netlink.rtnl.fibmsg import FR_ACT_TO_TBL, fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ndmsg import NUD_PERMANENT
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from lb.core.checks import PROBE_MARK, PROBE_MARK_MASK
from lb.core.model import Address
from lb.net.messages import Frame, checked, family, neighbour, parse, request

TABLE = 0x4C42
"""Our routing table's number; "LB", like the mark."""

RULE_PRIORITY = 76
"""Of our rule: right after that of the box's own addresses (0), before what others add."""

PROTOCOL = 76
"""Who made a rule or route, as `ip` shows it (``proto``); not one of the known routing daemons."""

_FAMILIES = {4: AF_INET, 6: AF_INET6}
_RTN_UNICAST, _RTN_BLACKHOLE = 1, 6
_RTNH_F_ONLINK = 4
_RT_SCOPE_LINK, _RT_SCOPE_ANY = 253, 255
_NLMSG_BYTES = 16
_ADDRESS = struct.Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, interface index."""


@dataclass(frozen=True, slots=True)
class ProbeRoute:
    """A default route of our table, for IP ``version``. ``gateway`` None: packets end here (EINVAL)."""

    version: int
    metric: int
    ifindex: int = 0
    gateway: Address | None = None
    mtu_bytes: int = 0


def add_rule(sequence: int, version: int) -> bytes:
    """Lead packets with our mark to our table; refused with EEXIST where the rule is there."""
    return request(_rule(version), rtnl.RTM_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sequence)


def delete_rule(sequence: int, version: int) -> bytes:
    """Remove that rule; refused with ENOENT where there is none."""
    return request(_rule(version), rtnl.RTM_DELRULE, NLM_F_ACK, sequence)


def get_routes(sequence: int, version: int) -> bytes:
    """Ask for our table. The socket must have asked for strict checks, else the kernel dumps all tables."""
    message = _table(version)
    return request(message, rtnl.RTM_GETROUTE, NLM_F_DUMP, sequence)


def decode_routes(frames: list[Frame]) -> set[ProbeRoute]:
    """Make sense of the answer; raises ``OSError`` (EBADMSG) for a malformed one."""
    return {checked(_probe_route, frame) for frame in frames if frame.kind == rtnl.RTM_NEWROUTE}


def add_route(sequence: int, route: ProbeRoute) -> bytes:
    """Put a route into our table."""
    message = _route(route)
    message["proto"] = PROTOCOL
    message["type"] = _RTN_UNICAST if route.gateway else _RTN_BLACKHOLE
    # No address of the gateway's network needs to be on the interface. (IPv6: link-local gateways are so anyway.)
    message["flags"] = _RTNH_F_ONLINK if route.gateway and route.version == 4 else 0
    if route.mtu_bytes:
        message["attrs"].append(("RTA_METRICS", {"attrs": [("RTAX_MTU", route.mtu_bytes)]}))
    return request(message, rtnl.RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sequence)


def delete_route(sequence: int, route: ProbeRoute) -> bytes:
    """Take a route out of our table, whoever made it."""
    message = _route(route)
    message["scope"] = _RT_SCOPE_ANY
    return request(message, rtnl.RTM_DELROUTE, NLM_F_ACK, sequence)


def get_marked_route(sequence: int, address: Address) -> bytes:
    """Ask which way a packet with our mark to ``address`` would go."""
    message = rtmsg()
    message["family"] = family(address)
    message["dst_len"] = address.max_prefixlen
    message["attrs"] = [("RTA_DST", str(address)), ("RTA_MARK", PROBE_MARK)]
    return request(message, rtnl.RTM_GETROUTE, 0, sequence)


def get_addresses(sequence: int, version: int) -> bytes:
    """Ask for the addresses of the box of one IP version."""
    message = ifaddrmsg()
    message["family"] = _FAMILIES[version]
    return request(message, rtnl.RTM_GETADDR, NLM_F_DUMP, sequence)


def have_global(frames: list[Frame]) -> bool:
    """Whether any of these addresses is good beyond its link. Looks at headers alone: a box may have thousands."""
    return any(_ADDRESS.unpack_from(frame.data, _NLMSG_BYTES)[3] < _RT_SCOPE_LINK for frame in frames)


def put_neighbour(sequence: int, ifindex: int, address: Address, mac: bytes) -> bytes:
    """Enter a permanent neighbour, in place of what is there."""
    message = neighbour(ifindex, address)
    message["state"] = NUD_PERMANENT
    message["attrs"].append(("NDA_LLADDR", mac.hex(":")))
    return request(message, rtnl.RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, sequence)


def delete_neighbour(sequence: int, ifindex: int, address: Address) -> bytes:
    """Remove a neighbour; refused with ENOENT where there is none."""
    return request(neighbour(ifindex, address), rtnl.RTM_DELNEIGH, NLM_F_ACK, sequence)


def _rule(version: int) -> Any:
    message = fibmsg()
    message["family"] = _FAMILIES[version]
    message["action"] = FR_ACT_TO_TBL
    message["attrs"] = [
        ("FRA_PRIORITY", RULE_PRIORITY),
        ("FRA_FWMARK", PROBE_MARK),
        ("FRA_FWMASK", PROBE_MARK_MASK),
        ("FRA_TABLE", TABLE),
        ("FRA_PROTOCOL", PROTOCOL),
    ]
    return message


def _table(version: int) -> Any:
    message = rtmsg()
    message["family"] = _FAMILIES[version]
    message["attrs"] = [("RTA_TABLE", TABLE)]
    return message


def _route(route: ProbeRoute) -> Any:
    message = _table(route.version)
    message["attrs"].append(("RTA_PRIORITY", route.metric))
    if route.ifindex:
        message["attrs"].append(("RTA_OIF", route.ifindex))
    if route.gateway:
        message["attrs"].append(("RTA_GATEWAY", str(route.gateway)))
    return message


def _probe_route(frame: Frame) -> ProbeRoute:
    message = parse(rtmsg, frame)
    version = 4 if message["family"] == AF_INET else 6
    metric = message.get_attr("RTA_PRIORITY") or 0
    if message["type"] == _RTN_BLACKHOLE:
        return ProbeRoute(version, metric)  # IPv6 says that it leads to lo
    gateway, metrics = message.get_attr("RTA_GATEWAY"), message.get_attr("RTA_METRICS")
    return ProbeRoute(
        version,
        metric,
        message.get_attr("RTA_OIF") or 0,
        ip_address(gateway) if gateway else None,
        (metrics.get_attr("RTAX_MTU") if metrics else None) or 0,
    )
