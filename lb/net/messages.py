# SPDX-License-Identifier: Apache-2.0
"""Rtnetlink messages to plain data and back; with ``probe_messages``, all that knows pyroute2's message classes."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from typing import Any, TypeVar

from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, rtnl
from pyroute2.netlink.exceptions import NetlinkDecodeError
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import NTF_USE, NUD_FAILED, NUD_INCOMPLETE, NUD_STALE, ndmsg

from lb.core.model import Address
from lb.net.facts import Fact, Link, LinkGone, LocalAddress, LocalAddressGone, Neighbour, Route, RoutingChanged

T = TypeVar("T")

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTNLGRP_NEXTHOP = 104, 105, 32  # pyroute2 0.9 does not name them

GROUPS = (
    rtnl.RTNLGRP_LINK, rtnl.RTNLGRP_NEIGH, rtnl.RTNLGRP_IPV4_IFADDR, rtnl.RTNLGRP_IPV6_IFADDR,
    rtnl.RTNLGRP_IPV4_ROUTE, rtnl.RTNLGRP_IPV6_ROUTE, rtnl.RTNLGRP_IPV4_RULE, rtnl.RTNLGRP_IPV6_RULE, RTNLGRP_NEXTHOP,
)  # fmt: skip
"""Everything that can change the way to a backend."""

_ROUTING = {
    rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE, rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE, RTM_NEWNEXTHOP, RTM_DELNEXTHOP,
}  # fmt: skip
_HEADER = struct.Struct("=IHHII")
_ERROR = struct.Struct("=i")
_ROUTE = struct.Struct("=BB5xB4x")
"""Of struct rtmsg: family, length of the destination in bits, type."""

_ATTRIBUTE, _NUMBER = struct.Struct("=HH"), struct.Struct("=I")
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_VIA, _RTA_ENCAP_TYPE = 1, 4, 5, 7, 18, 21
_ARPHRD_ETHER = 1
_IFF_UP, _IFF_RUNNING = 0x1, 0x40


@dataclass(frozen=True, slots=True)
class Frame:
    """One netlink message as it arrived, header included."""

    kind: int
    flags: int
    sequence: int
    data: bytes


def frames(buffer: bytes) -> Iterator[Frame]:
    """Cut what one ``recv`` returned into messages; raises ``OSError`` (EBADMSG) for a malformed one."""
    offset = 0
    while offset + _HEADER.size <= len(buffer):
        length, kind, flags, sequence, _port = _HEADER.unpack_from(buffer, offset)
        if length < _HEADER.size:
            raise OSError(errno.EBADMSG, f"netlink message of {length} bytes")
        yield Frame(kind, flags, sequence, buffer[offset : offset + length])
        offset += (length + 3) & ~3


def error_of(frame: Frame) -> int:
    """The errno (positive) in an NLMSG_ERROR frame; 0 is an acknowledgement."""
    code: int = _ERROR.unpack_from(frame.data, _HEADER.size)[0]
    return -code


def decode(frame: Frame) -> Fact | None:
    """Make sense of a dump's entry or an event; None for one that is none of our business.

    Raises:
        OSError: EBADMSG, the message is malformed.
    """
    if frame.kind in _ROUTING:
        return RoutingChanged()  # not decoded: a BGP daemon may send thousands a second
    decoder = _DECODERS.get(frame.kind)
    return checked(decoder, frame) if decoder else None


def decode_route(frame: Frame) -> Route:
    """Make sense of the answer to ``get_route``; raises ``OSError`` (EBADMSG) for a malformed one."""
    return checked(_route, frame)


def get_links(sequence: int) -> bytes:
    """Ask for every interface."""
    return request(ifinfmsg(), rtnl.RTM_GETLINK, NLM_F_DUMP, sequence)


def get_link(sequence: int, name: str) -> bytes:
    """Ask for one interface."""
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", name)]
    return request(message, rtnl.RTM_GETLINK, 0, sequence)


def get_addresses(sequence: int) -> bytes:
    """Ask for every address of the box."""
    return request(ifaddrmsg(), rtnl.RTM_GETADDR, NLM_F_DUMP, sequence)


def get_route(sequence: int, address: Address) -> bytes:
    """Ask which way a packet to ``address`` would go: one choice, also of a multipath route.

    Packed by hand, and so is the answer's reader: a configuration has thousands of addresses, and message classes take
    twenty times as long.
    """
    packed = address.packed
    length = _HEADER.size + _ROUTE.size + _ATTRIBUTE.size + len(packed)
    return (
        _HEADER.pack(length, rtnl.RTM_GETROUTE, NLM_F_REQUEST, sequence, 0)
        + _ROUTE.pack(family(address), 8 * len(packed), 0)
        + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _RTA_DST)
        + packed
    )


def get_neighbour(sequence: int, ifindex: int, address: Address) -> bytes:
    """Ask what is known of one neighbour (Linux 5.0)."""
    return request(neighbour(ifindex, address), rtnl.RTM_GETNEIGH, 0, sequence)


def use_neighbour(sequence: int, ifindex: int, address: Address) -> bytes:
    """Tell the kernel that the neighbour is in use, as a packet to it would: it resolves it, or confirms a stale one.

    Never to be sent for a permanent entry: Linux 5.16 and newer then take its permanence away.
    """
    message = neighbour(ifindex, address)
    message["flags"] = NTF_USE
    return request(message, rtnl.RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE, sequence)


def request(message: Any, kind: int, flags: int, sequence: int) -> bytes:
    """A message of pyroute2 as bytes."""
    message["header"]["type"] = kind
    message["header"]["flags"] = NLM_F_REQUEST | flags
    message["header"]["sequence_number"] = sequence
    message.encode()
    return bytes(message.data)


def neighbour(ifindex: int, address: Address) -> Any:
    """A message about one neighbour."""
    message = ndmsg()
    message["family"] = family(address)
    message["ifindex"] = ifindex
    message["attrs"] = [("NDA_DST", str(address))]
    return message


def family(address: Address) -> int:
    """AF_INET or AF_INET6."""
    return AF_INET if address.version == 4 else AF_INET6


def checked(decoder: Callable[[Frame], T], frame: Frame) -> T:
    """What ``decoder`` makes of a frame; raises ``OSError`` (EBADMSG) for a malformed one."""
    try:
        return decoder(frame)
    except (NetlinkDecodeError, ValueError, struct.error) as error:
        raise OSError(errno.EBADMSG, f"netlink message of type {frame.kind}: {error}") from error


def parse(kind: type[Any], frame: Frame) -> Any:
    """A frame as a message class of pyroute2."""
    message = kind(frame.data)
    message.decode()
    return message


def _mac(text: str | None) -> bytes | None:
    mac = bytes.fromhex(text.replace(":", "")) if text else b""
    return mac if len(mac) == 6 else None


def _link(frame: Frame) -> Link | LinkGone | None:
    message = parse(ifinfmsg, frame)
    if message["family"]:
        return None  # a bridge's view of its port (AF_BRIDGE): its DELLINK means "left the bridge", not "removed"
    if frame.kind == rtnl.RTM_DELLINK:
        return LinkGone(message["index"])
    flags = message["flags"]
    ethernet = message["ifi_type"] == _ARPHRD_ETHER
    return Link(
        ifindex=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        mtu_bytes=message.get_attr("IFLA_MTU"),
        mac=_mac(message.get_attr("IFLA_ADDRESS")) if ethernet else None,
        up=bool(flags & _IFF_UP),
        running=bool(flags & _IFF_RUNNING),
    )


def _neighbour_event(frame: Frame) -> Neighbour | None:
    message = parse(ndmsg, frame)
    address = message.get_attr("NDA_DST")
    if message["family"] not in (AF_INET, AF_INET6) or address is None:
        return None  # a bridge's forwarding entry
    state = message["state"]
    known = frame.kind == rtnl.RTM_NEWNEIGH and state & ~(NUD_FAILED | NUD_INCOMPLETE)
    return Neighbour(
        ifindex=message["ifindex"],
        address=ip_address(address),
        mac=_mac(message.get_attr("NDA_LLADDR")) if known else None,
        stale=bool(state & NUD_STALE),
    )


def _route(frame: Frame) -> Route:
    _family, _length, kind = _ROUTE.unpack_from(frame.data, _HEADER.size)
    found = _attributes(frame.data, _HEADER.size + _ROUTE.size)
    # RTA_VIA: an IPv4 route through an IPv6 router (RFC 5549), its family before the address.
    gateway = found.get(_RTA_GATEWAY) or found.get(_RTA_VIA, b"")[2:]
    source, interface = found.get(_RTA_PREFSRC), found.get(_RTA_OIF)
    return Route(
        kind=kind,
        ifindex=_NUMBER.unpack(interface)[0] if interface else 0,
        gateway=ip_address(gateway) if gateway else None,
        source=ip_address(source) if source else None,
        encapsulated=_RTA_ENCAP_TYPE in found,
    )


def _attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """Type to value; raises ``ValueError`` for one that does not fit."""
    found = {}
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not _ATTRIBUTE.size <= length <= len(data) - offset:
            raise ValueError(f"attribute {kind} of {length} bytes")
        found[kind] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def _address(frame: Frame) -> LocalAddress | LocalAddressGone:
    message = parse(ifaddrmsg, frame)
    # On a point-to-point link IFA_ADDRESS is the peer and IFA_LOCAL is us; IPv6 mostly has IFA_ADDRESS alone.
    address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    local = LocalAddress(message["index"], ip_address(address), message["prefixlen"])
    return local if frame.kind == rtnl.RTM_NEWADDR else LocalAddressGone(local)


_DECODERS: dict[int, Callable[[Frame], Fact | None]] = {
    rtnl.RTM_NEWLINK: _link,
    rtnl.RTM_DELLINK: _link,
    rtnl.RTM_NEWNEIGH: _neighbour_event,
    rtnl.RTM_DELNEIGH: _neighbour_event,
    rtnl.RTM_NEWADDR: _address,
    rtnl.RTM_DELADDR: _address,
}
