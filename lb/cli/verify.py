# SPDX-License-Identifier: Apache-2.0
"""``lbctl verify``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from lb.cli.exits import Exit, Failure
from lb.cli.options import Command
from lb.cli.output import emit, to_data
from lb.cli.session import connect

if TYPE_CHECKING:
    from lb.cli.views import Sheet
    from lb.v1.config_pb2 import VerifyDataPlaneResponse


@click.command(cls=Command, examples=["lbctl verify", "lbctl verify -o json"])
def verify() -> None:
    """Check that the data plane is what the configuration says.

    lbd reads all its maps back and compares every word. Exit code 0 when nothing differs, else 1, with what differs on
    stderr.
    """
    with connect(patient=True) as client:
        found = client.call("Config", "VerifyDataPlane")
    emit(partial(to_data, found), lambda: [_sheet(found)])
    if found.problems:
        raise Failure(Exit.FAILED, "the data plane differs from the configuration:", tuple(found.problems))


def _sheet(found: VerifyDataPlaneResponse) -> Sheet:
    from lb.cli.views import Sheet

    rows = (
        ("REVISION", str(found.revision)),
        ("COMPARED", f"{found.compared:,} words and entries"),
        ("DIFFERENT", str(len(found.problems))),
    )
    return Sheet((), rows)
