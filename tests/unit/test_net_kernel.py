# SPDX-License-Identifier: Apache-2.0
"""The netlink sockets when things go wrong: answers cut, repeated, late or refused."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

import pytest

from lb.net import kernel as module
from lb.net.kernel import Kernel
from lb.net.messages import NLMSG_DONE, NLMSG_ERROR

NLM_F_DUMP_INTR = 0x10


def message(kind: int, sequence: int, body: bytes = bytes(4), flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


class ScriptedSocket:
    """``answer`` maps the sequence number of each request to the buffers that answer it."""

    def __init__(self) -> None:
        self.answer: Callable[[int], list[bytes]] = lambda _: []
        self.inbox: list[bytes] = []
        self.sent = 0
        self.options: list[tuple[int, int, int]] = []

    def __enter__(self) -> ScriptedSocket:
        return self

    def __exit__(self, *_: object) -> None: ...

    def setblocking(self, _: bool) -> None: ...

    def settimeout(self, _: float) -> None: ...

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if option == 33:
            raise PermissionError
        self.options.append((level, option, value))

    def send(self, request: bytes) -> None:
        self.sent += 1
        self.inbox += self.answer(struct.unpack_from("=IHHII", request)[3])

    def recv(self, _: int) -> bytes:
        if not self.inbox:
            raise BlockingIOError
        return self.inbox.pop(0)


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[ScriptedSocket]:
    """The event socket and the request socket, in this order."""
    made = [ScriptedSocket(), ScriptedSocket()]
    waiting = iter(made)
    monkeypatch.setattr(module, "rtnetlink", lambda: next(waiting))
    return made


def test_a_dump_that_was_interrupted_is_read_again(sockets: list[ScriptedSocket]) -> None:
    """The kernel flags a table that changed while it was read: an entry may be missing from it."""
    sockets[1].answer = lambda sequence: [
        message(NLMSG_DONE, sequence, flags=NLM_F_DUMP_INTR if sockets[1].sent < 3 else 0)
    ]
    assert Kernel().links() == []
    assert sockets[1].sent == 3


def test_a_table_that_never_holds_still_is_an_error(sockets: list[ScriptedSocket]) -> None:
    sockets[1].answer = lambda sequence: [message(NLMSG_DONE, sequence, flags=NLM_F_DUMP_INTR)]
    with pytest.raises(OSError, match="changed during each of 5 reads"):
        Kernel().addresses()


def test_a_refused_dump_is_an_error(sockets: list[ScriptedSocket]) -> None:
    sockets[1].answer = lambda sequence: [message(NLMSG_ERROR, sequence, struct.pack("=i", -errno.EPERM))]
    with pytest.raises(PermissionError):
        Kernel().links()


def test_a_dump_that_ends_with_an_error_is_an_error(sockets: list[ScriptedSocket]) -> None:
    """The kernel says so in the last message; half a table must not pass for a whole one."""
    sockets[1].answer = lambda sequence: [message(NLMSG_DONE, sequence, struct.pack("=i", -errno.ENOMEM))]
    with pytest.raises(OSError, match="Cannot allocate memory"):
        Kernel().links()


def test_an_answer_to_an_earlier_request_is_skipped(sockets: list[ScriptedSocket]) -> None:
    sockets[1].answer = lambda sequence: [message(NLMSG_DONE, sequence - 1) + message(NLMSG_DONE, sequence)]
    assert Kernel().links() == []


def test_an_event_socket_at_its_end_is_an_error(sockets: list[ScriptedSocket]) -> None:
    sockets[0].inbox = [b""]
    with pytest.raises(ConnectionResetError):
        Kernel().events()


def test_without_cap_net_admin_the_buffer_is_as_large_as_allowed(sockets: list[ScriptedSocket]) -> None:
    Kernel(event_buffer_bytes=4096)
    assert (1, 8, 4096) in sockets[0].options, "SOL_SOCKET, SO_RCVBUF"


def test_the_first_socket_is_closed_when_there_is_no_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each attempt to reopen would leak one."""
    opened: list[socket.socket] = []
    real = module.rtnetlink

    def only_one() -> socket.socket:
        if opened:
            raise OSError(errno.EMFILE, "Too many open files")
        opened.append(real())
        return opened[0]

    monkeypatch.setattr(module, "rtnetlink", only_one)
    with pytest.raises(OSError, match="Too many"):
        Kernel()
    assert opened[0].fileno() == -1
