# SPDX-License-Identifier: Apache-2.0
"""One listener of the API: a relay, and behind it a gRPC server of its own.

Of its own, so that calls that come in by one listener cannot use up what the other one needs: root on the unix socket
is served whatever clients of the network do.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import grpc

from lb.api.access import AccessInterceptor
from lb.api.errors import ErrorInterceptor
from lb.api.relay import Relay
from lb.api.sides import Client
from lb.core.audit import Caller
from lb.core.errors import UnavailableError

MAX_CONCURRENT_CALLS = 256
"""Of a listener; one more is answered with RESOURCE_EXHAUSTED."""

MAX_CONCURRENT_STREAMS = 100
"""Calls on one connection; more wait at the client."""

MAX_REQUEST_BYTES = 16 * 1024 * 1024
"""A configuration at every limit, with the longest names and descriptions, takes 14 MiB."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_concurrent_streams", MAX_CONCURRENT_STREAMS),
    # A peer that is gone without a goodbye holds its connection for 80 s at most.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Clients may ping as often as every 10 s, also while they have no call open.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Endpoint:
    """``start`` and ``stop`` once each."""

    def __init__(
        self,
        private: str,
        add_services: Callable[[grpc.aio.Server], None],
        denied: Callable[[Caller, str], Awaitable[None]],
    ) -> None:
        """``private``: path for gRPC's socket, in a folder that is closed to others. Raises ``UnavailableError``."""
        self._relay = Relay(private)
        self._server = grpc.aio.server(
            interceptors=(AccessInterceptor(self._relay.identity, denied), ErrorInterceptor()),
            options=_OPTIONS,
            maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS,
        )
        add_services(self._server)
        try:
            self._server.add_insecure_port(f"unix://{private}")
        except RuntimeError as error:
            raise UnavailableError(f"gRPC can't listen in the private folder: {error}") from error

    async def start(self, bind: Callable[[], socket.socket], make_client: Callable[[Relay], Client]) -> None:
        """Serve the clients of a socket, which is bound when all is ready for them; ``stop`` closes it."""
        await self._server.start()
        await self._relay.start(bind(), make_client)

    async def stop(self, grace_seconds: float) -> None:
        """Let running calls finish for ``grace_seconds``, then end all connections."""
        self._relay.refuse_new()
        await self._server.stop(grace_seconds)
        await self._relay.stop()
