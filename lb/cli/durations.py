# SPDX-License-Identifier: Apache-2.0
"""Times as people write and read them: "500ms", "10m", "4m 12s"."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import click

_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TIME = re.compile(rf"([0-9]+(?:\.[0-9]+)?)({'|'.join(_MS)})?")
_MAX = 2**32 - 1
"""Of the API's fields."""

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def milliseconds(text: str) -> int:
    """ "500ms", "5s", "2m"; a bare number is seconds. Raises ``click.BadParameter``."""
    match = _TIME.fullmatch(text)
    value = round(float(match[1]) * _MS[match[2] or "s"]) if match else _MAX + 1
    if value > _MAX:
        raise click.BadParameter(f"{text!r} is not a time: write it such as 500ms, 5s or 2m")
    return value


def whole_seconds(text: str) -> int:
    """ "90", "90s", "10m", "2h", "1d"; raises ``click.BadParameter``."""
    match = _TIME.fullmatch(text)
    value = float(match[1]) * _MS[match[2] or "s"] / 1_000 if match else 0.5
    if not value.is_integer() or value > _MAX:
        raise click.BadParameter(f"{text!r} is not a time in whole seconds: write it such as 90s, 10m or 2h")
    return int(value)


def span(seconds: float, parts: int = 2) -> str:
    """A length of time in at most ``parts`` units, "4m 12s"; rounded down, "0s" below one second."""
    rest = max(0, int(seconds))
    words: list[str] = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count or words:
            words.append(f"{count}{unit}")
    return " ".join(word for word in words[:parts] if not word.startswith("0")) or "0s"


def milliseconds_text(number: int) -> str:
    """As ``milliseconds`` reads it: "500ms", "5s"."""
    return f"{number}ms" if number % 1_000 else f"{number // 1_000}s"


def moment(seconds: float) -> str:
    """A point in time, given in seconds since the epoch: "2026-08-01 12:03:07 UTC"."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
