# SPDX-License-Identifier: Apache-2.0
"""Sheets for a terminal, with rich: long cells are folded, never cut."""

from __future__ import annotations

import os
from dataclasses import replace

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from lb.cli.views import NOTHING, Sheet

_REASON = "REASON"
_STYLES = {_REASON: "yellow"}
_GAP = 2

MIN_REASON = 30
"""Columns that a reason needs in the table; with fewer, reasons follow below it, a line for each."""

MAX_UNFOLDED = 24
"""Characters up to which the cells of a column stay on one line while wider columns can give way."""


def draw_for_terminal(sheet: Sheet) -> str:
    """The table in the terminal's width; without colour where NO_COLOR is set (https://no-color.org)."""
    console = Console(force_terminal=True, color_system=None if os.environ.get("NO_COLOR") else "auto")
    reasons: list[Text] = []
    if _REASON in sheet.headers[-1:] and console.width < sum(_widths(sheet)[:-1]) + MIN_REASON:
        reasons = [
            Text.assemble((row[0], "bold"), ": ", (row[-1], _STYLES[_REASON]))
            for row in sheet.rows
            if row[-1] != NOTHING
        ]
        sheet = replace(sheet, headers=sheet.headers[:-1], rows=tuple(row[:-1] for row in sheet.rows))
    with console.capture() as capture:
        console.print(_table(sheet), *reasons, sep="\n")
    return capture.get()


def _widths(sheet: Sheet) -> list[int]:
    """Of the columns, with the gap after each."""
    return [max(map(len, column)) + _GAP for column in zip(sheet.headers, *sheet.rows, strict=True)]


def _table(sheet: Sheet) -> Table:
    padding = (0, _GAP, 0, 0)
    table = Table(box=None, pad_edge=False, padding=padding, show_header=bool(sheet.headers), header_style="bold")
    widths = _widths(sheet) if sheet.headers else []
    for header, width in zip(sheet.headers, widths, strict=True):
        justify: JustifyMethod = "right" if header in sheet.numeric else "left"
        no_wrap = width <= MAX_UNFOLDED + _GAP
        table.add_column(header, justify=justify, style=_STYLES.get(header, ""), overflow="fold", no_wrap=no_wrap)
    if not sheet.headers:
        table.add_column(style="bold")
        table.add_column(overflow="fold")
    for row in sheet.rows:
        # Text: what comes from the server is never markup.
        table.add_row(*map(Text, row))
    return table
