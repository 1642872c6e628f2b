# SPDX-License-Identifier: Apache-2.0
"""The three PEM files that each end of a TLS connection has, and what can be wrong with them."""

from __future__ import annotations

import ssl
from pathlib import Path

from lb.core.errors import InvalidError, Violation


def load(context: ssl.SSLContext, cert: Path, key: Path, ca: Path) -> None:
    """Give a context its certificate and the CAs that it trusts.

    Args:
        context: A client's or a server's.
        cert: Our certificate; intermediates may follow it.
        key: Its private key, not encrypted.
        ca: One certificate or several.

    Raises:
        InvalidError: Missing, unreadable, not PEM, a key of another certificate. Names the option at fault.
    """

    def password() -> str:
        raise invalid("--tls-key", f"{key}: is encrypted: decrypt it, nobody is there to type a password")

    for option, path in (("--tls-cert", cert), ("--tls-key", key), ("--tls-ca", ca)):
        try:
            path.read_bytes()
        except OSError as error:
            raise invalid(option, f"{path}: {error.strerror}: give a PEM file") from error
    try:
        context.load_cert_chain(cert, key, password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise invalid("--tls-key", f"{key}: is not the key of {cert}") from error
        words = f"{cert} and {key}: are not a certificate and its private key in PEM form"
        raise invalid("--tls-cert", words) from error
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise invalid("--tls-ca", f"{ca}: holds no certificate in PEM form") from error


def invalid(option: str, message: str) -> InvalidError:
    """A mistake on a command line."""
    return InvalidError([Violation(option, message)])
