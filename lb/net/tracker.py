# SPDX-License-Identifier: Apache-2.0
"""The tables behind the next hops, and what follows from them for each tracked address. No loop, no clock."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from lb.core.model import Address, Hop, NextHop, Unresolved
from lb.net import resolve
from lb.net.facts import Fact, Link, LinkGone, LocalAddress, LocalAddressGone, Neighbour, Route, RoutingChanged
from lb.net.neighbours import Key, Neighbours
from lb.net.requests import Refused

_log = logging.getLogger("lb.net")


class Oracle(Protocol):
    """What the tracker asks of ``Kernel``."""

    def links(self) -> list[Link]: ...
    def addresses(self) -> list[LocalAddress]: ...
    def route(self, address: Address) -> Route: ...
    def neighbour(self, ifindex: int, address: Address) -> Neighbour: ...
    def resolve(self, ifindex: int, address: Address) -> None: ...


@dataclass(slots=True)
class _Target:
    """A tracked address. ``link``: where it was last seen to leave. ``neighbour``: whose MAC it needs.

    ``is_new``: it was not looked at yet.
    """

    hop: Hop
    link: Link | None = None
    neighbour: Key | None = None
    is_new: bool = True


class Tracker:
    """Facts in, hops out. ``dirty``: addresses to be looked at again. ``changed``: an answer did."""

    def __init__(self) -> None:
        self.dirty: set[Address] = set()
        self.changed = False
        self.local: frozenset[Address] = frozenset()
        self._links: dict[int, Link] = {}
        self._addresses: set[LocalAddress] = set()
        self._tracked: frozenset[Address] = frozenset()
        self._targets: dict[Address, _Target] = {}
        self._neighbours = Neighbours()
        self._users: dict[Key, set[Address]] = {}
        self._unread: set[Key] = set()

    def load(self, kernel: Oracle) -> None:
        """Read the tables afresh; everything known is doubted. Raises ``OSError`` when the socket fails."""
        links, addresses = kernel.links(), kernel.addresses()
        self._links = {link.ifindex: link for link in links}
        self._set_addresses(set(addresses))
        self.doubt()

    def doubt(self) -> None:
        """Look at every address again, and read its neighbour again."""
        self.dirty.update(self._targets)
        self._unread.update(self._users)

    def track(self, addresses: Collection[Address]) -> None:
        """Keep exactly these."""
        # Sets keep the hashes of their elements, and those of addresses are slow to compute.
        before, self._tracked = self._tracked, frozenset(addresses)
        for address in before - self._tracked:
            self._need(address, None)
            del self._targets[address]
            self.dirty.discard(address)
        for address in self._tracked - before:
            self._targets[address] = _Target(Unresolved(f"the way to {address} is being looked up"))
            self.dirty.add(address)

    def is_new(self, address: Address) -> bool:
        """Whether it is tracked, but was not looked at yet."""
        target = self._targets.get(address)
        return target is not None and target.is_new

    def hop(self, address: Address) -> Hop:
        """The present answer."""
        target = self._targets.get(address)
        return target.hop if target else Unresolved(f"nobody asked for the way to {address} yet")

    def apply(self, facts: Iterable[Fact], now: float) -> bool:
        """Take in events, oldest first. True when a pass is called for: something is dirty, changed or due earlier."""
        called_for = False
        for fact in facts:
            called_for |= self._apply(fact, now)
        return called_for

    def look(self, kernel: Oracle, address: Address, now: float) -> None:
        """Work out the hop of one address. Raises ``OSError`` when the socket fails."""
        self.dirty.discard(address)
        target = self._targets.get(address)
        if target is None:
            return
        way = self._way(kernel, address, target)
        if isinstance(way, Unresolved):
            self._need(address, None)
            self._answer(address, target, way)
            return
        key = way.neighbour
        target.link = way.link
        self._need(address, key)
        if key not in self._neighbours or key in self._unread:
            self._unread.discard(key)
            self._neighbours.observe(kernel.neighbour(*key), now)
        mac = self._neighbours.mac(key)
        hop = resolve.next_hop(way, mac) if mac else resolve.silent(way, self._neighbours.refusal(key))
        self._answer(address, target, hop)

    def due(self, now: float) -> list[Key]:
        """Neighbours to be asked for now; gives up those that have been gone for too long."""
        for key in self._neighbours.expire(now):
            self.dirty.update(self._users[key])
        return self._neighbours.due(now)

    def ask(self, kernel: Oracle, key: Key, now: float) -> None:
        """Have the kernel resolve or confirm one neighbour. Raises ``OSError`` when the socket fails."""
        if key not in self._neighbours:
            return
        # Look first: it may have been made permanent since, and asking would undo that (Linux 5.16 and newer).
        seen = kernel.neighbour(*key)
        self._observe(seen, now)
        if seen.mac is not None and not seen.stale:
            return
        before = self._neighbours.refusal(key)
        try:
            kernel.resolve(*key)
            refusal = 0
        except Refused as error:
            refusal = error.code
        self._neighbours.asked(key, now, refusal)
        if refusal != before:
            self.dirty.update(self._users[key])

    def deadline(self) -> float:
        """When ``due`` will have something to do."""
        return self._neighbours.deadline()

    def _apply(self, fact: Fact, now: float) -> bool:
        match fact:
            case Neighbour():
                if (fact.ifindex, fact.address) not in self._neighbours:
                    return False
                self._observe(fact, now)
                return True
            case Link():
                if self._links.get(fact.ifindex) == fact:
                    return False
                self._links[fact.ifindex] = fact
            case LinkGone():
                self._links.pop(fact.ifindex, None)
            case LocalAddress():
                self._set_addresses(self._addresses | {fact})
            case LocalAddressGone():
                self._set_addresses(self._addresses - {fact.was})
            case RoutingChanged():
                pass
        # The kernel drops routes with their link or address without a word: any of these may move any address.
        self.dirty.update(self._targets)
        return True

    def _observe(self, seen: Neighbour, now: float) -> None:
        key = (seen.ifindex, seen.address)
        before = self._neighbours.mac(key)
        self._neighbours.observe(seen, now)
        if self._neighbours.mac(key) != before:
            self.dirty.update(self._users[key])

    def _set_addresses(self, addresses: set[LocalAddress]) -> None:
        self._addresses = addresses
        local = frozenset(entry.address for entry in addresses)
        self.changed |= local != self.local
        self.local = local

    def _way(self, kernel: Oracle, address: Address, target: _Target) -> resolve.Egress | Unresolved:
        if hopeless := resolve.unusable(address):
            return hopeless
        try:
            route = kernel.route(address)
        except Refused as error:
            return resolve.refused(address, error.code, target.link, self._links)
        return resolve.egress(address, route, self._links)

    def _need(self, address: Address, key: Key | None) -> None:
        """The address needs this neighbour now, and no other."""
        target = self._targets[address]
        if target.neighbour is not None and target.neighbour != key:
            users = self._users[target.neighbour]
            users.discard(address)
            if not users:
                del self._users[target.neighbour]
                self._neighbours.forget(target.neighbour)
                self._unread.discard(target.neighbour)
        target.neighbour = key
        if key is not None:
            self._users.setdefault(key, set()).add(address)

    def _answer(self, address: Address, target: _Target, hop: Hop) -> None:
        was_new, target.is_new = target.is_new, False
        if target.hop == hop:
            return
        if isinstance(hop, NextHop):
            via = f" via {hop.gateway}" if hop.gateway else ""
            # Thousands are found when lbd starts, and all is well with them.
            level = logging.DEBUG if was_new else logging.INFO
            _log.log(level, "next hop of %s: %s on %s%s", address, hop.mac.hex(":"), hop.interface, via)
        else:
            level = logging.WARNING if isinstance(target.hop, NextHop) else logging.INFO
            _log.log(level, "no next hop for %s: %s", address, hop.reason)
        target.hop = hop
        self.changed = True
