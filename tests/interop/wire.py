# SPDX-License-Identifier: Apache-2.0
"""The namespace that the client, its router and the guest's tap device are in."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address

from testbed.host import entered, inside, python_module, run

from interop.recipe import Recipe
from interop.witness import Witness

BRIDGE, TAP = "br0", "tap0"
GUEST_MAC = "02:00:00:00:00:11"
CLIENT4, CLIENT6 = IPv4Address("198.51.100.7"), IPv6Address("2001:db8:c::7")
BALANCER4, BALANCER6 = IPv4Address("10.0.0.2"), IPv6Address("2001:db8::2")
PREFIX4_BITS, PREFIX6_BITS = 24, 64
"""Of the network that router, balancer and backend share."""

_ETH_P_ALL = 3
_SNIFF_BUFFER_BYTES = 8 << 20
_SO_RCVBUFFORCE = 33


class Wire:
    """Client and router at the bridge, the guest at ``tap0``."""

    def __init__(self, namespace: str, recipe: Recipe) -> None:
        self.namespace = namespace
        self._recipe = recipe
        ip = [
            f"link add {BRIDGE} type bridge stp_state 0 mcast_snooping 0",
            f"link set {BRIDGE} mtu {recipe.mtu_bytes} up",
            f"tuntap add {TAP} mode tap",
            f"link set {TAP} mtu {recipe.mtu_bytes} master {BRIDGE} up",
            "link set lo up",
            f"address add {recipe.router4}/{PREFIX4_BITS} dev {BRIDGE}",
            f"address add {recipe.router6}/{PREFIX6_BITS} dev {BRIDGE} nodad",
            f"address add {CLIENT4}/32 dev {BRIDGE}",
            f"address add {CLIENT6}/128 dev {BRIDGE} nodad",
        ]
        for command in ip:
            self.run("ip", *command.split())
        # Nobody finishes checksums and segments on the XDP path.
        self.run("ethtool", "-K", BRIDGE, "tx", "off")

    def run(self, *argv: str) -> None:
        """Run a command in the namespace. Raises ``TestbedError``."""
        run(inside(self.namespace, argv))

    def connect_balancer(self, peer: str, mac: str) -> None:
        """Put the far end of the balancer's veth on the bridge, and route the VIPs to the balancer."""
        self.run("ip", "link", "set", peer, "master", BRIDGE, "up")
        self.run(*python_module("testbed.xdp", "pass", peer))
        for vip, balancer in ((self._recipe.vip4, BALANCER4), (self._recipe.vip6, BALANCER6)):
            self.run(*f"ip neighbour add {balancer} lladdr {mac} dev {BRIDGE} nud permanent".split())
            self.run(*f"ip route add {vip} via {balancer} dev {BRIDGE}".split())

    def socket(self, family: int, kind: int) -> socket.socket:
        """A socket of the client's."""
        with entered(self.namespace):
            return socket.socket(family, kind)

    @contextmanager
    def witness(self) -> Iterator[Witness]:
        """Watches for the length of the block."""
        with self.socket(socket.AF_PACKET, socket.SOCK_RAW) as tap:
            tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _SNIFF_BUFFER_BYTES)
            tap.bind((TAP, _ETH_P_ALL))
            tap.setblocking(False)
            yield Witness(tap, GUEST_MAC)


@contextmanager
def wire(recipe: Recipe) -> Iterator[Wire]:
    """A namespace of its own, removed at the end of the block with everything in it."""
    namespace = f"lb-interop-{os.getpid()}"
    run(["ip", "netns", "add", namespace])
    try:
        yield Wire(namespace, recipe)
    finally:
        run(["ip", "netns", "del", namespace])
