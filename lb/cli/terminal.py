# SPDX-License-Identifier: Apache-2.0
"""Sheets for a terminal, with rich: long cells are folded, never cut."""

from __future__ import annotations

import os

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from lb.cli.views import Sheet

_STYLES = {"REASON": "yellow"}


def draw_for_terminal(sheet: Sheet) -> str:
    """The table in the terminal's width; without colour where NO_COLOR is set (https://no-color.org)."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(sheet.headers), header_style="bold")
    for header in sheet.headers:
        justify: JustifyMethod = "right" if header in sheet.numeric else "left"
        table.add_column(header, justify=justify, style=_STYLES.get(header, ""), overflow="fold")
    if not sheet.headers:
        table.add_column(style="bold")
        table.add_column(overflow="fold")
    for row in sheet.rows:
        # Text: what comes from the server is never markup.
        table.add_row(*map(Text, row))
    console = Console(force_terminal=True, color_system=None if os.environ.get("NO_COLOR") else "auto")
    with console.capture() as capture:
        console.print(table)
    return capture.get()
