# SPDX-License-Identifier: Apache-2.0
"""UDP and ICMP probes."""

from __future__ import annotations

import secrets
import socket

from lb.probe.attempt import Attempt
from lb.probe.failures import Failed, quote
from lb.probe.icmp import ECHO_REPLY, ECHO_REQUEST, echo
from lb.probe.sockets import open_socket, receive

_MAX_BYTES = 65_535
_BODY_BYTES = 16
_IPV4_LENGTH_MASK = 0x0F


async def probe_udp(attempt: Attempt) -> None:
    """Passes when the first datagram that comes back begins with what is expected."""
    target = attempt.target
    with open_socket(target, socket.SOCK_DGRAM) as sock:
        sock.connect((str(target.address), target.port))
        sock.send(target.check.send)
        answer = await receive(sock, _MAX_BYTES)
    if not answer.startswith(target.check.expect):
        raise Failed(f"the answer begins with {quote(answer)}, expected {quote(target.check.expect)}")


async def probe_icmp(attempt: Attempt) -> None:
    """Passes when an echo request is answered."""
    target = attempt.target
    version = target.address.version
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    body = secrets.token_bytes(_BODY_BYTES)
    with open_socket(target, socket.SOCK_RAW, protocol) as sock:
        sock.connect((str(target.address), 0))
        sock.send(echo(ECHO_REQUEST[version], body))  # for IPv6 the kernel computes the checksum again
        while True:
            packet = await receive(sock, _MAX_BYTES)
            # A raw socket gets all that the host sends by ICMP, for IPv4 with the header.
            message = packet[(packet[0] & _IPV4_LENGTH_MASK) * 4 :] if version == 4 else packet
            if message[:1] == bytes([ECHO_REPLY[version]]) and message.endswith(body):
                return
