# SPDX-License-Identifier: Apache-2.0
"""Validation of health checks and of what a pool makes of them; the contract of ``found`` is ``lb.core.validate``'s."""

from __future__ import annotations

import re
from collections.abc import Collection

from lb.core.checks import CheckKind, CheckVia
from lb.core.errors import Violation
from lb.core.model import OnDown
from lb.core.validate import MAX_PORT, Found, parse_choice, quote

INTERVAL_MS = range(100, 3_600_001)
TIMEOUT_MS = range(10, 60_001)
RISE = FALL = range(1, 101)
JITTER_PERCENT = range(51)
SLOW_START_SECONDS = range(3_601)
MIN_HEALTHY_PERCENT = range(101)

MAX_TEXT = 1_024
"""Characters of a path, a host, a body's text, a service; bytes of a datagram."""

MAX_FILE_NAME = 4_095
HEX = "hex:"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
"""RFC 9110, section 5.6.2."""

_VISIBLE = re.compile(r"[!-~]*")
"""ASCII without blanks and control characters: nothing else may stand in a request line or a Host header."""

_STATUS = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")


def parse_kind(found: Found, field: str, text: str) -> CheckKind | None:
    """Kind of a check by name; required. None when it is none."""
    if text in CheckKind.__members__:
        return CheckKind[text]
    problem = f"{quote(text)} is not a kind of check: choose" if text else "is required:"
    found.append(Violation(field, f"{problem} one of {', '.join(CheckKind.__members__)}"))
    return None


def parse_via(found: Found, field: str, text: str) -> CheckVia:
    """Way of a check by name."""
    return parse_choice(found, field, text, CheckVia.DIRECT, "a way of a probe")


def parse_on_down(found: Found, field: str, text: str) -> OnDown:
    """What becomes of flows, by name."""
    return parse_choice(found, field, text, OnDown.REASSIGN, "what can become of flows")


def parse_check_port(found: Found, field: str, number: int, kind: CheckKind | None) -> int:
    """Port to probe; 0 means that of a VIP."""
    if not 0 <= number <= MAX_PORT:
        found.append(Violation(field, f"{number} is not a port: 1 to {MAX_PORT}, or 0 for the port of the pool's VIP"))
    elif number and kind is CheckKind.ICMP:
        found.append(Violation(field, "pings have no port: remove it, or choose another kind"))
    return number


def parse_slow_start_seconds(found: Found, field: str, number: int) -> int:
    """Over which the weight of a backend that came UP grows; 0 means at once."""
    return parse_number(found, field, number, SLOW_START_SECONDS, "seconds")


def parse_min_healthy_percent(found: Found, field: str, number: int) -> int:
    """Share of members that must be UP, else the pool fails open; 0 means one of them."""
    return parse_number(found, field, number, MIN_HEALTHY_PERCENT, "percent")


def parse_number(found: Found, field: str, number: int, allowed: range, what: str) -> int:
    """A whole number within bounds; ``what`` it counts, for the message."""
    if number not in allowed:
        found.append(Violation(field, f"{number} is out of range: give {what} from {allowed[0]} to {allowed[-1]}"))
    return number


def parse_timeout_ms(found: Found, field: str, number: int, interval_ms: int) -> int:
    """Timeout of a probe: the next one must not overtake it."""
    parse_number(found, field, number, TIMEOUT_MS, "milliseconds")
    if number > interval_ms in INTERVAL_MS and number in TIMEOUT_MS:
        remedy = f"give at most {interval_ms}, or a longer interval_ms"
        found.append(Violation(field, f"{number} is longer than the interval of {interval_ms} ms: {remedy}"))
    return number


def parse_method(found: Found, field: str, text: str) -> str:
    """HTTP method."""
    if not _TOKEN.fullmatch(text):
        found.append(Violation(field, f"{quote(text)} is not an HTTP method: write one such as GET or HEAD"))
    return text


def parse_path(found: Found, field: str, text: str) -> str:
    """Path and query of a request."""
    if not text.startswith("/"):
        found.append(Violation(field, f"{quote(text)} is not a path: begin with '/', such as /healthz"))
    return _parse_visible(found, field, text, "percent-encode them")


def parse_host(found: Found, field: str, text: str) -> str:
    """Host header, or name in a certificate; "" means another one."""
    return _parse_visible(found, field, text, "write a plain host name (an international one begins with xn--)")


def _parse_visible(found: Found, field: str, text: str, remedy: str) -> str:
    if not _VISIBLE.fullmatch(text):
        found.append(Violation(field, f"{quote(text)} has blanks or characters that are not ASCII: {remedy}"))
    return parse_length(found, field, text)


def parse_length(found: Found, field: str, text: str, limit: int = MAX_TEXT) -> str:
    """Text of bounded length."""
    if len(text) > limit:
        found.append(Violation(field, f"has {len(text)} characters: shorten it to {limit}"))
    return text


def parse_expected_status(found: Found, field: str, text: str) -> str:
    """Status codes that are fine: "200-399", "200,204"."""
    for item in text[:MAX_TEXT].split(","):
        match = _STATUS.fullmatch(item)
        if match is None or (match[2] and match[1] > match[2]):
            remedy = "write codes and ranges from 100 to 599, such as 200-399 or 200,204"
            found.append(Violation(field, f"{quote(item)} is not a status code or a range: {remedy}"))
            break
    return parse_length(found, field, text)


def parse_ca_file(found: Found, field: str, text: str) -> str:
    """A file on the balancer; "" means the system's."""
    if text and not text.startswith("/"):
        found.append(Violation(field, f"{quote(text)} is not an absolute path: begin with '/'"))
    elif not text.isprintable():
        found.append(Violation(field, "has a line break or another unprintable character: write a plain path"))
    return parse_length(found, field, text, MAX_FILE_NAME)


def parse_payload(found: Found, field: str, text: str) -> bytes:
    """A datagram, or its beginning: text, or hexadecimal digits after "hex:"."""
    payload = text.encode()
    if text.startswith(HEX):
        digits = text.removeprefix(HEX)
        if not re.fullmatch("([0-9a-fA-F]{2})+", digits):
            remedy = "write two digits for each byte, such as hex:0a0b"
            found.append(Violation(field, f"{quote(text)} is not hexadecimal: {remedy}"))
            return b""
        payload = bytes.fromhex(digits)
    if len(payload) > MAX_TEXT:
        found.append(Violation(field, f"has {len(payload)} bytes: shorten it to {MAX_TEXT}"))
    return payload


def payload_text(payload: bytes) -> str:
    """Inverse of ``parse_payload``."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        text = ""
    return text if text.isprintable() and not text.startswith(HEX) and (text or not payload) else HEX + payload.hex()


def check_part(found: Found, field: str, kind: CheckKind, kinds: Collection[CheckKind]) -> None:
    """Note a part of a check that only some ``kinds`` have: this one would ignore it."""
    if kind not in kinds:
        choices = " and ".join(each.name for each in kinds)
        remedy = f"remove it, or choose kind {choices.replace(' and ', ' or ')}"
        found.append(Violation(field, f"is for {choices} checks, this one is {kind.name}: {remedy}"))
