# SPDX-License-Identifier: Apache-2.0
"""``lbctl pool``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from lb.cli import verbs
from lb.cli.names import POOL, Name
from lb.cli.numbers import seconds_number
from lb.cli.options import Group
from lb.cli.session import connect

_OPTIONS = (
    click.option("--description", metavar="TEXT", help="A line for people."),
    click.option(
        "--settle-seconds",
        metavar="N",
        type=seconds_number,
        help="How long a TCP client may be silent and still keep its backend when backends come or go; "
        "7500 unless set, up to 604800. 0: flows are not protected.",
    ),
    click.option(
        "--udp-settle-seconds", metavar="N", type=seconds_number, help="The same for UDP; 60 unless set, up to 86400."
    ),
    click.option(
        "--drain-idle-seconds",
        metavar="N",
        type=seconds_number,
        help="The same for clients of a backend that drains; 350 unless set, up to 604800.",
    ),
)


def _fields(command: Callable[..., None]) -> Callable[..., None]:
    """The options that set a pool's fields, named as the fields are."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group(cls=Group, examples=["lbctl pool create web", "lbctl pool list"])
def pool() -> None:
    """Pools: sets of backends that share the traffic of their VIPs."""


verbs.add_get_and_delete(pool, POOL, "spare")


@pool.command("list", examples=["lbctl pool list", "lbctl pool list -o json"])
def list_() -> None:
    """List all pools."""
    with connect() as client:
        verbs.show_list(POOL, client.list(POOL))


@pool.command(
    examples=[
        "lbctl pool create web",
        "lbctl pool create web --description 'front servers, rack 4'",
        "lbctl pool create dns --udp-settle-seconds 10",
    ]
)
@verbs.name_argument(POOL)
@_fields
@verbs.validate_only_option
def create(name: Name, validate_only: bool, **fields: Any) -> None:
    """Create an empty pool.

    `lbctl backend create` fills it.
    """
    verbs.create(POOL, name, fields, validate_only)


@pool.command(
    examples=[
        "lbctl pool update web --description 'front servers, rack 5'",
        "lbctl pool update web --settle-seconds 300 --drain-idle-seconds 60",
    ]
)
@verbs.name_argument(POOL)
@_fields
@verbs.etag_option
@verbs.validate_only_option
def update(name: Name, etag: str, validate_only: bool, **fields: Any) -> None:
    """Change a pool's description, or how long silent clients keep their backend.

    `lbctl backend` changes its members.
    """
    verbs.update(POOL, name, fields, etag, validate_only)
