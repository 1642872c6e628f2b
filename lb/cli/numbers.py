# SPDX-License-Identifier: Apache-2.0
"""Numbers as wide as the API's fields. Whether one that fits makes sense is for the server to say."""

from __future__ import annotations

import click


def port_number(text: str) -> int:
    """A uint32; raises ``click.BadParameter``."""
    return _integer(text, 0, 2**32 - 1, "1 to 65535, or 0 for every port")


def check_port_number(text: str) -> int:
    """A uint32; raises ``click.BadParameter``."""
    return _integer(text, 0, 2**32 - 1, "1 to 65535, or 0 for the port of the pool's VIP")


def whole_number(text: str) -> int:
    """A uint32; raises ``click.BadParameter``."""
    return _integer(text, 0, 2**32 - 1, "a whole number")


def seconds_number(text: str) -> int:
    """A uint32; raises ``click.BadParameter``."""
    return _integer(text, 0, 2**32 - 1, "a whole number of seconds")


def weight_number(text: str) -> int:
    """An int32; raises ``click.BadParameter``."""
    return _integer(text, -(2**31), 2**31 - 1, "a whole number from 0 to 65535")


def revision_number(text: str) -> int:
    """A uint64 from 1 on; raises ``click.BadParameter``."""
    return _integer(text, 1, 2**64 - 1, "a revision from `lbctl history`")


def percent_number(text: str) -> float:
    """A number, such as 30 or 12.5; raises ``click.BadParameter``."""
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} can't be right: give a percentage, such as 30") from None


def _integer(text: str, low: int, high: int, remedy: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = high + 1
    if not low <= number <= high:
        raise click.BadParameter(f"{text!r} can't be right: give {remedy}")
    return number
