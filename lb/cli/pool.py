# SPDX-License-Identifier: Apache-2.0
"""``lbctl pool``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from lb.cli import health_options, verbs
from lb.cli.durations import whole_seconds
from lb.cli.names import POOL, Name
from lb.cli.numbers import seconds_number, whole_number
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
    *health_options.OPTIONS,
    click.option(
        "--slow-start",
        "slow_start_seconds",
        metavar="SECONDS",
        type=whole_seconds,
        help="After a backend came up its weight grows over this time; 0 unless set, up to 3600.",
    ),
    click.option(
        "--fail-open/--no-fail-open",
        default=None,
        help="Use all members when none is up: the default. Otherwise packets are dropped then.",
    ),
    click.option(
        "--min-healthy",
        "min_healthy_percent",
        metavar="PERCENT",
        type=whole_number,
        help="Fail open when fewer members than this are up; 0 unless set: when none is.",
    ),
    click.option(
        "--on-down",
        type=click.Choice(["reassign", "keep"], case_sensitive=False),
        callback=verbs.enum_value,
        help="The flows of a backend that goes down. reassign: they go to others, which reset them; unless set. "
        "keep: they stay.",
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
        "lbctl pool create web --description 'front servers, rack 4' --health-check tcp",
        "lbctl pool create web --health-check http --health-path /healthz --health-interval 2s --slow-start 30",
        "lbctl pool create tls --health-check https --health-host www.example.com --health-status 200,204",
        "lbctl pool create dns --udp-settle-seconds 10 --health-check udp --health-send hex:00010100",
    ]
)
@verbs.name_argument(POOL)
@_fields
@verbs.validate_only_option
def create(name: Name, validate_only: bool, **fields: Any) -> None:
    """Create an empty pool.

    `lbctl backend create` fills it. Without a health check its members count as up.
    """
    own, check = health_options.split(fields)
    if check:
        from lb.v1.pool_pb2 import HealthCheck

        own["health_check"] = health_options.changed_check(HealthCheck(), check)
    verbs.create(POOL, name, own, validate_only)


@pool.command(
    examples=[
        "lbctl pool update web --description 'front servers, rack 5'",
        "lbctl pool update web --settle-seconds 300 --drain-idle-seconds 60",
        "lbctl pool update web --health-check grpc --health-service shop.Cart --health-via direct",
        "lbctl pool update web --health-interval 500ms --health-timeout 200ms --health-fall 2",
        "lbctl pool update web --health-check none",
        "lbctl pool update web --no-fail-open --on-down keep",
        "lbctl pool update web --min-healthy 50",
    ]
)
@verbs.name_argument(POOL)
@_fields
@verbs.etag_option
@verbs.validate_only_option
def update(name: Name, etag: str, validate_only: bool, **fields: Any) -> None:
    """Change a pool: what is not given stays as it is.

    A --health option alone changes that of the check; another --health-check keeps what both kinds have in common.
    `lbctl backend` changes the members.
    """
    own, check = health_options.split(fields)
    if check:
        with connect() as client:
            current = client.get(POOL, name)
        own["health_check"] = health_options.changed_check(current.health_check, check)
        # What was read is what is changed: refused if somebody else was faster.
        etag = etag or current.etag
    verbs.update(POOL, name, own, etag, validate_only)
