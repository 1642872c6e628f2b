# SPDX-License-Identifier: Apache-2.0
"""gRPC health checks against real servers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from unit.probe_lab import LOOPBACK, LOOPBACK_6, SHORT_MS, http_service, silent_port, target, words

from lb.core.checks import CheckKind
from lb.probe import grpc_health
from lb.probe.failures import Unable

Status = health_pb2.HealthCheckResponse


@contextlib.asynccontextmanager
async def grpc_service(address: str = LOOPBACK, **statuses: int) -> AsyncIterator[int]:
    """The status of each service, "server" for the whole of it; without any, no health service. Yields its port."""
    server = grpc.aio.server()
    if statuses:
        servicer = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        for name, status in statuses.items():
            await servicer.set("" if name == "server" else name, status)
    port = server.add_insecure_port(f"[{address}]:0" if ":" in address else f"{address}:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


@pytest.mark.parametrize("address", [LOOPBACK, LOOPBACK_6])
async def test_grpc_passes_when_the_server_serves(address: str) -> None:
    """The whole server, or the service that was asked for."""
    async with grpc_service(address, server=Status.SERVING, shop=Status.SERVING) as port:
        assert await words(target(CheckKind.GRPC, port, address)) == ""
        assert await words(target(CheckKind.GRPC, port, address, grpc_service="shop")) == ""


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("shop", "gRPC health: NOT_SERVING"),
        ("odd", "gRPC health: unknown status 77"),
        ("nothing", "gRPC health: the server does not know the service 'nothing'"),
    ],
)
async def test_grpc_fails_with_the_status(service: str, expected: str) -> None:
    async with grpc_service(server=Status.SERVING, shop=Status.NOT_SERVING, odd=77) as port:
        assert await words(target(CheckKind.GRPC, port, grpc_service=service)) == expected


async def test_a_server_without_the_health_service_is_told_what_it_lacks() -> None:
    async with grpc_service() as port:
        assert "does not offer grpc.health.v1" in await words(target(CheckKind.GRPC, port))


async def test_another_error_is_named() -> None:
    """As an interceptor makes it that wants credentials."""

    class Refusing(health_pb2_grpc.HealthServicer):
        async def Check(self, request: object, context: grpc.aio.ServicerContext) -> None:  # noqa: N802, ARG002
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(Refusing(), server)
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    await server.start()
    assert await words(target(CheckKind.GRPC, port)) == "gRPC: UNAUTHENTICATED: who are you?"
    await server.stop(0)


async def test_a_port_that_does_not_speak_grpc_is_named() -> None:
    async with http_service(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (port, _):
        error = await words(target(CheckKind.GRPC, port))
    assert error == "gRPC: the connection broke: does the port speak gRPC without TLS?"


async def test_a_server_that_hangs_is_a_timeout() -> None:
    with silent_port() as port:
        asked = target(CheckKind.GRPC, port, timeout_ms=SHORT_MS)
        assert await words(asked) == "timeout after 150 ms: connected, but no answer"


async def test_only_this_process_gets_to_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay's name can be seen in /proc/net/unix; who is not this process is turned away."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, socket.socket(socket.AF_UNIX) as stranger:
        listener.setblocking(False)
        listener.bind("")
        listener.listen(1)
        stranger.connect(listener.getsockname())
        monkeypatch.setattr(grpc_health.os, "getpid", lambda: 1)
        accepting = asyncio.create_task(grpc_health._accept(listener))
        loop = asyncio.get_running_loop()
        stranger.setblocking(False)
        assert await loop.sock_recv(stranger, 1) == b""
        accepting.cancel()
        await asyncio.wait([accepting])


async def test_what_the_balancer_lacks_for_the_relay_is_not_the_servers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out at once, not by the timeout."""

    async def refuse(_: socket.socket) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(grpc_health, "_accept", refuse)
    async with grpc_service(server=Status.SERVING) as port:
        with pytest.raises(Unable, match="LimitNOFILE"):
            await words(target(CheckKind.GRPC, port))
