# SPDX-License-Identifier: Apache-2.0
"""``lbctl export``."""

from __future__ import annotations

import click

from lb.cli.numbers import revision_number
from lb.cli.options import Command, settings
from lb.cli.output import to_data, to_json
from lb.cli.session import connect


@click.command(cls=Command, examples=["lbctl export", "lbctl export --revision 17", "lbctl export -o json"])
@click.option("--revision", metavar="REV", type=revision_number, help="As it was at that revision.")
def export(revision: int | None) -> None:
    """Print the whole configuration.

    As the YAML file that `lbctl apply` and `lbd --config` read, or as the JSON of lb.v1.Config. It holds the key of the
    flow hash, which balancers share to send a flow to the same backend: keep it secret.
    """
    print_config(revision)


def print_config(revision: int | None) -> None:
    """The configuration of a revision (None: the present one) on stdout."""
    output = settings().output or "yaml"
    if output == "table":
        raise click.UsageError("a configuration has no table: choose -o yaml or -o json")
    with connect() as client:
        config = client.call("Config", "GetConfig", revision=revision)
    if output == "json":
        # Without defaults: output-only fields are no part of a configuration.
        click.echo(to_json(to_data(config, defaults=False)))
    else:
        from lb.api.config_file import dump_message

        click.echo(dump_message(config), nl=False)
