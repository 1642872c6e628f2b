# SPDX-License-Identifier: Apache-2.0
"""``lbctl vip``."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from lb.cli import verbs
from lb.cli.names import POOL, VIP, Name, complete, name_of
from lb.cli.numbers import port_number
from lb.cli.options import Group
from lb.cli.session import connect

_hash_policy_option = click.option(
    "--hash-policy",
    type=click.Choice(
        ["five-tuple", "source", "source-and-destination-port", "destination-port"], case_sensitive=False
    ),
    callback=verbs.enum_value,
    help="What decides a flow's backend; five-tuple unless set. source: a client stays on one backend.",
)
_pool_option = partial(click.option, "--pool", metavar="POOL", type=name_of(POOL), shell_complete=complete(POOL))


@click.group(
    cls=Group,
    examples=["lbctl vip create web --address 192.0.2.1 --port 80 --protocol tcp --pool web", "lbctl vip list"],
)
def vip() -> None:
    """VIPs: the address, port and protocol that clients connect to."""


verbs.add_get_and_delete(vip, VIP, "web")


@vip.command("list", examples=["lbctl vip list", "lbctl vip list -o json"])
def list_() -> None:
    """List all VIPs."""
    with connect() as client:
        verbs.show_list(VIP, client.list(VIP))


@vip.command(
    examples=[
        "lbctl vip create web --address 192.0.2.1 --port 80 --protocol tcp --pool web",
        "lbctl vip create dns --address 192.0.2.53 --port 0 --protocol udp --pool web --validate-only",
        "lbctl vip create shop --address 2001:db8::1 --port 443 --protocol tcp --pool web --hash-policy source",
    ]
)
@verbs.name_argument(VIP)
@click.option("--address", metavar="IP", required=True, help="Address that clients connect to.")
@click.option("--port", metavar="PORT", type=port_number, required=True, help="1 to 65535, or 0 for every port.")
@click.option(
    "--protocol", type=click.Choice(["tcp", "udp"], case_sensitive=False), required=True, callback=verbs.enum_value
)
@_pool_option(required=True, help="Pool that serves it.")
@_hash_policy_option
@click.option("--force", is_flag=True, help="Accept an address of this machine: its own traffic is then balanced too.")
@verbs.validate_only_option
def create(name: Name, pool: Name, validate_only: bool, **fields: Any) -> None:
    """Create a VIP.

    Packets for it are balanced when the command returns.
    """
    verbs.create(VIP, name, {**fields, "pool": pool.full}, validate_only)


@vip.command(
    examples=[
        "lbctl vip update web --pool blue",
        "lbctl vip update web --hash-policy source",
        "lbctl vip update web --no-force",
    ]
)
@verbs.name_argument(VIP)
@_pool_option(help="Serve it with this pool from now on.")
@_hash_policy_option
@click.option("--force/--no-force", default=None, help="Whether it may be an address of this machine.")
@verbs.etag_option
@verbs.validate_only_option
def update(name: Name, pool: Name | None, etag: str, validate_only: bool, **fields: Any) -> None:
    """Change a VIP.

    Another pool or hash policy moves its flows, also those under way. Address, port and protocol never change: create
    another VIP instead.
    """
    verbs.update(VIP, name, {**fields, "pool": pool and pool.full}, etag, validate_only)
