# SPDX-License-Identifier: Apache-2.0
"""The way of health checks into the tunnel: from sockets with our mark to the interfaces where they are wrapped.

A rule leads marked packets to a table of our own, whose default routes go through a gateway that does not exist. Its
neighbour entry is permanent, so nobody is asked for it; and its MAC never leaves the box, since the program on the
interface (xdp/probe.c) writes that of the backend's next hop instead. Where no interface is left to send by, marked
packets end: by any other route they would reach whoever has the VIP, and be taken for the backend's.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address

from lb.core.errors import UnavailableError
from lb.core.model import Address, Unresolved
from lb.net import messages, probe_messages
from lb.net.facts import Link
from lb.net.kernel import ask_neighbour
from lb.net.messages import Frame
from lb.net.probe_messages import RULE_PRIORITY, ProbeRoute
from lb.net.requests import Refused, Request, Requests, rtnetlink

GATEWAYS: Mapping[int, Address] = {4: IPv4Address("169.254.76.66"), 6: IPv6Address("fe80::4c42")}
"""By IP version. Link-local, so that nobody else is routed by them."""

GATEWAY_MAC = bytes.fromhex("024c42000000")

MTU_BYTES = 1280
"""Of probes, so that they fit every link when wrapped; the least that IPv6 takes."""

END_METRIC = 1 << 16
"""Of the route on which packets end; those of the interfaces count from 1."""

# Nobody's addresses, to ask the way to: the IPv4 dummy address (RFC 7600) and one to be discarded (RFC 6666).
_NOBODY: Mapping[int, Address] = {4: IPv4Address("192.0.0.8"), 6: IPv6Address("100::1")}
_SOL_NETLINK, _NETLINK_GET_STRICT_CHK = 270, 12
_FAILURE = "cannot change the route of health checks into the tunnel"
_UNKNOWN_FAMILY = (errno.EAFNOSUPPORT, errno.EOPNOTSUPP)


def lay(interfaces: Sequence[str]) -> Mapping[int, Address | Unresolved]:
    """Have marked packets leave by these interfaces, the first that is up, and by no other; none: remove everything.

    Writes only what differs from what is there, so it may be called as often as one likes. Blocks.

    Returns:
        By IP version the source address of probes, or why there can be none.

    Raises:
        UnavailableError: The kernel does not let us.
    """
    try:
        with contextlib.closing(rtnetlink()) as sock:
            sock.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
            requests = Requests(sock)
            ways = [_way(requests, name) for name in interfaces]
            return {version: _Family(requests, version).lay(ways) for version in GATEWAYS}
    except Refused as refused:
        remedy = ": it needs CAP_NET_ADMIN" if refused.code == errno.EPERM else ""
        raise UnavailableError(f"{_FAILURE}: {refused}{remedy}") from refused
    except OSError as error:
        raise UnavailableError(f"{_FAILURE}: {error.strerror or error}") from error


def _way(requests: Requests, name: str) -> Link | Unresolved:
    """An interface that can be sent by; it needs no carrier, since wrapped packets may leave by another."""
    try:
        link = messages.decode(requests.ask(partial(messages.get_link, name=name)))
    except Refused:
        return Unresolved(f"interface {name} is gone: bring it back")
    assert isinstance(link, Link)
    if not link.up:
        return Unresolved(f"interface {name} is down: `ip link set {name} up`")
    if link.mac is None:
        return Unresolved(f"interface {name} has no Ethernet address: give lbd one that has")
    return link


class _Family:
    """Rule, table and neighbours of one IP version."""

    def __init__(self, requests: Requests, version: int) -> None:
        self._requests = requests
        self._version = version
        self._gateway = GATEWAYS[version]

    def lay(self, ways: Sequence[Link | Unresolved]) -> Address | Unresolved:
        """See the function ``lay``."""
        if not ways:
            self._remove()
            return Unresolved("its program is on no interface of lbd any more: restart lbd")
        if any(isinstance(way, Link) for way in ways) and not self._has_address():
            what = "IPv6 address, link-local ones aside," if self._version == 6 else "IPv4 address"
            ways = [Unresolved(f"the box has no {what} that backends could answer: add one with `ip address add`")]
        try:
            reasons = self._set_routes(ways)
        except Refused as refused:
            if refused.code == errno.EPERM:
                raise
            return Unresolved(f"the kernel takes no IPv{self._version} route ({refused}): is IPv{self._version} off?")
        return self._source(reasons)

    def _set_routes(self, ways: Sequence[Link | Unresolved]) -> list[str]:
        """Table and rule; returns why some interfaces are not in use. Raises ``Refused``."""
        wanted = {link: self._route(link, metric) for metric, link in enumerate(ways, 1) if isinstance(link, Link)}
        end = ProbeRoute(self._version, END_METRIC)
        present = self._present()
        for route in present - {*wanted.values(), end}:
            self._close(route)
        # The rule last: marked packets that found no route in our table would go on to the others.
        if end not in present:
            self._write(partial(probe_messages.add_route, route=end))
        refusals = [self._open(link, route, present) for link, route in wanted.items()]
        self._write(partial(probe_messages.add_rule, version=self._version), errno.EEXIST)
        return [way.reason for way in ways if isinstance(way, Unresolved)] + [text for text in refusals if text]

    def _remove(self) -> None:
        self._write(partial(probe_messages.delete_rule, version=self._version), errno.ENOENT, *_UNKNOWN_FAMILY)
        for route in self._present():
            self._close(route)

    def _route(self, link: Link, metric: int) -> ProbeRoute:
        return ProbeRoute(self._version, metric, link.ifindex, self._gateway, MTU_BYTES)

    def _present(self) -> set[ProbeRoute]:
        return probe_messages.decode_routes(self._dump(probe_messages.get_routes))

    def _has_address(self) -> bool:
        return probe_messages.have_global(self._dump(probe_messages.get_addresses))

    def _dump(self, request: Callable[[int, int], bytes]) -> list[Frame]:
        try:
            return self._requests.dump(lambda sequence: request(sequence, self._version))
        except OSError as error:
            if error.errno in (errno.ENOENT, *_UNKNOWN_FAMILY):  # a routing table comes and goes with its routes
                return []
            raise

    def _open(self, link: Link, route: ProbeRoute, present: set[ProbeRoute]) -> str:
        """Enter route and neighbour of one interface, where they are missing; returns why that can't be, or ""."""
        try:
            if ask_neighbour(self._requests, link.ifindex, self._gateway).mac != GATEWAY_MAC:
                self._write(
                    partial(probe_messages.put_neighbour, ifindex=link.ifindex, address=self._gateway, mac=GATEWAY_MAC)
                )
            if route not in present:
                self._write(partial(probe_messages.add_route, route=route))
        except Refused as refused:
            if refused.code == errno.EPERM:
                raise
            return f"{link.name} takes no IPv{self._version} route ({refused}): is IPv{self._version} off there?"
        return ""

    def _close(self, route: ProbeRoute) -> None:
        """Remove a route, and the neighbour that it leads to; either may be gone by now."""
        self._write(partial(probe_messages.delete_route, route=route), errno.ESRCH, errno.ENODEV)
        if route.gateway is not None:
            drop = partial(probe_messages.delete_neighbour, ifindex=route.ifindex, address=route.gateway)
            self._write(drop, errno.ENOENT, errno.ENODEV)

    def _source(self, reasons: Sequence[str]) -> Address | Unresolved:
        """Where a probe would come from, by the kernel's own word."""
        request = partial(probe_messages.get_marked_route, address=_NOBODY[self._version])
        try:
            route = messages.decode_route(self._requests.ask(request))
        except Refused as refused:
            return Unresolved("; ".join(reasons) or f"the kernel refuses to route probes: {refused}: see `ip rule`")
        if route.gateway != self._gateway or route.source is None:
            return Unresolved(
                f"another rule leads IPv{self._version} packets elsewhere: give it a priority above {RULE_PRIORITY}, "
                f"see `ip -{self._version} rule`"
            )
        return route.source

    def _write(self, request: Request, *harmless: int) -> None:
        """``harmless``: refusals that say that there was nothing to do."""
        try:
            self._requests.ask(request)
        except Refused as refused:
            if refused.code not in harmless:
                raise
