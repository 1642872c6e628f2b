# SPDX-License-Identifier: Apache-2.0
"""Asks a host whether it unwraps tunnel packets: sends it one, and listens for its complaint."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import replace
from ipaddress import ip_address

from lb.core.checks import Target
from lb.core.model import Address
from lb.probe.icmp import quiet_packet
from lb.probe.sockets import open_socket, receive

_INNER_PROTOCOL = {4: socket.IPPROTO_IPIP, 6: socket.IPPROTO_IPV6}
_COMPLAINTS = (errno.ENOPROTOOPT, errno.ECONNREFUSED, errno.EPROTO)
"""Protocol unreachable: nothing knows tunnels. Port unreachable: no tunnel device is meant. Parameter problem: either,
by IPv6."""

_MAX_BYTES = 65_535


async def complaint(target: Target) -> None:
    """Return when the backend says that it does not unwrap what is sent to the VIP; else wait for ever.

    Raises:
        Unable: No raw socket can be had.
        OSError: There is no way to the host, or none to the VIP.
    """
    packet = quiet_packet(_source(target), target.address)
    direct = replace(target, address=target.backend, mark=0)
    with open_socket(direct, socket.SOCK_RAW, _INNER_PROTOCOL[target.address.version]) as sock:
        sock.connect((str(target.backend), 0))
        sock.send(packet)
        while True:
            try:
                await receive(sock, _MAX_BYTES)  # what else the host sends by this protocol
            except OSError as error:
                if error.errno in _COMPLAINTS:
                    return
                raise


def _source(target: Target) -> Address:
    """The balancer's address of the probes to the VIP."""
    with contextlib.closing(open_socket(target, socket.SOCK_DGRAM)) as sock:
        sock.connect((str(target.address), target.port or 1))
        return ip_address(sock.getsockname()[0])
