# SPDX-License-Identifier: Apache-2.0
"""A client of the unix socket: the kernel says which process it is."""

from __future__ import annotations

import asyncio
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

from lb.api import identity
from lb.api.sides import Client, Side

_CREDENTIALS = struct.Struct("=iII")
"""``struct ucred``: pid, uid, gid."""

LOOKUP_SECONDS = 1.0
"""For a user's name; after that the number must do."""

_LOOKUPS = ThreadPoolExecutor(1, "user-names")
"""Of its own: a directory service that hangs must not take the threads that other work needs."""


class UnixClient(Client):
    """Who may open the socket is an admin; its mode and group decide who may."""

    _pid = 0
    _uid = 0
    _early = b""
    """What arrived before gRPC was connected. Pausing in ``connection_made`` has no effect in Python 3.11."""

    def meet(self) -> str:
        ours: socket.socket = self.transport.get_extra_info("socket")
        raw = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self._pid, self._uid, _gid = _CREDENTIALS.unpack(raw)
        return f"uid {self._uid}"

    def begin(self) -> None:
        self.relay.join(self)

    async def identify(self) -> identity.Identity:
        lookup = asyncio.get_running_loop().run_in_executor(_LOOKUPS, identity.user_name, self._uid)
        try:
            name = await asyncio.wait_for(lookup, LOOKUP_SECONDS)
        except TimeoutError:
            name = ""
        return identity.of_process(self._pid, self._uid, name)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early += data
            self.transport.pause_reading()
        else:
            self.other.send(data)

    def joined(self, upstream: Side) -> None:
        upstream.send(self._early)
        super().joined(upstream)
