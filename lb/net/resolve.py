# SPDX-License-Identifier: Apache-2.0
"""From a route to a next hop, or to the reason why there is none. Pure: the tables are passed in."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass

from lb.core.model import Address, NextHop, Unresolved
from lb.net.facts import Link, Route

RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST = range(1, 6)

_REFUSALS = {
    errno.EINVAL: "a blackhole route covers {address}: `ip route del` it, or add a more specific route",
    errno.EHOSTUNREACH: "an unreachable route covers {address}: `ip route del` it, or add a more specific route",
    errno.EACCES: "a prohibit route covers {address}: `ip route del` it, or add a more specific route",
    errno.ENETUNREACH: "no route to {address}: add one with `ip route add`, or correct the address",
}
_NOT_A_HOST = {RTN_BROADCAST: "broadcast", RTN_ANYCAST: "anycast", RTN_MULTICAST: "multicast"}


@dataclass(frozen=True, slots=True)
class Egress:
    """The way out to ``address``, all but the MAC of who is next."""

    address: Address
    link: Link
    source_mac: bytes
    source: Address
    gateway: Address | None

    @property
    def neighbour(self) -> tuple[int, Address]:
        """Whose MAC is needed: (ifindex, address)."""
        return self.link.ifindex, self.gateway or self.address


def unusable(address: Address) -> Unresolved | None:
    """What can be said of an address without asking the kernel."""
    if address.is_link_local and address.version == 6:
        return Unresolved(f"{address} is link-local, valid on one interface only: use a global or unique local address")
    return None


def refused(address: Address, code: int, last: Link | None, links: Mapping[int, Link]) -> Unresolved:
    """The route lookup failed with an errno. ``last``: the interface that led there until now.

    Routes vanish with their interface, and then "no route" is true but not the news.
    """
    if last is not None:
        namesakes = (link for link in links.values() if link.name == last.name)
        link = links.get(last.ifindex) or next(namesakes, None)
        if link is None:
            return Unresolved(f"interface {last.name}, which led to {address}, is gone: bring it back or add a route")
        if down := _down(link):
            return down
    template = _REFUSALS.get(code, f"the route lookup for {{address}} failed: {os.strerror(code)}")
    return Unresolved(template.format(address=address))


def egress(address: Address, route: Route, links: Mapping[int, Link]) -> Egress | Unresolved:
    """Check that packets can leave on the route that the kernel chose."""
    if route.kind == RTN_LOCAL:
        return Unresolved(f"{address} is an address of this box: give the backend the address of another machine")
    if route.kind != RTN_UNICAST:
        kind = _NOT_A_HOST.get(route.kind, f"type {route.kind}")
        return Unresolved(f"{address} is a {kind} address: give the backend the address of one machine")
    link = links.get(route.ifindex)
    if link is None:
        return Unresolved(f"the route to {address} leads to an interface that is gone: see `ip route get {address}`")
    if link.mac is None:
        return Unresolved(
            f"{link.name}, which leads to {address}, has no Ethernet address: route it over an Ethernet interface"
        )
    if down := _down(link):
        return down
    if route.encapsulated:
        return Unresolved(f"the route to {address} adds a header of its own (encap): add a route without it")
    if route.source is None:
        return Unresolved(
            f"{link.name} has no IPv{address.version} address to send from: add one with `ip address add`"
        )
    return Egress(address, link, link.mac, route.source, route.gateway)


def next_hop(way: Egress, mac: bytes) -> NextHop:
    """All is known."""
    return NextHop(
        interface=way.link.name,
        ifindex=way.link.ifindex,
        mtu_bytes=way.link.mtu_bytes,
        mac=mac,
        source_mac=way.source_mac,
        source=way.source,
        gateway=way.gateway,
    )


def silent(way: Egress, refusal: int) -> Unresolved:
    """The neighbour has not answered. ``refusal``: errno with which the kernel declined to ask it, or 0."""
    who = f"gateway {way.gateway} (on the way to {way.address})" if way.gateway else str(way.address)
    version = (way.gateway or way.address).version
    if refusal == errno.EPERM:
        return Unresolved(f"lbd may not ask the kernel to resolve {who}: give it CAP_NET_ADMIN")
    if refusal == errno.ENOBUFS:
        table = "ipv4" if version == 4 else "ipv6"
        return Unresolved(
            f"the kernel's neighbour table has no room for {who}: raise net.{table}.neigh.default.gc_thresh3"
        )
    protocol = "ARP" if version == 4 else "neighbour discovery"
    return Unresolved(f"{who} does not answer {protocol} on {way.link.name}: check that it is up and on that network")


def _down(link: Link) -> Unresolved | None:
    if not link.up:
        return Unresolved(f"interface {link.name} is down: `ip link set {link.name} up`")
    if not link.running:
        return Unresolved(f"interface {link.name} has no carrier: check the cable, or that its other end is up")
    return None
