# SPDX-License-Identifier: Apache-2.0
"""Measures how large a packet reaches a backend: pings of several sizes that nobody may cut up.

A link that is too narrow loses full packets and nothing else, so that every check passes and every upload hangs.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lb.core.model import Address
from lb.observe.backends import Member
from lb.observe.findings import ok, problem
from lb.observe.interfaces import CLIENT_MTU_BYTES, OUTER_BYTES
from lb.ports import Finding
from lb.probe.icmp import ECHO_REPLY, ECHO_REQUEST, echo
from lb.probe.sockets import FAMILIES, receive

ROUNDS = 3
ROUND_SECONDS = 0.5
"""For answers, after each round of pings."""

MAX_AT_ONCE = 50

_STEPS_BYTES = (1500, 1400, 1280, 576, 100)
"""Whole packets. The smallest tells "nothing large arrives" from "pings are not answered"."""

_IP_HEADER_BYTES = {4: 20, 6: 40}
_ECHO_HEADER_BYTES = 8
_TAG_BYTES = 16
_MAX_BYTES = 65_535
_PROTOCOLS = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
_NEVER_CUT_UP = {4: (socket.IPPROTO_IP, 10, 3), 6: (socket.IPPROTO_IPV6, 23, 3)}
"""IP_MTU_DISCOVER and IPV6_MTU_DISCOVER are PROBE: whatever the kernel believes of the path. Python lacks the names."""


async def examine_paths(members: Sequence[Member]) -> list[Finding]:
    """Measure the way to each backend."""
    links = {member.backend.address: member.hop.mtu_bytes for member in members}
    arrived = await _measure(links)
    return [_judge(member, arrived[member.backend.address]) for member in members]


async def _measure(links: Mapping[Address, int]) -> Mapping[Address, int | OSError]:
    """By address, what ``largest`` returned or raised; from the MTU of the link that leads there."""
    gate = asyncio.Semaphore(MAX_AT_ONCE)

    async def one(address: Address, mtu_bytes: int) -> int | OSError:
        async with gate:
            try:
                return await largest(address, sizes(address.version, mtu_bytes))
            except OSError as error:
                return error

    found = await asyncio.gather(*(one(*link) for link in links.items()))
    return dict(zip(links, found, strict=True))


def sizes(version: int, mtu_bytes: int) -> list[int]:
    """Of packets to be sent over a link of that MTU, largest first: a full client's packet once wrapped, and less."""
    most = min(CLIENT_MTU_BYTES + OUTER_BYTES[version], mtu_bytes)
    return [most, *(step for step in _STEPS_BYTES if step < most)]


async def largest(address: Address, sizes_bytes: Sequence[int]) -> int:
    """The size of the largest of these packets that was answered, 0 = none was; the largest comes first.

    Raises:
        OSError: No raw socket can be had, or there is no way to the address.
    """
    version = address.version
    with socket.socket(FAMILIES[version], socket.SOCK_RAW | socket.SOCK_NONBLOCK, _PROTOCOLS[version]) as sock:
        sock.setsockopt(*_NEVER_CUT_UP[version])
        sock.connect((str(address), 0))
        unanswered = {secrets.token_bytes(_TAG_BYTES): size for size in sizes_bytes}
        best = 0
        for _ in range(ROUNDS):
            for tag, size in unanswered.items():
                _send(sock, version, tag, size)
            best = max(best, await _listen(sock, version, unanswered, sizes_bytes[0]))
            if best == sizes_bytes[0]:
                break
            unanswered = {tag: size for tag, size in unanswered.items() if size > best}
    return best


def _send(sock: socket.socket, version: int, tag: bytes, size_bytes: int) -> None:
    padding = bytes(size_bytes - _IP_HEADER_BYTES[version] - _ECHO_HEADER_BYTES - len(tag))
    # An error here is most often an earlier packet's: a router that says what does not fit.
    with suppress(OSError):
        sock.send(echo(ECHO_REQUEST[version], padding + tag))


async def _listen(sock: socket.socket, version: int, pings: Mapping[bytes, int], most: int) -> int:
    """The largest size that was answered within a round; at once when it is ``most``."""
    best = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(ROUND_SECONDS):
            while best < most:
                with suppress(OSError):  # what a router says of a packet that does not fit
                    best = max(best, _size_of(await receive(sock, _MAX_BYTES), version, pings))
    return best


def _size_of(packet: bytes, version: int, pings: Mapping[bytes, int]) -> int:
    """Of the ping that a packet answers; 0 = it answers none."""
    # A raw socket gets all that the host sends by ICMP, for IPv4 with the header.
    message = packet[(packet[0] & 0x0F) * 4 :] if version == 4 else packet
    if message[:1] != bytes([ECHO_REPLY[version]]):
        return 0
    return pings.get(message[-_TAG_BYTES:], 0)


def _judge(member: Member, arrived: int | OSError) -> Finding:
    link = f"{member.hop.mtu_bytes} bytes on {member.hop.interface}"
    if isinstance(arrived, OSError):
        return ok(member.subject, "path MTU", f"{link}; not measured: {arrived.strerror}")
    if not arrived:
        return ok(member.subject, "path MTU", f"{link}; not measured: {member.backend.address} answers no pings")
    wanted = sizes(member.backend.address.version, member.hop.mtu_bytes)[0]
    if arrived == wanted:
        return ok(member.subject, "path MTU", f"{link}; packets of {wanted} arrive")
    remedy = (
        f"give every link and switch on the way, and the host's interface (`ip link set dev IF mtu {wanted}`), an MTU "
        f"of {wanted} at least: larger packets vanish on the way, without a word to the client"
    )
    return problem(member.subject, "path MTU", f"{link}, but only {arrived} of {wanted} bytes arrive", remedy)
