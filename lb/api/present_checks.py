# SPDX-License-Identifier: Apache-2.0
"""A health check as ``lb.v1.HealthCheck``, what the operator set of it; ``lb.api.convert_checks`` is the way back."""

from __future__ import annotations

from lb.core.checks import CheckKind, HealthCheck
from lb.core.validate_checks import payload_text
from lb.v1 import pool_pb2


def plain_check(check: HealthCheck) -> pool_pb2.HealthCheck:
    """A health check with every field that its kind has."""
    message = pool_pb2.HealthCheck(
        kind=check.kind.name,
        via=check.via.name if check.via else None,
        port=check.port,
        interval_ms=check.interval_ms,
        timeout_ms=check.timeout_ms,
        rise=check.rise,
        fall=check.fall,
        jitter_percent=check.jitter_percent,
    )
    match check.kind:
        case CheckKind.HTTP | CheckKind.HTTPS:
            message.http.CopyFrom(_http(check))
        case CheckKind.UDP:
            message.udp.CopyFrom(pool_pb2.UdpCheck(send=payload_text(check.send), expect=payload_text(check.expect)))
        case CheckKind.GRPC:
            message.grpc.CopyFrom(pool_pb2.GrpcCheck(service=check.grpc_service))
    return message


def _http(check: HealthCheck) -> pool_pb2.HttpCheck:
    return pool_pb2.HttpCheck(
        method=check.method,
        path=check.path,
        host=check.host,
        expected_status=check.expected_status,
        expected_body=check.expected_body,
        insecure_skip_verify=not check.verify_tls,
        server_name=check.server_name,
        ca_file=check.ca_file,
    )
