# SPDX-License-Identifier: Apache-2.0
"""The two ends of a connection that the relay passes on: the client, and gRPC."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from lb.api.identity import Identity

if TYPE_CHECKING:
    from lb.api.relay import Relay


class Side(asyncio.Protocol):
    """One of the two sockets of a connection: what arrives here leaves by ``other``."""

    transport: asyncio.Transport
    other: Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, data: bytes) -> None:
        """Pass on what arrived at the other side."""
        self.transport.write(data)

    def close(self) -> None:
        """Send what is left, then close."""
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        self.other.send(data)

    def pause_writing(self) -> None:
        """This socket is slower than the other one: the other one has to wait."""
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        if self.other is not None:
            self.other.close()


class Client(Side, ABC):
    """The client's side. It counts from the start, and gets its other side once it is known who it is."""

    peer = ""
    """Whose connections are counted together."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay

    @abstractmethod
    def meet(self) -> str:
        """Note what can be seen at once of who it is; returns ``peer``."""

    @abstractmethod
    def begin(self) -> None:
        """Find out the rest, then call ``relay.join``."""

    @abstractmethod
    async def identify(self) -> Identity:
        """Who it is; called by ``relay.join``."""

    def joined(self, upstream: Side) -> None:
        """gRPC is connected: let the bytes flow."""
        self.other = upstream
        self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = self.meet()
        if self.relay.enter(self):
            self.begin()
        else:
            self.transport.abort()

    def eof_received(self) -> bool:
        """The client will say no more: pass that on, and wait for the rest of the answers."""
        if self.other is None:
            return False
        self.other.transport.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.relay.leave(self)
        super().connection_lost(error)


class Upstream(Side):
    """gRPC's side. When gRPC ends a connection, it is over: there are no half-closed servers in HTTP/2."""

    def __init__(self, client: Client, forget: Callable[[], None]) -> None:
        self.other = client
        self._forget = forget

    def connection_lost(self, error: Exception | None) -> None:
        self._forget()
        super().connection_lost(error)
