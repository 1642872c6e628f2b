# SPDX-License-Identifier: Apache-2.0
"""Two netlink sockets of the namespace that lbd runs in: one to ask, one to be told.

Asking is synchronous on purpose. The kernel answers an rtnetlink request while it is being sent, so the answer is there
when ``send`` returns: there is nothing to await, and nothing can change between two lines that look at the tables.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
from collections.abc import Callable, Iterable, Iterator

from lb.core.model import Address
from lb.net import messages
from lb.net.facts import Fact, Link, LocalAddress, Neighbour, Route
from lb.net.messages import NLMSG_DONE, NLMSG_ERROR, Frame

EVENT_BUFFER_BYTES = 4 << 20
"""Receive buffer for events (as SO_RCVBUF counts): what does not fit is reported as an overrun."""

_ANSWER_SECONDS = 2.0
_RECEIVE_BYTES = 256 << 10
_READS_PER_TURN = 64
_SO_RCVBUFFORCE = 33
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1
_NLM_F_DUMP_INTR = 0x10
_DUMP_ATTEMPTS = 5


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """The kernel answered a request with an error number."""

    def __init__(self, code: int) -> None:
        super().__init__(os.strerror(code))
        self.code = code


class Kernel:
    """Requests and events. Any method raises ``OSError`` when a socket is no longer to be trusted: open a new one.

    Events are subscribed to before anything can be asked, so that no change falls between a table and its events.
    """

    def __init__(self, event_buffer_bytes: int = EVENT_BUFFER_BYTES) -> None:
        self._sequence = itertools.count(1)
        with contextlib.ExitStack() as stack:
            self._events = stack.enter_context(_rtnetlink())
            self._requests = stack.enter_context(_rtnetlink())
            self._events.setblocking(False)
            _enlarge(self._events, event_buffer_bytes)
            for group in messages.GROUPS:
                self._events.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
            self._requests.settimeout(_ANSWER_SECONDS)
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
                buffer = self._events.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                break
            if not buffer:
                raise OSError(errno.ECONNRESET, "the event socket was shut down")
            facts += _decode(messages.frames(buffer))
        return facts

    def links(self) -> list[Link]:
        """Every interface."""
        return [fact for fact in self._dump(messages.get_links) if isinstance(fact, Link)]

    def addresses(self) -> list[LocalAddress]:
        """Every address of the box."""
        return [fact for fact in self._dump(messages.get_addresses) if isinstance(fact, LocalAddress)]

    def route(self, address: Address) -> Route:
        """Which way a packet to ``address`` would go; raises ``Refused``, ENETUNREACH for "no route" and the like."""
        sequence = next(self._sequence)
        return messages.decode_route(self._ask(sequence, messages.get_route(sequence, address)))

    def neighbour(self, ifindex: int, address: Address) -> Neighbour:
        """What is known of a neighbour: no MAC where there is no entry."""
        sequence = next(self._sequence)
        try:
            frame = self._ask(sequence, messages.get_neighbour(sequence, ifindex, address))
        except Refused:
            return Neighbour(ifindex, address, None)
        [fact] = _decode([frame])
        assert isinstance(fact, Neighbour)
        return fact

    def resolve(self, ifindex: int, address: Address) -> None:
        """Start the resolution of a neighbour, or the confirmation of a stale one.

        Raises:
            Refused: EPERM without CAP_NET_ADMIN, ENOBUFS when the neighbour table is full, ENODEV.
        """
        sequence = next(self._sequence)
        self._ask(sequence, messages.use_neighbour(sequence, ifindex, address))

    def _ask(self, sequence: int, request: bytes) -> Frame:
        self._requests.send(request)
        frame = next(self._answers(sequence))
        if frame.kind == NLMSG_ERROR and (code := messages.error_of(frame)):
            raise Refused(code)
        return frame

    def _dump(self, request: Callable[[int], bytes]) -> list[Fact]:
        """A whole table; once more if it changed under the kernel's hands, which may have left an entry out."""
        for _ in range(_DUMP_ATTEMPTS):
            sequence = next(self._sequence)
            self._requests.send(request(sequence))
            found: list[Frame] = []
            for frame in self._answers(sequence):
                if frame.kind == NLMSG_ERROR:
                    code = messages.error_of(frame)
                    raise OSError(code, os.strerror(code))
                if frame.kind == NLMSG_DONE:
                    break
                found.append(frame)
            if not any(frame.flags & _NLM_F_DUMP_INTR for frame in [*found, frame]):
                return _decode(found)
        raise OSError(errno.EAGAIN, f"the table changed during each of {_DUMP_ATTEMPTS} reads")

    def _answers(self, sequence: int) -> Iterator[Frame]:
        """Frames that answer the request; leftovers of an earlier one are skipped."""
        while True:
            for frame in messages.frames(self._requests.recv(_RECEIVE_BYTES)):
                if frame.sequence == sequence:
                    yield frame


def _decode(frames: Iterable[Frame]) -> list[Fact]:
    return [fact for fact in map(messages.decode, frames) if fact is not None]


def _rtnetlink() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    sock.bind((0, 0))
    return sock


def _enlarge(sock: socket.socket, size_bytes: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size_bytes)
    except PermissionError:  # not CAP_NET_ADMIN: as much as net.core.rmem_max allows
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)
