# SPDX-License-Identifier: Apache-2.0
"""What is built: frozen descriptions of namespaces and the links between them. Pure; ``build`` makes them real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CLIENT = "client"
BALANCER = "balancer"
SWITCH = "switch"
ROUTER = "router"
BRIDGE = "br0"
HOST_INTERFACE = "eth0"
"""The one interface of client, balancer and backends."""

DEFAULT_VIPS = ("192.0.2.1",)

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

    ``addresses``: interface to CIDR. ``vips``: addresses that it holds on lo without ever answering ARP for them.
    ``ports``: interfaces that are ports of its bridge. ``link_mtu``: bytes of its own packets on the link, 0 for all.
    """

    name: str
    addresses: Mapping[str, str] = field(default_factory=dict)
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

    def address(self, node: str) -> str:
        """The IPv4 address of a client, balancer or backend."""
        return self.nodes[node].addresses[HOST_INTERFACE].partition("/")[0]

    def interfaces(self, node: str) -> list[tuple[str, int]]:
        """(interface, MTU in bytes) of every link that ends in ``node``."""
        ends = [(end, link.mtu) for link in self.links for end in (link.left, link.right)]
        return [(interface, mtu) for (name, interface), mtu in ends if name == node]


def flat_topology(backends: int, vips: Sequence[str] = DEFAULT_VIPS) -> Topology:
    """One subnet, 10.0.0.0/24, on one bridge: client .3, balancer .2, backends from .11 on."""
    names = _backend_names(backends)
    addresses = {CLIENT: "10.0.0.3", BALANCER: "10.0.0.2", **_backend_addresses(names, "10.0.0")}
    hosts = [
        Node(
            name,
            {HOST_INTERFACE: f"{address}/24"},
            routes=tuple(Route(f"{vip}/32", addresses[BALANCER]) for vip in vips) if name == CLIENT else (),
            vips=tuple(vips) if name in names else (),
            link_mtu=CLIENT_MTU if name in names else 0,
        )
        for name, address in addresses.items()
    ]
    links = [
        Link((name, HOST_INTERFACE), (SWITCH, name), CLIENT_MTU if name == CLIENT else FABRIC_MTU) for name in addresses
    ]
    return _topology([*hosts, Node(SWITCH, ports=tuple(addresses))], links, names, vips)


def routed_topology(backends: int, vips: Sequence[str] = DEFAULT_VIPS) -> Topology:
    """A router between three subnets: client 10.0.1.2, balancer 10.0.2.2, backends 10.0.3.11 and on, on a switch."""
    names = _backend_names(backends)
    hosts = [
        Node(CLIENT, {HOST_INTERFACE: "10.0.1.2/24"}, routes=(Route("default", "10.0.1.1"),)),
        Node(BALANCER, {HOST_INTERFACE: "10.0.2.2/24"}, routes=(Route("default", "10.0.2.1"),)),
        *(
            Node(
                name,
                {HOST_INTERFACE: f"{address}/24"},
                routes=(Route("default", "10.0.3.1", CLIENT_MTU),),
                vips=tuple(vips),
                link_mtu=CLIENT_MTU,
            )
            for name, address in _backend_addresses(names, "10.0.3").items()
        ),
    ]
    router = Node(
        ROUTER,
        {CLIENT: "10.0.1.1/24", BALANCER: "10.0.2.1/24", SWITCH: "10.0.3.1/24"},
        routes=tuple(Route(f"{vip}/32", "10.0.2.2") for vip in vips),
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


def _backend_addresses(names: Sequence[str], prefix: str) -> dict[str, str]:
    return {name: f"{prefix}.{_FIRST_BACKEND_HOST + i}" for i, name in enumerate(names)}
