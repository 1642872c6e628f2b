# SPDX-License-Identifier: Apache-2.0
"""``lb.v1.HealthCheck`` to the model; ``lb.api.present_checks`` is the way back. Like ``lb.api.convert``."""

from __future__ import annotations

from google.protobuf.descriptor import EnumDescriptor

from lb.core import validate_checks as validate
from lb.core.checks import CheckKind, CheckVia, HealthCheck
from lb.core.validate import Found
from lb.v1 import pool_pb2

DEFAULTS = HealthCheck(CheckKind.TCP)
DEFAULT_PAYLOAD = b"\0"
"""A UDP check sends something: an empty datagram is lost on many servers."""

_KIND: EnumDescriptor = pool_pb2.HealthCheck.Kind.DESCRIPTOR
_VIA: EnumDescriptor = pool_pb2.HealthCheck.Via.DESCRIPTOR
_PARTS = {
    "http": (CheckKind.HTTP, CheckKind.HTTPS),
    "udp": (CheckKind.UDP,),
    "grpc": (CheckKind.GRPC,),
}
_TLS_FIELDS = ("insecure_skip_verify", "server_name", "ca_file")


def check_from_proto(found: Found, path: str, message: pool_pb2.HealthCheck) -> HealthCheck | None:
    """A health check; None when the message is empty, which says that there is none."""
    if not message.ListFields():
        return None
    kind = validate.parse_kind(found, f"{path}.kind", enum_name(_KIND, message.kind))
    if kind is not None:
        _check_parts(found, path, message, kind)
    via: CheckVia | None = None
    if message.via:
        via = validate.parse_via(found, f"{path}.via", enum_name(_VIA, message.via))
    interval_ms = _number(found, path, message, "interval_ms", validate.INTERVAL_MS, "milliseconds")
    # A short interval alone shall do: its probes then have as long as there is.
    timeout_ms = min(DEFAULTS.timeout_ms, max(interval_ms, validate.INTERVAL_MS[0]))
    if message.HasField("timeout_ms"):
        timeout_ms = validate.parse_timeout_ms(found, f"{path}.timeout_ms", message.timeout_ms, interval_ms)
    http, udp = message.http, message.udp
    return HealthCheck(
        kind=kind or DEFAULTS.kind,
        via=via,
        port=validate.parse_check_port(found, f"{path}.port", message.port, kind),
        interval_ms=interval_ms,
        timeout_ms=timeout_ms,
        rise=_number(found, path, message, "rise", validate.RISE, "successes in a row"),
        fall=_number(found, path, message, "fall", validate.FALL, "failures in a row"),
        jitter_percent=_number(found, path, message, "jitter_percent", validate.JITTER_PERCENT, "percent"),
        method=validate.parse_method(found, f"{path}.http.method", http.method or DEFAULTS.method),
        path=validate.parse_path(found, f"{path}.http.path", http.path or DEFAULTS.path),
        host=validate.parse_host(found, f"{path}.http.host", http.host),
        expected_status=validate.parse_expected_status(
            found, f"{path}.http.expected_status", http.expected_status or DEFAULTS.expected_status
        ),
        expected_body=validate.parse_length(found, f"{path}.http.expected_body", http.expected_body),
        verify_tls=not http.insecure_skip_verify,
        server_name=validate.parse_host(found, f"{path}.http.server_name", http.server_name),
        ca_file=validate.parse_ca_file(found, f"{path}.http.ca_file", http.ca_file),
        send=_payload(found, f"{path}.udp.send", udp.send, DEFAULT_PAYLOAD if kind is CheckKind.UDP else DEFAULTS.send),
        expect=_payload(found, f"{path}.udp.expect", udp.expect, DEFAULTS.expect),
        grpc_service=validate.parse_length(found, f"{path}.grpc.service", message.grpc.service),
    )


def enum_name(kind: EnumDescriptor, number: int) -> str:
    """Name of an enum value; "" for 0, the number's digits for one that this release does not know."""
    known = kind.values_by_number.get(number)
    return "" if not number else known.name if known else str(number)


def _check_parts(found: Found, path: str, message: pool_pb2.HealthCheck, kind: CheckKind) -> None:
    """Note what this kind of check would ignore."""
    for part, kinds in _PARTS.items():
        if message.HasField(part):
            validate.check_part(found, f"{path}.{part}", kind, kinds)
    if kind is CheckKind.HTTP:
        for field in _TLS_FIELDS:
            if getattr(message.http, field):
                validate.check_part(found, f"{path}.http.{field}", kind, (CheckKind.HTTPS,))


def _number(found: Found, path: str, message: pool_pb2.HealthCheck, field: str, allowed: range, what: str) -> int:
    """A field with presence, or its default."""
    if not message.HasField(field):
        default: int = getattr(DEFAULTS, field)
        return default
    return validate.parse_number(found, f"{path}.{field}", getattr(message, field), allowed, what)


def _payload(found: Found, path: str, text: str, default: bytes) -> bytes:
    return validate.parse_payload(found, path, text) if text else default
