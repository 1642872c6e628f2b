# SPDX-License-Identifier: Apache-2.0
"""``lbctl watch``."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import click

from lb.cli.numbers import revision_number
from lb.cli.options import Command, settings
from lb.cli.output import note, to_data, to_yaml
from lb.cli.session import connect

if TYPE_CHECKING:
    from lb.v1.events_pb2 import WatchResponse


@click.command(cls=Command, examples=["lbctl watch", "lbctl watch --start-revision 17", "lbctl watch -o json"])
@click.option(
    "--start-revision",
    metavar="REV",
    type=revision_number,
    default=None,
    help="Begin with what came since that revision was in force, not with how everything is now.",
)
def watch(start_revision: int | None) -> None:
    """Show what happens, a line for each event, until Ctrl-C.

    First how everything is now, then changes of the configuration, of health, of next hops, and the progress of
    drains. Times are UTC. With -o json, a JSON object on each line.
    """
    with connect() as client, closing(client.stream("Event", "Watch", start_revision=start_revision)) as events:
        try:
            for event in events:
                _show(event)
        except KeyboardInterrupt:
            return


def _show(event: WatchResponse) -> None:
    output = settings().output
    if output == "json":
        click.echo(json.dumps(to_data(event), ensure_ascii=False))
    elif output == "yaml":
        click.echo(f"---\n{to_yaml(to_data(event))}")
    else:
        from lb.cli.event_view import event_line

        if event.HasField("sync"):
            note("that is how it is now; what follows happens (Ctrl-C ends)")
        else:
            click.echo(event_line(event))
