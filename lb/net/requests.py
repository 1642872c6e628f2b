# SPDX-License-Identifier: Apache-2.0
"""A netlink socket to ask with.

Asking is synchronous on purpose. The kernel answers an rtnetlink request while it is being sent, so the answer is there
when ``send`` returns: there is nothing to await, and nothing can change between two lines that look at the tables.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import Callable, Iterator

from lb.net import messages
from lb.net.messages import NLMSG_DONE, NLMSG_ERROR, Frame

RECEIVE_BYTES = 256 << 10

Request = Callable[[int], bytes]
"""Makes a request out of its sequence number."""

_ANSWER_SECONDS = 2.0
_NLM_F_DUMP_INTR = 0x10
_DUMP_ATTEMPTS = 5


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """The kernel answered a request with an error number."""

    def __init__(self, code: int) -> None:
        super().__init__(os.strerror(code))
        self.code = code


class Requests:
    """One question at a time. Any method raises ``OSError`` when the socket is no longer to be trusted."""

    def __init__(self, sock: socket.socket) -> None:
        self._sequence = itertools.count(1)
        self._socket = sock
        self._socket.settimeout(_ANSWER_SECONDS)

    def ask(self, request: Request) -> Frame:
        """The answer: a message, or an acknowledgement. Raises ``Refused``."""
        sequence = next(self._sequence)
        self._socket.send(request(sequence))
        frame = next(self._answers(sequence))
        if frame.kind == NLMSG_ERROR and (code := messages.error_of(frame)):
            raise Refused(code)
        return frame

    def dump(self, request: Request) -> list[Frame]:
        """A whole table; once more if it changed under the kernel's hands, which may have left an entry out."""
        for _ in range(_DUMP_ATTEMPTS):
            sequence = next(self._sequence)
            self._socket.send(request(sequence))
            found: list[Frame] = []
            for frame in self._answers(sequence):
                if frame.kind in (NLMSG_ERROR, NLMSG_DONE):
                    # Either may say why there is no table, or no more of it.
                    if code := messages.error_of(frame):
                        raise OSError(code, os.strerror(code))
                    break
                found.append(frame)
            if not any(frame.flags & _NLM_F_DUMP_INTR for frame in [*found, frame]):
                return found
        raise OSError(errno.EAGAIN, f"the table changed during each of {_DUMP_ATTEMPTS} reads")

    def _answers(self, sequence: int) -> Iterator[Frame]:
        """Frames that answer the request; leftovers of an earlier one are skipped."""
        while True:
            for frame in messages.frames(self._socket.recv(RECEIVE_BYTES)):
                if frame.sequence == sequence:
                    yield frame


def rtnetlink() -> socket.socket:
    """A socket in the network namespace of the calling thread."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    sock.bind((0, 0))
    return sock
