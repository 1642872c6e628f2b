# SPDX-License-Identifier: Apache-2.0
"""``lbctl pool``."""

from __future__ import annotations

import click

from lb.cli import verbs
from lb.cli.names import POOL, Name
from lb.cli.options import Group
from lb.cli.session import connect

description_option = click.option("--description", metavar="TEXT", help="A line for people.")


@click.group(cls=Group, examples=["lbctl pool create web", "lbctl pool list"])
def pool() -> None:
    """Pools: sets of backends that share the traffic of their VIPs."""


verbs.add_get_and_delete(pool, POOL, "spare")


@pool.command("list", examples=["lbctl pool list", "lbctl pool list -o json"])
def list_() -> None:
    """List all pools."""
    with connect() as client:
        verbs.show_list(POOL, client.list(POOL))


@pool.command(examples=["lbctl pool create web", "lbctl pool create web --description 'front servers, rack 4'"])
@verbs.name_argument(POOL)
@description_option
@verbs.validate_only_option
def create(name: Name, description: str | None, validate_only: bool) -> None:
    """Create an empty pool.

    `lbctl backend create` fills it.
    """
    verbs.create(POOL, name, {"description": description}, validate_only)


@pool.command(examples=["lbctl pool update web --description 'front servers, rack 5'"])
@verbs.name_argument(POOL)
@description_option
@verbs.etag_option
@verbs.validate_only_option
def update(name: Name, description: str | None, etag: str, validate_only: bool) -> None:
    """Change a pool's description.

    `lbctl backend` changes its members.
    """
    verbs.update(POOL, name, {"description": description}, etag, validate_only)
