# SPDX-License-Identifier: Apache-2.0
"""``lbctl stats``."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import click

from lb.cli.options import Command, parse_seconds, settings
from lb.cli.output import emit, to_data
from lb.cli.session import connect

if TYPE_CHECKING:
    from lb.cli.client import Client


@click.command(cls=Command, examples=["lbctl stats", "lbctl stats -o json", "lbctl stats --watch --interval 5"])
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C (exit code 0); shows packets per second.")
@click.option(
    "--interval", metavar="SECONDS", type=parse_seconds, default=2, show_default=True, help="Between two refreshes."
)
def stats(watch: bool, interval: float) -> None:
    """Show what the data plane counted.

    Per VIP, per backend, and per verdict: what became of each packet. Bytes are whole Ethernet frames as they arrived.
    The flow table holds flows only where a pool's members changed; TOO-BIG packets did not fit the MTU once wrapped.
    With --watch, JSON and YAML become a stream of documents.
    """
    with connect() as client:
        if not watch:
            # Here and not at the top: the generated messages are slow to load.
            from lb.cli.stats_view import stats_sheets

            now = client.call("Stats", "GetStats")
            emit(partial(to_data, now), partial(stats_sheets, now))
            return
        try:
            _watch(client, interval)
        except KeyboardInterrupt:
            return


def _watch(client: Client, interval_seconds: float) -> None:
    from lb.cli.stats_view import packet_rates, stats_sheets

    separator = {"yaml": "---\n", "json": ""}.get(settings().output or "", "\n")
    before = None
    while True:
        now = client.call("Stats", "GetStats")
        if sys.stdout.isatty():
            click.clear()
        elif before is not None:
            click.echo(separator, nl=False)
        emit(partial(to_data, now), partial(stats_sheets, now, packet_rates(before, now)))
        before = now
        time.sleep(interval_seconds)
