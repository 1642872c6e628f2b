# SPDX-License-Identifier: Apache-2.0
"""The configuration file of `diff` and `apply`: read and checked here, so that every problem has its line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lb.cli.exits import Exit, Failure
from lb.cli.plan import Proposal

if TYPE_CHECKING:
    from lb.api.config_file import Fragment

STDIN = "-"

file_option = click.option(
    "-f",
    "--file",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, allow_dash=True),
    help="YAML, as `lbctl export` writes it; - reads standard input.",
)
prune_option = click.option("--prune", is_flag=True, help="Remove what the file does not name.")


def proposal_of(file: str, prune: bool) -> Proposal:
    """To lay a file over the configuration. Raises ``Failure`` with all that is wrong in the file."""
    # Slow to load, and --help has no use for it.
    from lb.api.config_file import ConfigFileError, UnreadableError, load, read

    try:
        fragment = read(sys.stdin.buffer, "standard input") if file == STDIN else load(Path(file))
    except UnreadableError as error:
        raise Failure(Exit.USAGE, error.message) from error
    except ConfigFileError as error:
        raise _wrong(error) from error

    def explain(failure: Failure) -> Failure:
        return _located(fragment, failure)

    names_nothing = not (fragment.message.pools or fragment.message.vips)
    return Proposal("ApplyConfig", {"config": fragment.message, "prune": prune}, explain, prune and names_nothing)


def _located(fragment: Fragment, failure: Failure) -> Failure:
    """What lbd found wrong with the file's content, with its lines; other failures as they are."""
    from lb.api.config_file import complain
    from lb.cli.rpc_errors import violations_of
    from lb.core.errors import Violation

    found = [
        Violation(field.removeprefix("config."), text)
        for field, text in violations_of(failure)
        if field.startswith("config.")
    ]
    return _wrong(complain(fragment, found)) if found else failure


def _wrong(error: Exception) -> Failure:
    return Failure(Exit.USAGE, "nothing was changed, the file has to be mended first:", tuple(str(error).splitlines()))
