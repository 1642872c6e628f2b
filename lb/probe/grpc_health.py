# SPDX-License-Identifier: Apache-2.0
"""gRPC probes: grpc.health.v1, in plain text.

gRPC cannot mark its sockets. So the connection is made here, like that of any other probe, and gRPC speaks over it
through a unix socket that only this process can use.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from lb.probe.attempt import Attempt
from lb.probe.failures import Failed, quote
from lb.probe.http import authority
from lb.probe.sockets import open_connection, readable, receive, send

_PUMP_BYTES = 65_536
_MAX_MESSAGE_BYTES = 4_096
_MAX_DETAIL = 120


async def probe_grpc(attempt: Attempt) -> None:
    """Passes when the server says SERVING of the service."""
    target = attempt.target
    options = [
        ("grpc.default_authority", target.check.host or authority(target)),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    request = HealthCheckRequest(service=target.check.grpc_service)
    with await open_connection(attempt) as connection:
        async with _reachable(connection) as address, grpc.aio.insecure_channel(address, options) as channel:
            try:
                answer = await HealthStub(channel).Check(request)
            except grpc.aio.AioRpcError as error:
                raise _judge(error, target.check.grpc_service) from error
    if answer.status != HealthCheckResponse.SERVING:
        raise Failed(f"gRPC health: {_name(answer.status)}")


def _judge(error: grpc.aio.AioRpcError, service: str) -> Failed:
    match error.code():
        case grpc.StatusCode.NOT_FOUND:
            return Failed(f"gRPC health: the server does not know the service {quote(service.encode())}")
        case grpc.StatusCode.UNIMPLEMENTED:
            return Failed("gRPC health: the server does not offer grpc.health.v1: add the health service to it")
        case grpc.StatusCode.UNAVAILABLE:
            return Failed("gRPC: the connection broke: does the port speak gRPC without TLS?")
    return Failed(f"gRPC: {error.code().name}: {(error.details() or '')[:_MAX_DETAIL]}")


def _name(status: int) -> str:
    known = HealthCheckResponse.ServingStatus
    return known.Name(status) if status in known.values() else f"unknown status {status}"


@contextlib.asynccontextmanager
async def _reachable(connection: socket.socket) -> AsyncIterator[str]:
    """Let gRPC reach a connection by a name; yields the name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind("")  # the kernel chooses an abstract name
        listener.listen(1)
        name = listener.getsockname()[1:].decode()
        relay = asyncio.create_task(_relay(listener, connection))
        try:
            yield f"unix-abstract:{name}"
        finally:
            relay.cancel()
            await asyncio.wait([relay])
            if not relay.cancelled() and (error := relay.exception()):
                raise error


async def _relay(listener: socket.socket, connection: socket.socket) -> None:
    with listener:  # whatever goes wrong, gRPC shall notice
        ours = await _accept(listener)
    with ours:
        pumps = [asyncio.create_task(_pump(*ends)) for ends in ((ours, connection), (connection, ours))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)


async def _accept(listener: socket.socket) -> socket.socket:
    """The connection of gRPC; others may know the name, but are not of this process."""
    while True:
        await readable(listener.fileno())
        ours, _ = listener.accept()
        ours.setblocking(False)
        pid, _, _ = struct.unpack("3i", ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        if pid == os.getpid():
            return ours
        ours.close()


async def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Until the source ends, or either breaks: gRPC says what that means."""
    with contextlib.suppress(OSError):
        while data := await receive(source, _PUMP_BYTES):
            await send(sink, data)
