# SPDX-License-Identifier: Apache-2.0
"""What is tried, and what has to be seen on the wire for it to count."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from interop.recipe import Recipe
from interop.wire import BALANCER4, BALANCER6
from interop.witness import Address, Header
from lb.core.model import Protocol

IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, TCP_HEADER_BYTES = 20, 40, 20

SOURCE_PREFIX4 = IPv4Network("172.16.0.0/16")
SOURCE_PREFIX6 = IPv6Network("100::/64")

_TUNNELS = (4, 41)


@dataclass(frozen=True, slots=True)
class Encapsulation:
    """``protocol``: what the outer header says is inside, 4 or 41."""

    name: str
    vip_is_ipv6: bool
    backend_is_ipv6: bool
    protocol: int


ENCAPSULATIONS = (
    Encapsulation("4in4", vip_is_ipv6=False, backend_is_ipv6=False, protocol=4),
    Encapsulation("6in4", vip_is_ipv6=True, backend_is_ipv6=False, protocol=41),
    Encapsulation("4in6", vip_is_ipv6=False, backend_is_ipv6=True, protocol=4),
    Encapsulation("6in6", vip_is_ipv6=True, backend_is_ipv6=True, protocol=41),
)


class OuterSource(enum.Enum):
    """RANDOM: from a prefix, by flow hash, the default. OWN: the balancer's address, which the setting "off" gives."""

    RANDOM = "random"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class Variant:
    """One line of the table."""

    encapsulation: Encapsulation
    outer_source: OuterSource
    protocol: Protocol

    def vip(self, recipe: Recipe) -> Address:
        """Inner destination."""
        return recipe.vip6 if self.encapsulation.vip_is_ipv6 else recipe.vip4

    def backend(self, recipe: Recipe) -> Address:
        """Outer destination."""
        return recipe.local6 if self.encapsulation.backend_is_ipv6 else recipe.local4

    def largest_mss_bytes(self, recipe: Recipe) -> int:
        """Of TCP segments that still fit once wrapped."""
        outer = IPV6_HEADER_BYTES if self.encapsulation.backend_is_ipv6 else IPV4_HEADER_BYTES
        inner = IPV6_HEADER_BYTES if self.encapsulation.vip_is_ipv6 else IPV4_HEADER_BYTES
        return recipe.mtu_bytes - outer - inner - TCP_HEADER_BYTES


def all_variants() -> Iterator[Variant]:
    """Those of one encapsulation and outer source follow each other: they share a configuration."""
    for encapsulation in ENCAPSULATIONS:
        for outer_source in OuterSource:
            for protocol in (Protocol.UDP, Protocol.TCP):
                yield Variant(encapsulation, outer_source, protocol)


def wire_problem(variant: Variant, recipe: Recipe, flows: int, seen: Sequence[Header]) -> str:
    """Judge the packets that the guest got during ``flows`` flows: were they wrapped as the variant says? "" if so."""
    vip, backend = variant.vip(recipe), variant.backend(recipe)
    if any(header.destination == vip for header in seen):
        return f"packets for {vip} reached the guest unwrapped: not through the balancer"
    wrapped = [header for header in seen if header.destination == backend and header.protocol in _TUNNELS]
    wrong = {header.protocol for header in wrapped} - {variant.encapsulation.protocol}
    if wrong:
        return f"outer protocol {wrong.pop()}, expected {variant.encapsulation.protocol}"
    if len(wrapped) < flows:
        return f"{flows} flows, but only {len(wrapped)} wrapped packets"
    largest = max(header.size_bytes for header in wrapped)
    if largest > recipe.mtu_bytes:
        return f"a wrapped packet of {largest} bytes, MTU {recipe.mtu_bytes}"
    return _source_problem(variant, flows, {header.source for header in wrapped})


def _source_problem(variant: Variant, flows: int, sources: set[Address]) -> str:
    ipv6 = variant.encapsulation.backend_is_ipv6
    if variant.outer_source is OuterSource.OWN:
        own = BALANCER6 if ipv6 else BALANCER4
        return "" if sources == {own} else f"outer sources {_some(sources)}, expected {own}"
    prefix = SOURCE_PREFIX6 if ipv6 else SOURCE_PREFIX4
    strangers = {source for source in sources if source not in prefix}
    if strangers:
        return f"outer sources {_some(strangers)} outside {prefix}"
    # Two flows may share a source, by chance. Half of them do not.
    return "" if 2 * len(sources) > flows else f"{flows} flows, but only {len(sources)} outer sources"


def _some(addresses: set[Address]) -> str:
    return ", ".join(sorted(map(str, addresses))[:3]) or "none"
