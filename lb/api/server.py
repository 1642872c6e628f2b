# SPDX-License-Identifier: Apache-2.0
"""The API's server: all services, health and reflection on one unix socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lb.api import listen as sockets
from lb.api.backends import BackendService
from lb.api.config import ConfigService
from lb.api.errors import ErrorInterceptor
from lb.api.pools import PoolService
from lb.api.stats import StatsService
from lb.api.system import SystemService
from lb.api.vips import VipService
from lb.core.errors import UnavailableError
from lb.ports import Controller
from lb.v1 import (
    backend_pb2,
    backend_pb2_grpc,
    config_pb2,
    config_pb2_grpc,
    pool_pb2,
    pool_pb2_grpc,
    stats_pb2,
    stats_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
    vip_pb2,
    vip_pb2_grpc,
)

SERVICES = tuple(
    service.full_name
    for module in (vip_pb2, pool_pb2, backend_pb2, stats_pb2, system_pb2, config_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)
STOP_GRACE_SECONDS = 2.0
MAX_CONCURRENT_CALLS = 256
"""Over all connections; one more is answered with RESOURCE_EXHAUSTED."""

_SERVICERS: tuple[tuple[Callable[[Any, grpc.aio.Server], None], Callable[[Controller], object]], ...] = (
    (vip_pb2_grpc.add_VipServiceServicer_to_server, VipService),
    (pool_pb2_grpc.add_PoolServiceServicer_to_server, PoolService),
    (backend_pb2_grpc.add_BackendServiceServicer_to_server, BackendService),
    (stats_pb2_grpc.add_StatsServiceServicer_to_server, StatsService),
    (system_pb2_grpc.add_SystemServiceServicer_to_server, SystemService),
    (config_pb2_grpc.add_ConfigServiceServicer_to_server, ConfigService),
)
_OPTIONS = (
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_concurrent_streams", 100),
    # A peer that is gone without a goodbye holds its connection for 80 s at most.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Clients may ping as often as every 10 s, also while they have no call open.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Server:
    """The API on one socket. ``start`` and ``stop`` once each."""

    def __init__(self, controller: Controller, listen: str) -> None:
        """``listen``: ``unix:///PATH``; raises ``InvalidError``."""
        self.path = sockets.parse_listen(listen)
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=(ErrorInterceptor(),), options=_OPTIONS, maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS
        )
        for add, service in _SERVICERS:
            add(service(controller), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self, *, serving: bool = True) -> None:
        """Bind the socket (mode 0660) and answer; raises ``UnavailableError`` when the path can't be had."""
        await self.set_serving(serving)
        sockets.prepare(self.path)
        try:
            with sockets.socket_umask():
                self._server.add_insecure_port(f"unix://{self.path}")
        except RuntimeError as error:
            raise UnavailableError(f"can't listen on {self.path}: {error}") from error
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """What health says from now on, of the whole ("") and of each service."""
        state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in (health.OVERALL_HEALTH, *SERVICES):
            await self._health.set(service, state)

    async def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """Say NOT_SERVING, let running calls finish for ``grace_seconds``, release and remove the socket."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)


async def serve(controller: Controller, listen: str) -> Server:
    """A started server; raises ``InvalidError`` or ``UnavailableError``."""
    server = Server(controller, listen)
    await server.start()
    return server
