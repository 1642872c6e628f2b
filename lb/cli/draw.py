# SPDX-License-Identifier: Apache-2.0
"""Sheets to text: with rich on a terminal; plain, and each column as wide as its longest value, anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lb.cli.views import Sheet

_GAP = "  "


def draw(sheets: Sequence[Sheet]) -> str:
    """The tables, an empty line between them, without blanks at the ends of lines."""
    if sys.stdout.isatty():
        # Not for pipes: rich is slow to load, takes 0.7 ms a row, and would fold at 80 columns.
        from lb.cli.terminal import draw_for_terminal

        tables = map(draw_for_terminal, sheets)
    else:
        tables = map(_plain, sheets)
    return "\n\n".join("\n".join(line.rstrip() for line in table.splitlines()) for table in tables)


def _plain(sheet: Sheet) -> str:
    rows = [sheet.headers, *sheet.rows] if sheet.headers else list(sheet.rows)
    columns = list(zip(*rows, strict=True))
    right = [header in sheet.numeric for header in sheet.headers] or [False] * len(columns)
    widths = [max(map(len, column)) for column in columns]
    return "\n".join(
        _GAP.join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        )
        for row in rows
    )
