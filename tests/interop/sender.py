# SPDX-License-Identifier: Apache-2.0
"""The balancer: the real program at driver level on a veth, configured by the real planner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from packets.box import HASH_KEY, Box, box
from testbed.host import run

from interop.client import ECHO_PORT
from interop.recipe import Recipe
from interop.variants import SOURCE_PREFIX4, SOURCE_PREFIX6, OuterSource, Variant
from interop.wire import BALANCER4, BALANCER6, GUEST_MAC, Wire
from lb.core.model import Backend, Config, NextHop, Pool, Protocol, Settings, Vip

_INTERFACE, _PEER = "in0", "in0p"
_MAC = "02:00:00:00:00:02"


class Balancer:
    """One pool with the guest as its only backend."""

    def __init__(self, made: Box, recipe: Recipe) -> None:
        self._box = made
        self._recipe = recipe
        ifindex, mac = made.ifindex[_INTERFACE], _bytes(_MAC)
        for address, own in ((recipe.local4, BALANCER4), (recipe.local6, BALANCER6)):
            made.hops[address] = NextHop(_INTERFACE, ifindex, recipe.mtu_bytes, _bytes(GUEST_MAC), mac, own)

    def use(self, variant: Variant) -> None:
        """From now on the balancer wraps as the variant says."""
        vip, backend = variant.vip(self._recipe), variant.backend(self._recipe)
        by_flow = variant.outer_source is OuterSource.RANDOM
        settings = Settings(
            hash_key=HASH_KEY,
            outer_source_ipv4=SOURCE_PREFIX4 if by_flow else None,
            outer_source_ipv6=SOURCE_PREFIX6 if by_flow else None,
        )
        config = Config(
            settings,
            {"echo": Pool("echo", backends={"guest": Backend("guest", backend)})},
            {each.name: Vip(each.name, vip, ECHO_PORT, each, "echo") for each in Protocol},
        )
        self._box.configure(config)


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


@contextmanager
def balancer(wire: Wire, recipe: Recipe) -> Iterator[Balancer]:
    """A balancer in a namespace of its own, its interface's far end on the wire's bridge."""
    with box() as made:
        run(["ip", "link", "set", _INTERFACE, "address", _MAC])
        run(["ip", "link", "set", _PEER, "netns", wire.namespace])
        wire.connect_balancer(_PEER, _MAC)
        yield Balancer(made, recipe)
