# SPDX-License-Identifier: Apache-2.0
"""``lbctl backend``."""

from __future__ import annotations

from collections.abc import Callable

import click

from lb.cli import verbs
from lb.cli.backend_verbs import add_state_verbs
from lb.cli.names import ALL_POOLS, BACKEND, POOL, Name, complete, name_of
from lb.cli.numbers import weight_number
from lb.cli.options import Group
from lb.cli.session import connect


@click.group(
    cls=Group,
    examples=["lbctl backend create web/b1 --address 10.0.0.11 --weight 2", "lbctl backend list web"],
)
def backend() -> None:
    """Backends: the servers of a pool, named POOL/NAME.

    To take one out of service: `drain` lets its flows finish, `disable` cuts them, `delete` cuts them and forgets the
    backend. `undrain` and `enable` bring it back.
    """


verbs.add_get_and_delete(
    backend,
    BACKEND,
    "web/b1",
    consequence="Its flows are cut. `lbctl backend drain` lets them finish first; `lbctl backend disable` cuts them "
    "too, but keeps the backend.",
)
add_state_verbs(backend)


def _weight_and_state(command: Callable[..., None]) -> Callable[..., None]:
    weight = click.option(
        "--weight",
        metavar="N",
        type=weight_number,
        help="Share of new flows relative to the other members, 0 to 65535; 1 unless set. 0: no new flows.",
    )
    admin_state = click.option(
        "--admin-state",
        type=click.Choice(["enabled", "draining", "disabled"], case_sensitive=False),
        callback=verbs.enum_value,
        help="draining: keeps its flows, takes no new ones. disabled: gets no packets.",
    )
    return weight(admin_state(command))


@backend.command("list", examples=["lbctl backend list", "lbctl backend list web", "lbctl backend list web -o json"])
@click.argument("pool", metavar="[POOL]", required=False, type=name_of(POOL), shell_complete=complete(POOL))
def list_(pool: Name | None) -> None:
    """List the backends of POOL, or of all pools."""
    with connect() as client:
        verbs.show_list(BACKEND, client.list(BACKEND, pool.full if pool else ALL_POOLS))


@backend.command(
    examples=[
        "lbctl backend create web/b1 --address 10.0.0.11",
        "lbctl backend create web/b1 --address 10.0.0.11 --weight 2 --admin-state disabled",
    ]
)
@verbs.name_argument(BACKEND, completed=POOL, suffix="/")
@click.option("--address", metavar="IP", required=True, help="Address of the host, without a port.")
@_weight_and_state
@verbs.validate_only_option
def create(name: Name, address: str, weight: int | None, admin_state: str | None, validate_only: bool) -> None:
    """Create a backend.

    lbd looks for its next hop for up to a second; without one it takes no flows, and its REASON says why.
    """
    verbs.create(BACKEND, name, {"address": address, "weight": weight, "admin_state": admin_state}, validate_only)


@backend.command(
    examples=["lbctl backend update web/b1 --weight 3", "lbctl backend update web/b1 --admin-state draining"]
)
@verbs.name_argument(BACKEND)
@_weight_and_state
@verbs.etag_option
@verbs.validate_only_option
def update(name: Name, weight: int | None, admin_state: str | None, etag: str, validate_only: bool) -> None:
    """Change a backend.

    Its address never changes: create another backend instead.
    """
    verbs.update(BACKEND, name, {"weight": weight, "admin_state": admin_state}, etag, validate_only)
