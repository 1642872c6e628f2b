# SPDX-License-Identifier: Apache-2.0
"""``lbctl vip``."""

from __future__ import annotations

from functools import partial

import click

from lb.cli import verbs
from lb.cli.names import POOL, VIP, Name, complete, name_of
from lb.cli.numbers import port_number
from lb.cli.options import Group
from lb.cli.session import connect

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
    ]
)
@verbs.name_argument(VIP)
@click.option("--address", metavar="IP", required=True, help="Address that clients connect to.")
@click.option("--port", metavar="PORT", type=port_number, required=True, help="1 to 65535, or 0 for every port.")
@click.option(
    "--protocol", type=click.Choice(["tcp", "udp"], case_sensitive=False), required=True, callback=verbs.upper
)
@_pool_option(required=True, help="Pool that serves it.")
@click.option("--force", is_flag=True, help="Accept an address of this machine: its own traffic is then balanced too.")
@verbs.validate_only_option
def create(name: Name, address: str, port: int, protocol: str, pool: Name, force: bool, validate_only: bool) -> None:
    """Create a VIP.

    Packets for it are balanced when the command returns.
    """
    fields = {"address": address, "port": port, "protocol": protocol, "pool": pool.full, "force": force}
    verbs.create(VIP, name, fields, validate_only)


@vip.command(examples=["lbctl vip update web --pool blue", "lbctl vip update web --no-force"])
@verbs.name_argument(VIP)
@_pool_option(help="Serve it with this pool from now on.")
@click.option("--force/--no-force", default=None, help="Whether it may be an address of this machine.")
@verbs.etag_option
@verbs.validate_only_option
def update(name: Name, pool: Name | None, force: bool | None, etag: str, validate_only: bool) -> None:
    """Change a VIP.

    Address, port and protocol never change: create another VIP instead.
    """
    verbs.update(VIP, name, {"pool": pool and pool.full, "force": force}, etag, validate_only)
