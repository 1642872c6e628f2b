# SPDX-License-Identifier: Apache-2.0
"""ping and traceroute from a client's namespace, on plain sockets: what the client's kernel makes of the answers."""

from __future__ import annotations

import select
import socket
import struct
import time
from ipaddress import ip_address

from testbed import CLIENT, ECHO_PORT, HTTP_PORT, Testbed, TestbedError

_ANSWER_SECONDS = 5.0
_ANSWER_BYTES = 65_535

# The socket module has no names for these before Python 3.14.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
"""struct sock_extended_err: errno, origin, type, code, pad, info, data; the offender's address follows."""
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_OFFENDER_AT = {4: (4, 8), 6: (8, 24)}
"""Where struct sockaddr_in and sockaddr_in6 have the address."""
_ECHO_TYPES = {4: (8, 0), 6: (128, 129)}
_ECHO = struct.Struct("!BBHHH")
"""type, code, checksum, identifier, sequence number."""


def ping(bed: Testbed, address: str, number: int, payload: bytes) -> bytes:
    """One echo request from the client; returns the payload of the reply. Raises ``TestbedError``, ``TimeoutError``."""
    version = ip_address(address).version
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    asked, answered = _ECHO_TYPES[version]
    with bed.entered(CLIENT):
        sock = socket.socket(_FAMILIES[version], socket.SOCK_RAW, protocol)
    with sock:
        sock.settimeout(_ANSWER_SECONDS)
        sock.connect((address, 0))
        request = _ECHO.pack(asked, 0, 0, 0xBEEF, number) + payload
        if version == 4:  # for ICMPv6 the kernel computes it
            request = _ECHO.pack(asked, 0, _checksum(request), 0xBEEF, number) + payload
        sock.send(request)
        deadline = time.monotonic() + _ANSWER_SECONDS
        while time.monotonic() < deadline:
            message = sock.recv(_ANSWER_BYTES)[20 if version == 4 else 0 :]
            kind, code, _, *names = _ECHO.unpack_from(message)
            if (kind, code, names) == (answered, 0, [0xBEEF, number]):
                return message[_ECHO.size :]
    raise TestbedError(f"{address} did not answer a ping")


def _checksum(message: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(message) // 2}H", message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def hop(bed: Testbed, address: str, protocol: str, ttl: int) -> str:
    """Who says that a "udp" or "tcp" packet of the client ran out of hops; "" when it arrived.

    Raises ``TestbedError``.
    """
    version = ip_address(address).version
    kind, port = {"udp": (socket.SOCK_DGRAM, ECHO_PORT), "tcp": (socket.SOCK_STREAM, HTTP_PORT)}[protocol]
    with bed.entered(CLIENT):
        sock = socket.socket(_FAMILIES[version], kind)
    with sock:
        sock.setblocking(False)
        if version == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        sock.connect_ex((address, port))
        if protocol == "udp":
            sock.send(b"probe")
        poll = select.poll()
        poll.register(sock, select.POLLIN if protocol == "udp" else select.POLLOUT)
        happened = poll.poll(_ANSWER_SECONDS * 1000)
        if not happened:
            raise TestbedError(f"neither an answer nor an ICMP error for {protocol} to {address}, TTL {ttl}")
        return _offender(sock, version) if happened[0][1] & select.POLLERR else ""


def _offender(sock: socket.socket, version: int) -> str:
    _, control, _, _ = sock.recvmsg(_ANSWER_BYTES, 1024, socket.MSG_ERRQUEUE)
    ((_, _, data),) = control
    _, origin, kind, code, _, _, _ = _EXTENDED_ERROR.unpack_from(data)
    if (origin, kind, code) != ((2, 11, 0) if version == 4 else (3, 3, 0)):
        raise TestbedError(f"not time exceeded, but an ICMP error of type {kind}, code {code}")
    start, end = _OFFENDER_AT[version]
    return str(ip_address(data[_EXTENDED_ERROR.size :][start:end]))
