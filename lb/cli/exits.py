# SPDX-License-Identifier: Apache-2.0
"""Exit codes: a contract with scripts."""

from __future__ import annotations

import enum

import click


class Exit(enum.IntEnum):
    """How a command ended. Click itself exits with USAGE for what it can't parse. DIFFERENT: only ``diff``."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    DENIED = 6
    DIFFERENT = 10


class Failure(click.ClickException):
    """Ends the command: the message goes to stderr after "Error: "; further ``lines`` follow indented."""

    def __init__(self, code: Exit, message: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__("\n  ".join((message, *lines)))
        self.exit_code = code  # type: ignore[misc]
