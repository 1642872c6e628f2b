# SPDX-License-Identifier: Apache-2.0
"""Who is at the other end of a connection: the kernel's word on a unix socket, a certificate over TLS."""

from __future__ import annotations

import pwd
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lb.api.roles import ROLE_URI, Role, granted_role

MAX_NAME = 64
"""Of a name out of a certificate, in characters; X.509 allows a common name no more."""

Certificate = dict[str, Any]
"""As ``ssl.SSLObject.getpeercert`` returns it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """``who`` and ``origin`` as the history has them (``lb.core.audit.Caller``); ``role`` None: no rights at all."""

    who: str
    origin: str
    role: Role | None


def user_name(uid: int) -> str:
    """ "" for a user without one. Blocks, perhaps for long: names may come from the network."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def of_process(pid: int, uid: int, name: str) -> Identity:
    """Of a process that may open the unix socket, which makes it an admin; ``pid`` 0: of another PID namespace."""
    who = f"{name} (uid {uid})" if name else f"uid {uid}"
    return Identity(who, f"unix, pid {pid}" if pid else "unix", Role.ADMIN)


def of_certificate(certificate: Certificate, address: str) -> Identity:
    """Of a client whose certificate was verified; ``address``: where it connects from, "192.0.2.7:53142"."""
    alternatives: tuple[tuple[str, str], ...] = certificate.get("subjectAltName", ())
    return Identity(
        _holder(certificate, alternatives),
        address,
        granted_role(value for kind, value in alternatives if kind == "URI"),
    )


def valid_until(certificate: Certificate) -> float:
    """Seconds since the epoch."""
    return ssl.cert_time_to_seconds(certificate["notAfter"])


def _holder(certificate: Certificate, alternatives: Iterable[tuple[str, str]]) -> str:
    """A name for people: the common name, else an alternative name, else the serial number."""
    names = [
        *(("CN", value) for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"),
        *(("SAN", value) for _kind, value in alternatives if not value.startswith(ROLE_URI)),
        ("serial number", certificate["serialNumber"]),
    ]
    source, name = next((source, name) for source, name in names if name)
    return f"{_printable(name)} (cert {source})"


def _printable(name: str) -> str:
    """One line without control characters: it goes to logs and terminals."""
    shown = "".join(char if char.isprintable() else "?" for char in name)
    return shown if len(shown) <= MAX_NAME else shown[: MAX_NAME - 3] + "..."
