# SPDX-License-Identifier: Apache-2.0
"""Two netlink sockets of the namespace that lbd runs in: one to ask, one to be told."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable
from functools import partial

from lb.core.model import Address
from lb.net import messages
from lb.net.facts import Fact, Link, LocalAddress, Neighbour, Route
from lb.net.messages import Frame
from lb.net.requests import RECEIVE_BYTES, Refused, Requests, rtnetlink

EVENT_BUFFER_BYTES = 4 << 20
"""Receive buffer for events (as SO_RCVBUF counts): what does not fit is reported as an overrun."""

_READS_PER_TURN = 64
_SO_RCVBUFFORCE = 33
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1


class Kernel:
    """Requests and events. Any method raises ``OSError`` when a socket is no longer to be trusted: open a new one.

    Events are subscribed to before anything can be asked, so that no change falls between a table and its events.
    """

    def __init__(self, event_buffer_bytes: int = EVENT_BUFFER_BYTES) -> None:
        with contextlib.ExitStack() as stack:
            self._events = stack.enter_context(rtnetlink())
            self._requests = Requests(stack.enter_context(rtnetlink()))
            self._events.setblocking(False)
            _enlarge(self._events, event_buffer_bytes)
            for group in messages.GROUPS:
                self._events.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
            self._sockets = stack.pop_all()

    def close(self) -> None:
        """Close both sockets; idempotent."""
        self._sockets.close()

    def fileno(self) -> int:
        """Readable when there are events."""
        return self._events.fileno()

    def events(self) -> list[Fact]:
        """What happened since the last call, oldest first, in bounded pieces; empty when nothing did.

        Raises:
            OSError: ENOBUFS when events were lost, EBADMSG for a malformed one, or the socket broke.
        """
        facts: list[Fact] = []
        for _ in range(_READS_PER_TURN):
            try:
                buffer = self._events.recv(RECEIVE_BYTES)
            except BlockingIOError:
                break
            if not buffer:
                raise OSError(errno.ECONNRESET, "the event socket was shut down")
            facts += _decode(messages.frames(buffer))
        return facts

    def links(self) -> list[Link]:
        """Every interface."""
        return [fact for fact in _decode(self._requests.dump(messages.get_links)) if isinstance(fact, Link)]

    def addresses(self) -> list[LocalAddress]:
        """Every address of the box."""
        return [fact for fact in _decode(self._requests.dump(messages.get_addresses)) if isinstance(fact, LocalAddress)]

    def route(self, address: Address) -> Route:
        """Which way a packet to ``address`` would go; raises ``Refused``, ENETUNREACH for "no route" and the like."""
        return messages.decode_route(self._requests.ask(partial(messages.get_route, address=address)))

    def neighbour(self, ifindex: int, address: Address) -> Neighbour:
        """What is known of a neighbour: no MAC where there is no entry."""
        return ask_neighbour(self._requests, ifindex, address)

    def resolve(self, ifindex: int, address: Address) -> None:
        """Start the resolution of a neighbour, or the confirmation of a stale one.

        Raises:
            Refused: EPERM without CAP_NET_ADMIN, ENOBUFS when the neighbour table is full, ENODEV.
        """
        self._requests.ask(partial(messages.use_neighbour, ifindex=ifindex, address=address))


def ask_neighbour(requests: Requests, ifindex: int, address: Address) -> Neighbour:
    """What is known of a neighbour: no MAC where there is no entry."""
    try:
        frame = requests.ask(partial(messages.get_neighbour, ifindex=ifindex, address=address))
    except Refused:
        return Neighbour(ifindex, address, None)
    [fact] = _decode([frame])
    assert isinstance(fact, Neighbour)
    return fact


def _decode(frames: Iterable[Frame]) -> list[Fact]:
    return [fact for fact in map(messages.decode, frames) if fact is not None]


def _enlarge(sock: socket.socket, size_bytes: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size_bytes)
    except PermissionError:  # not CAP_NET_ADMIN: as much as net.core.rmem_max allows
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)
