# SPDX-License-Identifier: Apache-2.0
"""What is built: frozen descriptions of namespaces and the links between them. Pure; ``build`` makes them real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network

CLIENT = "client"
BALANCER = "balancer"
SWITCH = "switch"
ROUTER = "router"
BRIDGE = "br0"
HOST_INTERFACE = "eth0"
"""The one interface of client, balancer and backends."""

DEFAULT_VIPS = ("192.0.2.1", "2001:db8:ffff::1")

CLIENT_MTU = 1500
"""What a client on the internet has."""
FABRIC_MTU = 1600
"""Everything between balancer and backends: a client's full packet and an outer header of up to 40 bytes fit."""

MAX_BACKENDS = 200
_FIRST_BACKEND_HOST = 11


@dataclass(frozen=True, slots=True)
class Route:
    """``destination`` ("default" or CIDR) via ``gateway``; ``mtu`` in bytes, 0 for the interface's."""

    destination: str
    gateway: str
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One namespace.

    ``addresses``: interface to CIDRs, IPv4 and IPv6. ``vips``: addresses that it holds on lo without ever claiming
    them on the link. ``ports``: interfaces that are ports of its bridge. ``link_mtu``: bytes of its own packets on the
    link, 0 for all.
    """

    name: str
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    vips: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    forwards: bool = False
    link_mtu: int = 0

    @property
    def infrastructure(self) -> bool:
        """A switch or a router, neither client nor server."""
        return self.forwards or bool(self.ports)


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair: ``left`` and ``right`` are (node, interface)."""

    left: tuple[str, str]
    right: tuple[str, str]
    mtu: int = FABRIC_MTU


@dataclass(frozen=True, slots=True)
class Topology:
    """All of it; ``backends`` are the names of the backends among ``nodes``."""

    nodes: Mapping[str, Node]
    links: tuple[Link, ...]
    backends: tuple[str, ...]
    vips: tuple[str, ...]

    def address(self, node: str, version: int = 4) -> str:
        """The IPv4 or IPv6 address of a client, balancer or backend."""
        return _of_version(self.nodes[node].addresses[HOST_INTERFACE], version)

    def router(self, version: int) -> str:
        """The router's address on the client's link. Raises ``KeyError`` where there is no router."""
        return _of_version(self.nodes[ROUTER].addresses[CLIENT], version)

    def vip(self, version: int) -> str:
        """The first IPv4 or IPv6 VIP. Raises ``LookupError`` when there is none."""
        return _of_version(self.vips, version)

    def interfaces(self, node: str) -> list[tuple[str, int]]:
        """(interface, MTU in bytes) of every link that ends in ``node``."""
        ends = [(end, link.mtu) for link in self.links for end in (link.left, link.right)]
        return [(interface, mtu) for (name, interface), mtu in ends if name == node]


def flat_topology(backends: int, vips: Sequence[str] = DEFAULT_VIPS) -> Topology:
    """One subnet, 10.0.0.0/24 and 2001:db8::/64, on one bridge: client .3, balancer .2, backends from .11 on."""
    names = _backend_names(backends)
    hosts = {CLIENT: _cidrs(0, 3), BALANCER: _cidrs(0, 2), **_backend_cidrs(names, 0)}
    nodes = [
        Node(
            name,
            {HOST_INTERFACE: cidrs},
            routes=_vip_routes(vips, hosts[BALANCER]) if name == CLIENT else (),
            vips=tuple(vips) if name in names else (),
            link_mtu=CLIENT_MTU if name in names else 0,
        )
        for name, cidrs in hosts.items()
    ]
    links = [
        Link((name, HOST_INTERFACE), (SWITCH, name), CLIENT_MTU if name == CLIENT else FABRIC_MTU) for name in hosts
    ]
    return _topology([*nodes, Node(SWITCH, ports=tuple(hosts))], links, names, vips)


def routed_topology(backends: int, vips: Sequence[str] = DEFAULT_VIPS) -> Topology:
    """A router, .1, between three subnets: client 10.0.1.2, balancer 10.0.2.2, backends 10.0.3.11 and on, on a switch.

    IPv6: 2001:db8:1::2 and so on.
    """
    names = _backend_names(backends)
    hosts = [
        Node(CLIENT, {HOST_INTERFACE: _cidrs(1, 2)}, routes=_default_routes(_cidrs(1, 1))),
        Node(BALANCER, {HOST_INTERFACE: _cidrs(2, 2)}, routes=_default_routes(_cidrs(2, 1))),
        *(
            Node(
                name,
                {HOST_INTERFACE: cidrs},
                routes=_default_routes(_cidrs(3, 1), CLIENT_MTU),
                vips=tuple(vips),
                link_mtu=CLIENT_MTU,
            )
            for name, cidrs in _backend_cidrs(names, 3).items()
        ),
    ]
    router = Node(
        ROUTER,
        {CLIENT: _cidrs(1, 1), BALANCER: _cidrs(2, 1), SWITCH: _cidrs(3, 1)},
        routes=_vip_routes(vips, _cidrs(2, 2)),
        forwards=True,
    )
    switch = Node(SWITCH, ports=(ROUTER, *names))
    links = [
        Link((CLIENT, HOST_INTERFACE), (ROUTER, CLIENT), CLIENT_MTU),
        Link((BALANCER, HOST_INTERFACE), (ROUTER, BALANCER)),
        Link((ROUTER, SWITCH), (SWITCH, ROUTER)),
        *(Link((name, HOST_INTERFACE), (SWITCH, name)) for name in names),
    ]
    return _topology([*hosts, router, switch], links, names, vips)


def _topology(nodes: Sequence[Node], links: Sequence[Link], backends: Sequence[str], vips: Sequence[str]) -> Topology:
    return Topology({node.name: node for node in nodes}, tuple(links), tuple(backends), tuple(vips))


def _backend_names(count: int) -> list[str]:
    if not 1 <= count <= MAX_BACKENDS:
        raise ValueError(f"{count} backends: choose 1 to {MAX_BACKENDS}")
    return [f"b{i}" for i in range(1, count + 1)]


def _backend_cidrs(names: Sequence[str], subnet: int) -> dict[str, tuple[str, str]]:
    return {name: _cidrs(subnet, _FIRST_BACKEND_HOST + i) for i, name in enumerate(names)}


def _cidrs(subnet: int, host: int) -> tuple[str, str]:
    """Both addresses of a host; its number looks the same in both, though IPv6 reads it as hexadecimal."""
    return f"10.0.{subnet}.{host}/24", str(ip_interface(f"2001:db8:{subnet}::{host}/64"))


def _of_version(addresses: Sequence[str], version: int) -> str:
    for address in addresses:
        interface = ip_interface(address)
        if interface.version == version:
            return str(interface.ip)
    raise LookupError(f"no IPv{version} address among {', '.join(addresses)}")


def _vip_routes(vips: Sequence[str], gateway: Sequence[str]) -> tuple[Route, ...]:
    hosts = [ip_network(vip) for vip in vips]
    return tuple(Route(str(host), _of_version(gateway, host.version)) for host in hosts)


def _default_routes(gateway: Sequence[str], mtu: int = 0) -> tuple[Route, ...]:
    return tuple(Route("default", _of_version(gateway, version), mtu) for version in (4, 6))
