# SPDX-License-Identifier: Apache-2.0
"""The API's server: all services, health and reflection, on a unix socket and, if wanted, over mutual TLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lb.api import listen as sockets
from lb.api.backends import BackendService
from lb.api.config import ConfigService
from lb.api.endpoint import Endpoint
from lb.api.pools import PoolService
from lb.api.stats import StatsService
from lb.api.system import SystemService
from lb.api.tls import Certificates, TlsSettings
from lb.api.tls import bind as bind_tls
from lb.api.tls_client import TlsClient
from lb.api.unix_client import UnixClient
from lb.api.vips import VipService
from lb.api.watch import EventService
from lb.core.errors import LbError
from lb.ports import Controller
from lb.v1 import (
    backend_pb2,
    backend_pb2_grpc,
    config_pb2,
    config_pb2_grpc,
    events_pb2,
    events_pb2_grpc,
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
    for module in (vip_pb2, pool_pb2, backend_pb2, stats_pb2, system_pb2, config_pb2, events_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)
STOP_GRACE_SECONDS = 2.0

_SERVICERS: tuple[tuple[Callable[[Any, grpc.aio.Server], None], Callable[[Controller], object]], ...] = (
    (vip_pb2_grpc.add_VipServiceServicer_to_server, VipService),
    (pool_pb2_grpc.add_PoolServiceServicer_to_server, PoolService),
    (backend_pb2_grpc.add_BackendServiceServicer_to_server, BackendService),
    (stats_pb2_grpc.add_StatsServiceServicer_to_server, StatsService),
    (system_pb2_grpc.add_SystemServiceServicer_to_server, SystemService),
    (config_pb2_grpc.add_ConfigServiceServicer_to_server, ConfigService),
)


class Server:
    """The API on all its listeners. ``start`` once; ``stop`` is idempotent."""

    def __init__(self, controller: Controller, listen: str, tls: TlsSettings | None = None) -> None:
        """``listen``: ``unix:///PATH``; ``tls``: a second listener. Raises ``InvalidError``."""
        self.path = sockets.parse_listen(listen)
        self.tls_port = 0
        """Of the TLS listener, once started: what the system chose for port 0."""

        self._certificates = Certificates(tls) if tls is not None else None
        self._controller = controller
        self._health = health.aio.HealthServicer()
        self._events = EventService(controller)
        self._services: list[tuple[Callable[[Any, grpc.aio.Server], None], object]] = [
            *((add, service(controller)) for add, service in _SERVICERS),
            (events_pb2_grpc.add_EventServiceServicer_to_server, self._events),
            (health_pb2_grpc.add_HealthServicer_to_server, self._health),
        ]
        self._bound = False
        self._folder: sockets.PrivateFolder | None = None
        self._endpoints: list[Endpoint] = []

    async def start(self, *, serving: bool = True) -> None:
        """Bind the sockets and answer; raises ``UnavailableError`` when one can't be had."""
        await self.set_serving(serving)
        try:
            await self._open()
        except LbError:
            await self.stop(0)
            raise

    async def set_serving(self, serving: bool) -> None:
        """What health says from now on, of the whole ("") and of each service."""
        state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in (health.OVERALL_HEALTH, *SERVICES):
            await self._health.set(service, state)

    async def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """Say NOT_SERVING, let running calls finish for ``grace_seconds``, release and remove the sockets."""
        await self._health.enter_graceful_shutdown()
        self._events.stop()
        if self._bound:
            # While it listens nobody takes it for left behind, and it is still ours.
            self.path.unlink(missing_ok=True)
            self._bound = False
        endpoints, self._endpoints = self._endpoints, []
        await asyncio.gather(*(endpoint.stop(grace_seconds) for endpoint in endpoints))
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    async def _open(self) -> None:
        sockets.claim(self.path)
        self._folder = sockets.PrivateFolder(self.path)
        if self._certificates is not None:
            certificates = self._certificates
            await self._endpoint("tls").start(
                lambda: self._bind_tls(certificates.settings), lambda relay: TlsClient(relay, certificates.context())
            )
        await self._endpoint("unix").start(self._bind_unix, UnixClient)

    def _endpoint(self, name: str) -> Endpoint:
        assert self._folder is not None
        endpoint = Endpoint(self._folder.path(name), self._add_services, self._controller.denied)
        self._endpoints.append(endpoint)
        return endpoint

    def _bind_unix(self) -> socket.socket:
        bound = sockets.bind(self.path)
        self._bound = True
        return bound

    def _bind_tls(self, settings: TlsSettings) -> socket.socket:
        bound = bind_tls(settings)
        self.tls_port = bound.getsockname()[1]
        return bound

    def _add_services(self, server: grpc.aio.Server) -> None:
        for add, service in self._services:
            add(service, server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)


async def serve(controller: Controller, listen: str, tls: TlsSettings | None = None) -> Server:
    """A started server; raises ``InvalidError`` or ``UnavailableError``."""
    server = Server(controller, listen, tls)
    await server.start()
    return server
