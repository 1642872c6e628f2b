# SPDX-License-Identifier: Apache-2.0
"""What the kernel tells about links, neighbours, addresses and routes, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from lb.core.model import Address


@dataclass(frozen=True, slots=True)
class Link:
    """An interface. ``running``: up and with carrier. ``mac``: 6 bytes, None where it does not speak Ethernet."""

    ifindex: int
    name: str
    mtu_bytes: int
    mac: bytes | None
    up: bool
    running: bool


@dataclass(frozen=True, slots=True)
class LinkGone:
    """An interface was removed."""

    ifindex: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What the kernel knows of a machine on a link.

    ``mac``: 6 bytes, None while unknown or failed. ``stale``: usable, but not confirmed lately.
    """

    ifindex: int
    address: Address
    mac: bytes | None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """An address of the box. The same one may be on several interfaces, and on one with several lengths."""

    ifindex: int
    address: Address
    prefix_length: int


@dataclass(frozen=True, slots=True)
class LocalAddressGone:
    """An address was taken off an interface."""

    was: LocalAddress


@dataclass(frozen=True, slots=True)
class RoutingChanged:
    """A route, rule or next-hop object came or went; which one does not matter: the kernel is asked again."""


@dataclass(frozen=True, slots=True)
class Route:
    """The kernel's answer for one destination; ``kind`` is an RTN_* number, ``ifindex`` 0 where there is none."""

    kind: int
    ifindex: int
    gateway: Address | None
    source: Address | None
    encapsulated: bool = False


Fact = Link | LinkGone | Neighbour | LocalAddress | LocalAddressGone | RoutingChanged
