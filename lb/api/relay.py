# SPDX-License-Identifier: Apache-2.0
"""Between clients and gRPC: passes bytes, and knows whose they are.

gRPC tells a servicer neither the credentials of a process behind a unix socket nor why a TLS handshake failed, and it
tells clients of failed handshakes nothing at all. So it listens on a private unix socket only, which nobody but the
relay can reach. For each client the relay connects to it from a socket with an abstract name that nobody can guess;
gRPC shows that name to servicers as the peer, and ``identity`` looks it up.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress

from lb.api.budget import Budget
from lb.api.identity import Identity
from lb.api.sides import Client, Upstream

MAX_CONNECTIONS = 256
"""Of a relay; each takes three file descriptors, gRPC's included."""

MAX_CONNECTIONS_PER_PEER = 64
"""Of one user of the unix socket, or from one address."""

FLUSH_SECONDS = 1.0
"""How long a relay that closes waits until clients have taken their last answers."""

LOG_LINES_PER_MINUTE = 20

log = logging.getLogger(__name__)


class Relay:
    """The connections of one listener. ``start``, ``refuse_new`` and ``stop`` once each, in this order."""

    def __init__(self, private: str) -> None:
        """``private``: path of the unix socket that gRPC listens on."""
        self._log_budget = Budget(LOG_LINES_PER_MINUTE)
        self._private = private
        self._clients: set[Client] = set()
        self._joining: set[asyncio.Task[None]] = set()
        self._identities: dict[str, Identity] = {}
        self._server: asyncio.Server | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    async def start(self, listener: socket.socket, make_client: Callable[[Relay], Client]) -> None:
        """Accept connections of a socket that listens; it is closed by ``refuse_new``."""
        # Serves sockets of any family that are bound already.
        self._server = await asyncio.get_running_loop().create_server(lambda: make_client(self), sock=listener)

    def identity(self, peer: str) -> Identity | None:
        """Who is behind a peer, as gRPC names it; None when the connection is closed by now."""
        return self._identities.get(peer)

    def refuse_new(self) -> None:
        """Stop listening; the connections there are stay."""
        if self._server is not None:
            self._server.close()

    async def stop(self) -> None:
        """End all connections. gRPC has closed its side of them: what it sent goes out first."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), FLUSH_SECONDS)
        for client in self._clients:
            client.transport.abort()
        await self._empty.wait()
        await asyncio.gather(*self._joining)

    def enter(self, client: Client) -> bool:
        """Count a new connection; False when there are too many."""
        of_peer = sum(other.peer == client.peer for other in self._clients)
        if of_peer >= MAX_CONNECTIONS_PER_PEER or len(self._clients) >= MAX_CONNECTIONS:
            self.warn(f"refused a connection of {client.peer}, which has {of_peer} of {len(self._clients)}")
            return False
        self._clients.add(client)
        self._empty.clear()
        return True

    def leave(self, client: Client) -> None:
        """A connection has ended, or was never counted."""
        self._clients.discard(client)
        if not self._clients:
            self._empty.set()

    def join(self, client: Client) -> None:
        """Connect a client to gRPC."""
        task = asyncio.get_running_loop().create_task(self._join(client))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    def warn(self, message: str) -> None:
        """Log something that strangers can bring about."""
        remark = self._log_budget.take()
        if remark is not None:
            log.warning("%s%s", message, remark)

    async def _join(self, client: Client) -> None:
        try:
            upstream = await self._connect(client, await client.identify())
        except OSError as error:
            self.warn(f"can't pass a connection of {client.peer} on to gRPC: {error.strerror}")
            client.transport.abort()
            return
        if client.transport.is_closing():
            upstream.transport.close()
        else:
            client.joined(upstream)

    async def _connect(self, client: Client, identity: Identity) -> Upstream:
        """gRPC's side for a client, under a name of its own."""
        name = f"lb-{secrets.token_hex(16)}"
        peer = f"unix-abstract:{name}"
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            ours.bind(f"\0{name}")
            # A unix socket is connected at once or not at all (EAGAIN: gRPC's backlog is full).
            ours.connect(self._private)
        except OSError:
            ours.close()
            raise
        self._identities[peer] = identity
        _, upstream = await asyncio.get_running_loop().create_unix_connection(
            lambda: Upstream(client, lambda: self._forget(peer)), sock=ours
        )
        return upstream

    def _forget(self, peer: str) -> None:
        self._identities.pop(peer)
