# SPDX-License-Identifier: Apache-2.0
"""Validation of health checks: what is refused, and that the message says what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core import validate_checks as validate
from lb.core.checks import CheckKind, CheckVia
from lb.core.model import OnDown
from lb.core.validate import Found


def complaints(parse: Callable[..., object], *raw: object) -> list[str]:
    found: Found = []
    parse(found, "field", *raw)
    assert all(violation.field == "field" for violation in found)
    return [violation.message for violation in found]


TEXT_PARSERS = (
    validate.parse_kind,
    validate.parse_via,
    validate.parse_on_down,
    validate.parse_method,
    validate.parse_path,
    validate.parse_host,
    validate.parse_expected_status,
    validate.parse_ca_file,
    validate.parse_payload,
    validate.parse_length,
)


@given(st.text(max_size=200) | st.text("0123456789-,hex:/", max_size=200))
def test_no_text_breaks_a_parser(text: str) -> None:
    """Whatever comes over the wire ends in a value or in short ASCII violations, never in an exception."""
    for parse in TEXT_PARSERS:
        assert all(message.isascii() and len(message) < 800 for message in complaints(parse, text))


def test_a_kind_is_required_and_one_of_six() -> None:
    assert validate.parse_kind([], "field", "GRPC") is CheckKind.GRPC
    assert complaints(validate.parse_kind, "") == ["is required: one of TCP, HTTP, HTTPS, UDP, GRPC, ICMP"]
    assert complaints(validate.parse_kind, "SMTP") == [
        "'SMTP' is not a kind of check: choose one of TCP, HTTP, HTTPS, UDP, GRPC, ICMP"
    ]
    assert validate.parse_kind([], "field", "SMTP") is None


def test_ways_and_what_becomes_of_flows() -> None:
    assert validate.parse_via([], "field", "TUNNEL") is CheckVia.TUNNEL
    assert complaints(validate.parse_via, "7") == ["'7' is not a way of a probe: choose one of TUNNEL, DIRECT"]
    assert validate.parse_on_down([], "field", "KEEP") is OnDown.KEEP
    assert complaints(validate.parse_on_down, "9") == [
        "'9' is not what can become of flows: choose one of REASSIGN, KEEP"
    ]


@pytest.mark.parametrize("port", [0, 1, 65_535])
def test_ports(port: int) -> None:
    assert complaints(validate.parse_check_port, port, CheckKind.TCP) == []


def test_ports_that_are_refused() -> None:
    wrong = ["65536 is not a port: 1 to 65535, or 0 for the port of the pool's VIP"]
    assert complaints(validate.parse_check_port, 65_536, CheckKind.UDP) == wrong
    assert complaints(validate.parse_check_port, 65_536, CheckKind.ICMP) == wrong
    assert complaints(validate.parse_check_port, 80, CheckKind.ICMP) == [
        "pings have no port: remove it, or choose another kind"
    ]
    assert complaints(validate.parse_check_port, 80, None) == []
    assert complaints(validate.parse_check_port, 0, CheckKind.ICMP) == []


@pytest.mark.parametrize(
    ("allowed", "least", "most"),
    [
        (validate.INTERVAL_MS, 100, 3_600_000),
        (validate.TIMEOUT_MS, 10, 60_000),
        (validate.RISE, 1, 100),
        (validate.FALL, 1, 100),
        (validate.JITTER_PERCENT, 0, 50),
        (validate.SLOW_START_SECONDS, 0, 3_600),
        (validate.MIN_HEALTHY_PERCENT, 0, 100),
    ],
)
def test_numbers(allowed: range, least: int, most: int) -> None:
    """The bounds that pool.proto promises."""
    for fine in (least, most):
        assert complaints(validate.parse_number, fine, allowed, "probes") == []
    for wrong in (least - 1, most + 1):
        assert complaints(validate.parse_number, wrong, allowed, "probes") == [
            f"{wrong} is out of range: give probes from {least} to {most}"
        ]


def test_numbers_of_pools() -> None:
    assert complaints(validate.parse_slow_start_seconds, 3_600) == []
    assert complaints(validate.parse_slow_start_seconds, 3_601) == ["3601 is out of range: give seconds from 0 to 3600"]
    assert complaints(validate.parse_min_healthy_percent, 100) == []
    assert complaints(validate.parse_min_healthy_percent, 101) == ["101 is out of range: give percent from 0 to 100"]


def test_a_timeout_fits_into_its_interval() -> None:
    assert complaints(validate.parse_timeout_ms, 1_000, 1_000) == []
    assert complaints(validate.parse_timeout_ms, 1_001, 1_000) == [
        "1001 is longer than the interval of 1000 ms: give at most 1000, or a longer interval_ms"
    ]
    # One complaint each: the interval's own is enough.
    assert complaints(validate.parse_timeout_ms, 1_000, 5) == []
    assert complaints(validate.parse_timeout_ms, 60_001, 1_000) == [
        "60001 is out of range: give milliseconds from 10 to 60000"
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD", "X-PING", "get"])
def test_methods(method: str) -> None:
    assert complaints(validate.parse_method, method) == []


@pytest.mark.parametrize("method", ["", "GET /", "G\r\nHost: x", "GÄT", "A" * 33])
def test_methods_that_are_refused(method: str) -> None:
    (message,) = complaints(validate.parse_method, method)
    assert message.endswith("is not an HTTP method: write one such as GET or HEAD")


def test_paths() -> None:
    assert complaints(validate.parse_path, "/healthz?full=1&x=%20") == []
    assert complaints(validate.parse_path, "healthz") == ["'healthz' is not a path: begin with '/', such as /healthz"]
    for path in ("/a b", "/ä", "/\r\nHost: x"):
        (message,) = complaints(validate.parse_path, path)
        assert message.endswith("has blanks or characters that are not ASCII: percent-encode them")
    assert complaints(validate.parse_path, "/" * 1_025) == ["has 1025 characters: shorten it to 1024"]


def test_hosts() -> None:
    for host in ("", "www.example.com", "www.example.com:8080", "[2001:db8::1]"):
        assert complaints(validate.parse_host, host) == []
    for host in ("www example", "bücher.example", "x\r\ny"):
        (message,) = complaints(validate.parse_host, host)
        assert "write a plain host name (an international one begins with xn--)" in message


@pytest.mark.parametrize("text", ["200", "200-399", "200,204", "200-299,301,500-599"])
def test_status_lists(text: str) -> None:
    assert complaints(validate.parse_expected_status, text) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("", "''"), ("200,", "''"), ("200, 204", "' 204'"), ("2xx", "'2xx'"), ("399-200", "'399-200'"), ("600", "'600'")],
)
def test_status_lists_that_are_refused(text: str, wrong: str) -> None:
    assert complaints(validate.parse_expected_status, text) == [
        f"{wrong} is not a status code or a range: write codes and ranges from 100 to 599, such as 200-399 or 200,204"
    ]


def test_ca_files() -> None:
    for path in ("", "/etc/ssl/ca.pem"):
        assert complaints(validate.parse_ca_file, path) == []
    assert complaints(validate.parse_ca_file, "ca.pem") == ["'ca.pem' is not an absolute path: begin with '/'"]
    assert complaints(validate.parse_ca_file, "/a\nb") == [
        "has a line break or another unprintable character: write a plain path"
    ]
    assert complaints(validate.parse_ca_file, "/" * 4_096) == ["has 4096 characters: shorten it to 4095"]


@pytest.mark.parametrize(
    ("text", "payload"), [("PING", b"PING"), ("grüß", "grüß".encode()), ("hex:00fF", b"\x00\xff"), ("a\n", b"a\n")]
)
def test_payloads(text: str, payload: bytes) -> None:
    assert complaints(validate.parse_payload, text) == []
    assert validate.parse_payload([], "field", text) == payload


@pytest.mark.parametrize("text", ["hex:", "hex:0", "hex:0x00", "hex:zz", "hex:00 00"])
def test_payloads_that_are_refused(text: str) -> None:
    assert complaints(validate.parse_payload, text) == [
        f"{text!r} is not hexadecimal: write two digits for each byte, such as hex:0a0b"
    ]


def test_payloads_are_bounded_in_bytes() -> None:
    assert complaints(validate.parse_payload, "hex:" + "00" * 1_024) == []
    assert complaints(validate.parse_payload, "ä" * 513) == ["has 1026 bytes: shorten it to 1024"]


@given(st.binary(min_size=1, max_size=20) | st.text(min_size=1, max_size=20).map(str.encode) | st.just(b"hex:00"))
def test_a_payload_that_is_shown_is_read_back(payload: bytes) -> None:
    text = validate.payload_text(payload)
    assert text.isprintable()
    assert validate.parse_payload([], "field", text) == payload


def test_an_empty_payload_is_shown_as_nothing() -> None:
    assert validate.payload_text(b"") == ""


def test_parts_that_a_kind_does_not_have() -> None:
    assert complaints(validate.check_part, CheckKind.HTTP, (CheckKind.HTTP, CheckKind.HTTPS)) == []
    assert complaints(validate.check_part, CheckKind.TCP, (CheckKind.HTTP, CheckKind.HTTPS)) == [
        "is for HTTP and HTTPS checks, this one is TCP: remove it, or choose kind HTTP or HTTPS"
    ]
