# SPDX-License-Identifier: Apache-2.0
"""TLS contexts of HTTPS checks, and what a handshake that failed means."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from lb.core.checks import Target
from lb.probe.failures import Failed
from lb.probe.http import host_name

CANNOT_VERIFY = "cannot verify the certificate"
"""How an error begins that is the balancer's own fault, not the backend's."""

_SYSTEM_CA_FILE = ssl.get_default_verify_paths().cafile

Stamp = tuple[int, int, int]
"""Of a file: changes when the file does."""


def server_name(target: Target) -> str:
    """SNI, and whom the certificate must be for; an address is compared only. Raises ``Failed`` for no such name."""
    name = target.check.server_name or host_name(target.check) or str(target.address)
    try:
        name.encode("idna")
    except UnicodeError as error:
        raise _unnameable(name) from error
    return name


def context(target: Target) -> ssl.SSLContext:
    """As the check wants it; CA files are read again when they change. Raises ``Failed`` for an unusable one."""
    check = target.check
    if not check.verify_tls:
        return _unverified()
    try:
        path = check.ca_file or _SYSTEM_CA_FILE
        return _verified(check.ca_file, _stamp(path) if path else None)
    except (OSError, ssl.SSLError) as error:
        raise Failed(f"{CANNOT_VERIFY}: ca_file {check.ca_file}: {error.strerror}: put the CA there, as PEM") from error


def judge(error: ssl.SSLError | ValueError, target: Target) -> Failed:
    """What an error of a handshake means, or of the TLS stream after it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "is ca_file the CA that signed it?" if target.check.ca_file else "set ca_file, or server_name"
        return Failed(f"certificate verify failed: {error.verify_message.rstrip('.')}: {remedy}")
    if isinstance(error, ssl.SSLEOFError):
        return Failed("TLS failed: the connection was closed: does the port speak TLS?")
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        hint = ": does the port speak TLS?" if "version number" in reason or "record" in reason else ""
        return Failed(f"TLS failed: {reason}{hint}")
    return _unnameable(server_name(target))


def _unnameable(name: str) -> Failed:
    return Failed(f"TLS failed: {name!r} cannot be in a certificate: set server_name")


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    made = _bare()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


@lru_cache(maxsize=64)
def _verified(ca_file: str, stamp: Stamp | None) -> ssl.SSLContext:  # noqa: ARG001 - the stamp is for the cache
    made = _bare()
    if ca_file:
        made.load_verify_locations(ca_file)
    else:
        made.load_default_certs()
    return made


def _bare() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    return made


def _stamp(path: str) -> Stamp:
    stat = Path(path).stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
