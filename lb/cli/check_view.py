# SPDX-License-Identifier: Apache-2.0
"""A health check in one line."""

from __future__ import annotations

from lb.cli.durations import milliseconds_text
from lb.cli.views import enum_name
from lb.v1.pool_pb2 import HealthCheck, HttpCheck


def check_text(check: HealthCheck) -> str:
    """ "http GET /, expects 200-399; via tunnel, port 80; every 5s (+-10%), timeout 2s; up after 2, down after 3"."""
    way = f"via {enum_name(HealthCheck.Via, check.via)}" if check.via else "via tunnel where there is a VIP"
    port = (
        f", port {check.port}"
        if check.port
        else ""
        if check.kind == HealthCheck.ICMP
        else ", port of the pool's first VIP"
    )
    pace = f"every {milliseconds_text(check.interval_ms)} (+-{check.jitter_percent}%)"
    limit = f"timeout {milliseconds_text(check.timeout_ms)}"
    return f"{_what(check)}; {way}{port}; {pace}, {limit}; up after {check.rise}, down after {check.fall}"


def _what(check: HealthCheck) -> str:
    kind = enum_name(HealthCheck.Kind, check.kind)
    match check.kind:
        case HealthCheck.HTTP | HealthCheck.HTTPS:
            return f"{kind} {_http(check.http)}"
        case HealthCheck.UDP:
            answer = f"an answer that begins with {check.udp.expect!r}" if check.udp.expect else "any answer"
            return f"{kind} sends {check.udp.send!r}, expects {answer}"
        case HealthCheck.GRPC:
            return f"{kind} {check.grpc.service or 'whole server'}"
    return kind


def _http(http: HttpCheck) -> str:
    body = f" and {http.expected_body!r} in the body" if http.expected_body else ""
    extras = (
        f", host {http.host}" if http.host else "",
        f", server name {http.server_name}" if http.server_name else "",
        f", CAs of {http.ca_file}" if http.ca_file else "",
        ", any certificate" if http.insecure_skip_verify else "",
    )
    return f"{http.method} {http.path}, expects {http.expected_status}{body}{''.join(extras)}"
