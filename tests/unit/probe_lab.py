# SPDX-License-Identifier: Apache-2.0
"""Services on loopback for probes, each with its own way of being right or wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address

from lb.core.checks import CheckKind, HealthCheck, Target
from lb.probe.ask import ask
from lb.probe.attempt import Attempt
from lb.probe.failures import Failed

LOOPBACK = "127.0.0.1"
LOOPBACK_6 = "::1"
LONG_MS = 10_000
SHORT_MS = 150


def target(kind: CheckKind, port: int, address: str = LOOPBACK, timeout_ms: int = LONG_MS, **check: object) -> Target:
    """On loopback."""
    where = ip_address(address)
    return Target(HealthCheck(kind, timeout_ms=timeout_ms, **check), where, where, port)


async def words(asked: Target) -> str:
    """The error of one probe, "" when it passed."""
    try:
        await ask(Attempt(asked), asked.check.timeout_ms / 1000)
    except Failed as failed:
        return failed.words
    return ""


@contextlib.asynccontextmanager
async def http_service(
    answer: bytes, address: str = LOOPBACK, context: ssl.SSLContext | None = None, *, hangs: bool = False
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Reads a request, answers, and closes, or ``hangs``; yields its port, and the requests that came."""
    requests: list[bytes] = []
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()
            if hangs:
                await ended.wait()
        writer.close()

    server = await asyncio.start_server(serve, address, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], requests
    finally:
        ended.set()
        server.close()
        await server.wait_closed()


@contextlib.contextmanager
def silent_port(address: str = LOOPBACK, kind: int = socket.SOCK_STREAM) -> Iterator[int]:
    """Accepts connections, or takes datagrams, and says nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as sock:
        sock.bind((address, 0))
        if kind == socket.SOCK_STREAM:
            sock.listen(16)
        yield sock.getsockname()[1]


@contextlib.contextmanager
def refusing_port(address: str = LOOPBACK, kind: int = socket.SOCK_STREAM) -> Iterator[int]:
    """Held by a socket that nobody can connect to, so that no other program gets it meanwhile."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as sock:
        sock.bind((address, 0))
        if kind == socket.SOCK_DGRAM:
            # Connected elsewhere, it takes datagrams from nobody else.
            sock.connect((address, 9))
        yield sock.getsockname()[1]


class _Echo(asyncio.DatagramProtocol):
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        self._transport.sendto(self._answer + data, peer)


@contextlib.asynccontextmanager
async def udp_service(answer: bytes, address: str = LOOPBACK) -> AsyncIterator[int]:
    """Answers each datagram with these bytes and what it got; yields its port."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Echo(answer), (address, 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
