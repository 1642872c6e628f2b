# SPDX-License-Identifier: Apache-2.0
"""Sockets that wait in the event loop: connect, send and receive, plain or TLS.

Not asyncio's transports: they do not say how far a connection came, and cost more for one that carries one request.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Callable

from lb.core.checks import Target
from lb.probe.attempt import Attempt, Stage
from lb.probe.failures import unopened

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

# The socket module has no names for these before Python 3.14.
_RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}


def open_socket(target: Target, kind: int, protocol: int = 0) -> socket.socket:
    """A socket for ``target.address`` that does not block and carries the target's mark.

    Raises:
        Unable: The kernel refuses it.
    """
    version = target.address.version
    try:
        sock = socket.socket(FAMILIES[version], kind | socket.SOCK_NONBLOCK, protocol)
    except OSError as error:
        raise unopened(error) from error
    try:
        if target.mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, target.mark)
        if kind == socket.SOCK_STREAM:
            # A reset at the end: closed the usual way, each probe would hold a port of the balancer for a minute
            # (TIME_WAIT), and all backends of a VIP are probed at one and the same address and port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        else:
            # Also what the kernel takes for a passing trouble, such as "host unreachable", becomes an error.
            sock.setsockopt(*_RECVERR[version], 1)
    except OSError as error:
        sock.close()
        raise unopened(error) from error
    return sock


async def open_connection(attempt: Attempt) -> socket.socket:
    """A TCP connection to the target. Raises ``Unable``, ``OSError``."""
    sock = open_socket(attempt.target, socket.SOCK_STREAM)
    try:
        await _connect(sock, attempt.target)
    except BaseException:
        sock.close()
        raise
    attempt.stage = Stage.CONNECTED
    return sock


async def _connect(sock: socket.socket, target: Target) -> None:
    try:
        sock.connect((str(target.address), target.port))
    except BlockingIOError:
        await writable(sock.fileno())
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code)) from None


async def shake_hands(sock: socket.socket, context: ssl.SSLContext, server_name: str) -> ssl.SSLSocket:
    """TLS on a connected socket, which must not be used any more; closes it when that fails.

    Raises:
        ssl.SSLError: The handshake failed, or the certificate was refused.
        OSError: The connection broke.
        ValueError: No certificate can be for ``server_name``.
    """
    try:
        wrapped = context.wrap_socket(sock, server_hostname=server_name, do_handshake_on_connect=False)
    except BaseException:
        sock.close()
        raise
    try:
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                await readable(wrapped.fileno())
            except ssl.SSLWantWriteError:
                await writable(wrapped.fileno())
            else:
                return wrapped
    except BaseException:
        wrapped.close()
        raise


async def send(sock: socket.socket, data: bytes) -> None:
    """All of it."""
    left = memoryview(data)
    while left:
        try:
            left = left[sock.send(left) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            await writable(sock.fileno())
        except ssl.SSLWantReadError:
            await readable(sock.fileno())


async def receive(sock: socket.socket, limit: int) -> bytes:
    """At most ``limit`` bytes; b"" at the end of a connection."""
    while True:
        try:
            return sock.recv(limit)
        except (BlockingIOError, ssl.SSLWantReadError):
            await readable(sock.fileno())
        except ssl.SSLWantWriteError:
            await writable(sock.fileno())


async def readable(fd: int) -> None:
    """Wait until there is something to read, or an error."""
    loop = asyncio.get_running_loop()
    await _event(loop, fd, loop.add_reader, loop.remove_reader)


async def writable(fd: int) -> None:
    """Wait until something can be written, or there is an error."""
    loop = asyncio.get_running_loop()
    await _event(loop, fd, loop.add_writer, loop.remove_writer)


async def _event(
    loop: asyncio.AbstractEventLoop, fd: int, add: Callable[..., None], remove: Callable[[int], bool]
) -> None:
    happened = loop.create_future()
    add(fd, _resolve, happened)
    try:
        await happened
    finally:
        remove(fd)


def _resolve(happened: asyncio.Future[None]) -> None:
    if not happened.done():
        happened.set_result(None)
