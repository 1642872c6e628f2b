# SPDX-License-Identifier: Apache-2.0
"""TLS to lbd: our files, and what went wrong when lbd and we do not come to terms.

gRPC says of a handshake that failed no more than "unavailable". So ``explain`` makes one more, with Python's TLS.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lb.cli.exits import Exit, Failure

if TYPE_CHECKING:
    from ssl import SSLCertVerificationError, SSLContext, SSLError

PROBE_SECONDS = 3.0
_HOST_AND_PORT = re.compile(r"(?:[a-z0-9]+:(?://[^/]*/)?)?(\[[^\]]+\]|[^:/\[\]]+):(\d+)")
"""Of a target as gRPC takes it: ``lb1.example:8443``, ``dns:///lb1.example:8443``, ``ipv6:[::1]:8443``."""

_ALERTS = {
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "certificate has expired",
    "TLSV1_ALERT_UNKNOWN_CA": "it is not signed by the CA that lbd trusts (its --tls-ca)",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it is not meant for clients (extended key usage)",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it is broken, or not valid yet: compare the clocks",
}
"""What lbd says of our certificate, by OpenSSL's name of the alert."""


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """The global options; PEM files, None where not given. ``server_name``: in lbd's certificate, if not the host."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    def files(self) -> tuple[Path, Path, Path]:
        """CA, certificate and key; raises ``Failure`` when one is missing."""
        named = (("--tls-ca", self.ca), ("--tls-cert", self.cert), ("--tls-key", self.key))
        missing = ", ".join(option for option, path in named if path is None)
        if self.ca is None or self.cert is None or self.key is None:
            raise Failure(
                Exit.USAGE,
                f"a TCP target needs {missing} (or LB_TLS_CA, LB_TLS_CERT, LB_TLS_KEY): lbd speaks only TLS on TCP, "
                "and asks for a certificate",
            )
        return self.ca, self.cert, self.key

    def context(self) -> SSLContext:
        """A client's context of these files; raises ``Failure`` when they can't be used."""
        import ssl

        from lb.api import tls_files
        from lb.core.errors import InvalidError

        ca, cert, key = self.files()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["h2"])
        try:
            tls_files.load(context, cert, key, ca)
        except InvalidError as error:
            raise Failure(Exit.USAGE, error.message) from error
        return context


def explain(address: str, options: TlsOptions) -> Failure | None:
    """Try a handshake: what is wrong with it, or None when nothing is or nobody is there."""
    import ssl

    match = _HOST_AND_PORT.fullmatch(address)
    if match is None:
        return None
    host, port = match[1].strip("[]"), int(match[2])
    context = options.context()
    try:
        with (
            socket.create_connection((host, port), PROBE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=options.server_name or host) as channel,
        ):
            # In TLS 1.3 the server judges our certificate after our part of the handshake.
            channel.recv(1)
    except ssl.SSLCertVerificationError as error:
        return _distrust(address, error)
    except ssl.SSLError as error:
        return _refusal(address, error)
    except OSError:
        return None
    return None


def _distrust(address: str, error: SSLCertVerificationError) -> Failure:
    """We do not believe that this is lbd."""
    words = error.verify_message.rstrip(".")
    if "match" in words:
        remedy = "give the name that is in it with --tls-server-name"
    elif "expired" in words or "not yet valid" in words:
        remedy = "renew it, or compare the clocks"
    else:
        remedy = "--tls-ca must be the CA that signed it"
    return Failure(Exit.UNAVAILABLE, f"the certificate of lbd on {address} was refused: {words}: {remedy}")


def _refusal(address: str, error: SSLError) -> Failure:
    """lbd does not believe us, or does not understand us."""
    if error.reason in _ALERTS:
        return Failure(Exit.DENIED, f"lbd on {address} refused our certificate: {_ALERTS[error.reason]}")
    if error.reason == "WRONG_VERSION_NUMBER":
        return Failure(Exit.UNAVAILABLE, f"what listens on {address} does not speak TLS: is it lbd --listen-tls?")
    words = (error.reason or str(error)).replace("_", " ").lower()
    return Failure(Exit.UNAVAILABLE, f"no TLS connection to {address}: {words}: lbd's log may say why")
