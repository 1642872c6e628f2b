# SPDX-License-Identifier: Apache-2.0
"""What tables are made of: what people see with ``-o table``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NOTHING = "-"
"""An empty cell would shift the columns for awk and for the eye."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table before it is drawn. Without headers: rows of (field, value). ``numeric`` columns align right."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[str] = frozenset()


def enum_name(wrapper: Any, number: int) -> str:
    """Name of an enum's value in lower case; the number when lbd is newer and knows more of them."""
    return str(wrapper.Name(number)).lower() if number in wrapper.values() else str(number)
