# SPDX-License-Identifier: Apache-2.0
"""The way of health checks into the tunnel where the kernel refuses it; what it does otherwise is in ``e2e``."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from lb.core.errors import UnavailableError
from lb.core.model import Unresolved
from lb.net import probe_route

HEADER = struct.Struct("=IHHII")
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 18, 20, 22
RTM_NEWROUTE, RTM_GETROUTE, RTM_NEWRULE, RTM_DELRULE = 24, 26, 32, 33
RTM_GETNEIGH = 30
READING = (RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE)
DUMP = 0x300


def message(kind: int, sequence: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, 0, sequence, 0) + body


def refusal(sequence: int, code: int) -> bytes:
    return message(NLMSG_ERROR, sequence, struct.pack("=i", -code) + bytes(16))


def link() -> bytes:
    """eth0, up, with a MAC: struct ifinfomsg, IFLA_IFNAME, IFLA_MTU, IFLA_ADDRESS."""
    head = struct.pack("=BxHiII", 0, 1, 5, 0x41, 0)
    mac = struct.pack("=HH6s2x", 10, 1, bytes.fromhex("020000000001"))
    return head + struct.pack("=HH8s", 12, 3, b"eth0\0\0\0\0") + struct.pack("=HHI", 8, 4, 1500) + mac


def way() -> bytes:
    """Through our gateway, from 10.0.0.1: struct rtmsg, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC."""
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 252, 76, 0, 1, 0)
    gateway, source = bytes([169, 254, 76, 66]), bytes([10, 0, 0, 1])
    return head + struct.pack("=HHIHH4sHH4s", 8, 4, 5, 8, 5, gateway, 8, 7, source)


class ScriptedKernel:
    """An eth0, an address of each family, and the way into the tunnel.

    ``refuse`` gives the errno for a request of a kind and address family, 0 = granted.
    """

    def __init__(self, refuse: Callable[[int, int], int]) -> None:
        self._refuse = refuse
        self._inbox: list[bytes] = []
        self.closed = False

    def settimeout(self, _: float) -> None: ...

    def setsockopt(self, *_: int) -> None: ...

    def close(self) -> None:
        self.closed = True

    def send(self, request: bytes) -> None:
        _, kind, flags, sequence, _ = HEADER.unpack_from(request)
        family = request[HEADER.size]
        if code := self._refuse(kind, family):
            self._inbox.append(refusal(sequence, code))
        elif kind == RTM_GETLINK:
            self._inbox.append(message(RTM_NEWLINK, sequence, link()))
        elif flags & DUMP == DUMP:
            found = message(RTM_NEWADDR, sequence, bytes(8)) if kind == RTM_GETADDR else b""
            self._inbox.append(found + message(NLMSG_DONE, sequence, bytes(4)))
        elif kind == RTM_GETNEIGH:
            self._inbox.append(refusal(sequence, errno.ENOENT))
        elif kind == RTM_GETROUTE:
            self._inbox.append(message(RTM_NEWROUTE, sequence, way()))
        else:
            self._inbox.append(refusal(sequence, 0))

    def recv(self, _: int) -> bytes:
        if not self._inbox:
            raise TimeoutError("timed out")
        return self._inbox.pop(0)


def scripted(monkeypatch: pytest.MonkeyPatch, refuse: Callable[[int, int], int]) -> ScriptedKernel:
    kernel = ScriptedKernel(refuse)
    monkeypatch.setattr(probe_route, "rtnetlink", lambda: kernel)
    return kernel


def test_without_cap_net_admin_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting it up and removing it alike."""
    kernel = scripted(monkeypatch, lambda kind, _: 0 if kind in READING else errno.EPERM)
    for interfaces in (["eth0"], []):
        with pytest.raises(UnavailableError, match="into the tunnel: Operation not permitted: it needs CAP_NET_ADMIN"):
            probe_route.lay(interfaces)
    assert kernel.closed


def test_a_kernel_without_ipv6_has_the_way_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some boot with ipv6.disable=1. There is nothing to be removed, then, either."""

    def refuse(kind: int, family: int) -> int:
        if family != socket.AF_INET6:
            return 0
        return errno.EAFNOSUPPORT if kind in (RTM_NEWRULE, RTM_DELRULE) else errno.EOPNOTSUPP

    scripted(monkeypatch, refuse)
    ways = probe_route.lay(["eth0"])
    assert ways[4] == ip_address("10.0.0.1")
    assert ways[6] == Unresolved("the kernel takes no IPv6 route (Operation not supported): is IPv6 off?")
    assert "no interface" in str(probe_route.lay([])[6])


def test_a_kernel_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is not waited on for ever."""
    kernel = scripted(monkeypatch, lambda *_: 0)
    monkeypatch.setattr(kernel, "send", lambda _: None)
    with pytest.raises(UnavailableError, match="into the tunnel: timed out"):
        probe_route.lay(["eth0"])
    assert kernel.closed
