# SPDX-License-Identifier: Apache-2.0
"""The options of `lbctl pool` that make a health check; named as the API's fields are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from lb.cli import verbs
from lb.cli.durations import milliseconds
from lb.cli.numbers import check_port_number, whole_number

if TYPE_CHECKING:
    from lb.v1.pool_pb2 import HealthCheck

NONE = "NONE"
"""Kind that removes the check."""

_TLS = ("insecure_skip_verify", "server_name", "ca_file")
_PARTS = {
    "http": ("method", "path", "host", "expected_status", "expected_body", *_TLS),
    "udp": ("send", "expect"),
    "grpc": ("service",),
}
"""Fields that are inside a message of their own."""

_KINDS = {"http": ("HTTP", "HTTPS"), "udp": ("UDP",), "grpc": ("GRPC",)}


def _option(name: str, field: str, description: str, metavar: str = "TEXT", **more: Any) -> Callable[..., Any]:
    return click.option(name, field, metavar=metavar, help=description, **more)


OPTIONS = (
    click.option(
        "--health-check",
        "kind",
        type=click.Choice(["tcp", "http", "https", "udp", "grpc", "icmp", "none"], case_sensitive=False),
        callback=verbs.enum_value,
        help="Ask each member this; those that fail get no new flows. none: every member counts as up.",
    ),
    click.option(
        "--health-via",
        "via",
        type=click.Choice(["tunnel", "direct"], case_sensitive=False),
        callback=verbs.enum_value,
        help="tunnel: to the VIP, wrapped as a client's packet is; unless set, where a VIP uses the pool. "
        "direct: to the backend's own address.",
    ),
    _option(
        "--health-port",
        "port",
        "Port to probe; unless set, that of the pool's first VIP by name, of the check's protocol if there is one.",
        "PORT",
        type=check_port_number,
    ),
    _option("--health-interval", "interval_ms", "Between two probes; 5s unless set.", "TIME", type=milliseconds),
    _option(
        "--health-timeout",
        "timeout_ms",
        "Of one probe, not above the interval; 2s unless set.",
        "TIME",
        type=milliseconds,
    ),
    _option("--health-rise", "rise", "Successes in a row that make it up; 2 unless set.", "N", type=whole_number),
    _option("--health-fall", "fall", "Failures in a row that make it down; 3 unless set.", "N", type=whole_number),
    _option(
        "--health-jitter",
        "jitter_percent",
        "Intervals differ by up to this, so that probes spread; 10 unless set.",
        "PERCENT",
        type=whole_number,
    ),
    _option("--health-method", "method", "HTTP: method; GET unless set."),
    _option("--health-path", "path", "HTTP: path; / unless set.", "PATH"),
    _option("--health-host", "host", "HTTP: Host header; the address unless set.", "NAME"),
    _option("--health-status", "expected_status", "HTTP: codes that are fine; 200-399 unless set.", "CODES"),
    _option("--health-body", "expected_body", "HTTP: text that the answer must contain."),
    click.option(
        "--health-insecure/--no-health-insecure",
        "insecure_skip_verify",
        default=None,
        help="HTTPS: accept any certificate.",
    ),
    _option("--health-server-name", "server_name", "HTTPS: name that is asked for and verified; the host unless set."),
    _option("--health-ca-file", "ca_file", "HTTPS: PEM file on the balancer with the CAs to trust.", "PATH"),
    _option("--health-send", "send", "UDP: what to send, text or hex:0a0b; one zero byte unless set."),
    _option("--health-expect", "expect", "UDP: how the answer must begin; anything unless set."),
    _option("--health-service", "service", "gRPC: service to ask for; the whole server unless set."),
)
FIELDS = frozenset(
    {"kind", "via", "port", "interval_ms", "timeout_ms", "rise", "fall", "jitter_percent"}.union(*_PARTS.values())
)


def split(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A command's fields: those of the pool itself, and those of its check that were given."""
    own = {field: value for field, value in fields.items() if field not in FIELDS}
    return own, {field: value for field, value in fields.items() if field in FIELDS and value is not None}


def changed_check(current: HealthCheck, given: Mapping[str, Any]) -> HealthCheck:
    """``current`` with what was given; empty, which means no check, for "none".

    Another kind keeps what it has in common with the present one. Raises ``click.UsageError``.
    """
    from lb.v1.pool_pb2 import HealthCheck

    check = HealthCheck()
    kind = given.get("kind")
    if kind == NONE:
        if len(given) > 1:
            raise click.UsageError("--health-check none leaves nothing to set: give no other --health option with it")
        return check
    check.CopyFrom(current)
    if kind is not None:
        _turn_into(check, kind)
    if "via" in given:
        check.MergeFrom(HealthCheck(via=given["via"]))
    for field in given.keys() - {"kind", "via"}:
        part = next((getattr(check, part) for part, fields in _PARTS.items() if field in fields), check)
        try:
            setattr(part, field, given[field])
        except ValueError as error:
            # Text that is not UTF-8, for example.
            raise click.UsageError(f"cannot be sent to lbd: {error}") from error
    return check


def _turn_into(check: HealthCheck, kind: str) -> None:
    """Set the kind, and clear what it would not have."""
    check.MergeFrom(type(check)(kind=kind))
    for part, kinds in _KINDS.items():
        if kind not in kinds:
            check.ClearField(part)
    if kind == "HTTP" and check.HasField("http"):
        for field in _TLS:
            check.http.ClearField(field)
    if kind == "ICMP":
        check.ClearField("port")
