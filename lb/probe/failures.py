# SPDX-License-Identifier: Apache-2.0
"""What went wrong with a probe, in words that say what to look at."""

from __future__ import annotations

import enum
import errno
import os
from typing import Final

MAX_WORDS = 400
"""Characters of an error: it may quote what a backend sent."""

_MAX_QUOTE = 40


class Sign(enum.Enum):
    """What a probe saw of the host, however it ended."""

    NONE = "nothing came back"
    REFUSED = "the host is there, and refuses"
    ANSWERED = "something answered"


class Failed(Exception):  # noqa: N818 - a result, not a fault of the program
    """The backend failed the probe."""

    def __init__(self, words: str, sign: Sign = Sign.ANSWERED) -> None:
        super().__init__(words[:MAX_WORDS])
        self.words = words[:MAX_WORDS]
        self.sign = sign


class TimedOut(Failed):
    """Its time was up."""


class Unable(Exception):  # noqa: N818 - see above
    """The probe could not be made, for a reason that says nothing about the backend."""


_WORDS: Final = {
    errno.ECONNREFUSED: ("connection refused: is the service running?", Sign.REFUSED),
    errno.ECONNRESET: ("connection reset: look at the service's log", Sign.ANSWERED),
    errno.EPIPE: ("connection reset: look at the service's log", Sign.ANSWERED),
    errno.EHOSTUNREACH: ("no route to host: is the host up?", Sign.NONE),
    errno.EHOSTDOWN: ("no route to host: is the host up?", Sign.NONE),
    errno.ENETUNREACH: ("network is unreachable: add a route on the balancer with `ip route add`", Sign.NONE),
    errno.ENETDOWN: ("network is down: is the balancer's interface up?", Sign.NONE),
    errno.EACCES: ("forbidden on the way: look at firewalls and prohibiting routes", Sign.NONE),
    errno.EPERM: ("not permitted: does a firewall on the balancer drop it?", Sign.NONE),
    errno.ENOPROTOOPT: ("protocol unreachable: the host does not speak this protocol", Sign.REFUSED),
    errno.EPROTO: ("the host rejects the packet: it does not speak this protocol", Sign.REFUSED),
}

_OURS: Final = {
    errno.EADDRNOTAVAIL: "no free port, or no source address: look at `ip address` and net.ipv4.ip_local_port_range",
    errno.EAFNOSUPPORT: "the balancer lacks this address family: is IPv6 disabled?",
    errno.EINVAL: "a blackhole route on the balancer covers it, the tunnel's own or another: see `lbctl doctor`",
    errno.EMFILE: "too many open files: raise the limit (LimitNOFILE)",
    errno.ENFILE: "too many open files in the system: raise fs.file-max",
    errno.EAGAIN: "no buffer space on the balancer",
    errno.ENOBUFS: "no buffer space on the balancer",
    errno.ENOMEM: "no memory on the balancer",
}


def judge(error: OSError, *, at_vip: bool = False) -> Failed | Unable:
    """What an error of connecting, sending or receiving means; ``at_vip``: not at the backend's own address."""
    code = error.errno or 0
    if code in _OURS:
        return Unable(_OURS[code])
    if code == errno.ECONNREFUSED and at_vip:
        return Failed("connection refused: is the service running, and does it listen on the VIP?", Sign.REFUSED)
    words, sign = _WORDS.get(code, (os.strerror(code) if code else str(error), Sign.NONE))
    return Failed(words, sign)


def unopened(error: OSError) -> Unable:
    """A socket could not be made, or not be marked."""
    if isinstance(error, PermissionError):
        return Unable("not permitted to open the socket: give lbd CAP_NET_ADMIN and CAP_NET_RAW")
    return Unable(_OURS.get(error.errno or 0) or f"cannot open a socket: {error.strerror or error}")


def quote(data: bytes) -> str:
    """The beginning of what a backend sent, printable."""
    shown = data[:_MAX_QUOTE]
    try:
        text = repr(shown.decode())
    except UnicodeDecodeError:
        text = repr(shown)[1:]
    return text + ("..." if len(data) > len(shown) else "")


def span(milliseconds: int) -> str:
    """A time for people: "2 s", "1.5 s", "200 ms"."""
    return f"{milliseconds / 1000:g} s" if milliseconds >= 1000 else f"{milliseconds} ms"
