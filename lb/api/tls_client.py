# SPDX-License-Identifier: Apache-2.0
"""A client of the TLS listener: its certificate says who it is.

The handshake is done on memory buffers, because asyncio's own TLS closes a connection whose handshake failed without
the alert that tells the client why.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from ipaddress import IPv6Address, ip_address

from lb.api.identity import Certificate, Identity, of_certificate, valid_until
from lb.api.relay import Relay
from lb.api.sides import Client, Side

HANDSHAKE_SECONDS = 10.0
"""A client that takes longer is cut off."""

READ_BYTES = 65_536


class TlsClient(Client):
    """Decrypts what the client sends and encrypts what gRPC answers."""

    def __init__(self, relay: Relay, context: ssl.SSLContext) -> None:
        super().__init__(relay)
        self._received = ssl.MemoryBIO()
        self._to_send = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_side=True)
        self._address = ""
        self._certificate: Certificate = {}
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None

    def meet(self) -> str:
        host, port = self.transport.get_extra_info("peername")[:2]
        host = _canonical(host)
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return host

    def begin(self) -> None:
        self._cut_off_after(HANDSHAKE_SECONDS)

    async def identify(self) -> Identity:
        return of_certificate(self._certificate, self._address)

    def joined(self, upstream: Side) -> None:
        # A certificate that expires takes its connections with it.
        self._cut_off_after(valid_until(self._certificate) - time.time())
        super().joined(upstream)
        # The first request may have come with the last message of the handshake.
        self._advance()

    def data_received(self, data: bytes) -> None:
        # Who was refused is only waited for: closing on unread data would destroy the alert on its way.
        if not self._refused:
            self._received.write(data)
            self._advance()

    def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        self._flush()

    def close(self) -> None:
        # Our goodbye is written at once; the client's, which unwrap misses, does not matter.
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()
        super().close()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(error)

    def _advance(self) -> None:
        """Do what the bytes that are there allow."""
        try:
            if self.other is None:
                self._shake_hands()
            else:
                while data := self._tls.read(READ_BYTES):
                    self.other.send(data)
                # Nothing: the client said goodbye. It still gets the rest of the answers.
                self.eof_received()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._refuse(error)
        self._flush()

    def _shake_hands(self) -> None:
        self._tls.do_handshake()
        self._certificate = self._tls.getpeercert() or {}
        self.transport.pause_reading()
        self.relay.join(self)

    def _refuse(self, error: ssl.SSLError) -> None:
        self._refused = True
        self.relay.warn(f"TLS connection from {self._address} refused: {_reason(error)}")
        self._flush()
        if self.other is None:
            self.transport.write_eof()
        else:
            self.other.close()

    def _flush(self) -> None:
        """Send what OpenSSL has written: not only answers, but messages of its own."""
        if self._to_send.pending:
            self.transport.write(self._to_send.read())

    def _cut_off_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(seconds, 0), self.transport.abort)


def _canonical(host: str) -> str:
    """An IPv4 client of a dual-stack socket has an IPv4 address."""
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _reason(error: ssl.SSLError) -> str:
    """In words: what OpenSSL says of the certificate, or of the connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or str(error)).replace("_", " ").lower()
