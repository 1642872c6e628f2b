# SPDX-License-Identifier: Apache-2.0
"""Settings of the TLS listener, and its certificates: read again when the files change."""

from __future__ import annotations

import logging
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from lb.api import tls_files
from lb.core.errors import InvalidError, UnavailableError

MAX_PORT = 65_535
log = logging.getLogger(__name__)

Signature = tuple[tuple[int, int, int], ...]
"""Of the three files: inode, size in bytes, time of change in ns."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """``--listen-tls`` and its files, PEM: ``cert`` may be followed by intermediates, ``ca`` may hold several."""

    listen: str
    cert: Path
    key: Path
    ca: Path

    def check(self) -> None:
        """Whether all of it can be used, as far as that can be said without listening; raises ``InvalidError``."""
        self.address()
        self.context()

    def address(self) -> tuple[str, int]:
        """Host and port of ``listen``; raises ``InvalidError``."""
        host, _, port = self.listen.rpartition(":")
        try:
            bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
            address = ip_address(bare)
            if (address.version == 6) != (bare != host):
                raise ValueError(host)
            number = int(port) if port.isascii() and port.isdecimal() else -1
        except ValueError:
            number = -1
        if not 0 <= number <= MAX_PORT:
            raise tls_files.invalid(
                "--listen-tls",
                f"{self.listen!r}: write ADDRESS:PORT, an IP address of this machine such as 0.0.0.0:8443 or [::]:8443",
            )
        return str(address), number

    def context(self) -> ssl.SSLContext:
        """Read the files; raises ``InvalidError``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # A resumed session would be one whose certificate is not looked at again.
        context.num_tickets = 0
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["h2"])
        tls_files.load(context, self.cert, self.key, self.ca)
        return context


class Certificates:
    """The files of a TLS listener as they are now. Files that are broken do not count."""

    def __init__(self, settings: TlsSettings) -> None:
        """Raises ``InvalidError``."""
        self.settings = settings
        self._signature = self._sign()
        self._context = settings.context()

    def context(self) -> ssl.SSLContext:
        """For the next connection. Looks at the files' times, and reads them when those have changed."""
        signature = self._sign()
        if signature != self._signature:
            # First the signature: what changes while we read is read again next time.
            self._signature = signature
            try:
                self._context = self.settings.context()
                log.info("the TLS files were read again")
            except (InvalidError, OSError) as error:
                log.error("the TLS files changed but can't be used, the former ones stay: %s", error)
        return self._context

    def _sign(self) -> Signature:
        return tuple(_stamp(path) for path in (self.settings.cert, self.settings.key, self.settings.ca))


def bind(settings: TlsSettings) -> socket.socket:
    """A bound TCP socket. Raises ``InvalidError``, ``UnavailableError``."""
    host, port = settings.address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    every_address = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, dualstack_ipv6=every_address)
    except OSError as error:
        raise UnavailableError(
            f"can't listen on {settings.listen}: {error.strerror}; give another --listen-tls"
        ) from error


def _stamp(path: Path) -> tuple[int, int, int]:
    """Zeros for a file that is not there."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
