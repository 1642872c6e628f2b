# SPDX-License-Identifier: Apache-2.0
"""``lbctl history``, ``lbctl show`` and ``lbctl rollback``."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import click

from lb.cli.exits import Exit, Failure
from lb.cli.export import print_config
from lb.cli.numbers import revision_number
from lb.cli.options import Command
from lb.cli.output import emit, emit_lines, note, to_data
from lb.cli.plan import Proposal, Wish, carry_out, wish_options
from lb.cli.session import connect

if TYPE_CHECKING:
    from lb.cli.client import Client
    from lb.v1.config_pb2 import Revision

MAX_PAGE = 1_000
"""Records that one call asks for at most."""

_revision_argument = click.argument("revision", metavar="REV", type=revision_number)


@click.command(cls=Command, examples=["lbctl history", "lbctl history --limit 100", "lbctl history -o json"])
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="How many, newest first."
)
def history(limit: int) -> None:
    """Show who changed what, and when.

    Newest first; times are UTC. Calls that were denied are there too: they have no revision. `lbctl show REV` tells
    more of one.
    """
    from lb.cli.history_view import history_sheet

    with connect() as client:
        found = list(islice(client.revisions(min(limit, MAX_PAGE)), limit))
    emit(lambda: {"revisions": [to_data(item) for item in found]}, lambda: [history_sheet(found)])
    if not found:
        note("nothing has been changed yet")


@click.command(cls=Command, examples=["lbctl show 17", "lbctl show 17 -o yaml", "lbctl show 17 --config"])
@_revision_argument
@click.option("--config", is_flag=True, help="The whole configuration as it was then, as `lbctl export` prints it.")
def show(revision: int, config: bool) -> None:
    """Show what revision REV changed.

    Each object with its fields, old -> new.
    """
    if config:
        print_config(revision)
        return
    from lb.cli.history_view import revision_lines

    with connect() as client:
        found = _find(client, revision)
    emit_lines(partial(to_data, found), partial(revision_lines, found))


@click.command(
    cls=Command,
    examples=["lbctl rollback 16 --dry-run", "lbctl rollback 16 --yes", "lbctl rollback 16 --yes --max-move 40"],
)
@_revision_argument
@wish_options
def rollback(revision: int, dry_run: bool, yes: bool, max_move_percent: float | None) -> None:
    """Make the configuration what it was at revision REV.

    All of it: objects that were made since go, settings and admin states are what they were. It becomes a new revision,
    planned, shown, asked about and applied as by `lbctl apply`.
    """
    carry_out(Proposal("RollbackConfig", {"revision": revision}), Wish(dry_run, yes, max_move_percent))


def _find(client: Client, revision: int) -> Revision:
    """The record of a revision; raises ``Failure`` when there is none (any more)."""
    found: Revision
    for found in client.revisions(MAX_PAGE):
        # 0: a call that was denied.
        if found.revision == revision:
            return found
        if 0 < found.revision < revision:
            break
    raise Failure(
        Exit.NOT_FOUND, f"revision {revision} is not in the history; `lbctl history` shows those that are kept"
    )
