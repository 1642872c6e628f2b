# SPDX-License-Identifier: Apache-2.0
"""``lbctl diff`` and ``lbctl apply``."""

from __future__ import annotations

import click

from lb.cli.config_input import file_option, proposal_of, prune_option
from lb.cli.exits import Exit
from lb.cli.options import Command
from lb.cli.plan import Wish, carry_out, show_plan, wish_options
from lb.cli.session import connect


@click.command(
    cls=Command,
    examples=["lbctl diff -f lb.yaml", "lbctl diff -f lb.yaml --prune", "lbctl diff -f lb.yaml -o json"],
)
@file_option
@prune_option
@click.option("--exit-code", is_flag=True, help="Exit with 10 when something differs.")
def diff(file: str, prune: bool, exit_code: bool) -> None:
    """Show what a file would change.

    Each object that differs with its fields, old -> new, and what the change would do to flows: how many slots of each
    pool's ring move, and which share of new and existing flows is affected. Changes nothing.
    """
    proposal = proposal_of(file, prune)
    with connect(patient=True) as client:
        plan = proposal.plan(client)
    show_plan(plan)
    if exit_code and plan.differences:
        click.get_current_context().exit(Exit.DIFFERENT)


@click.command(
    cls=Command,
    examples=[
        "lbctl apply -f lb.yaml --dry-run",
        "lbctl apply -f lb.yaml --yes",
        "lbctl apply -f lb.yaml --yes --prune --max-move 40",
    ],
)
@file_option
@prune_option
@wish_options
def apply(file: str, prune: bool, dry_run: bool, yes: bool, max_move_percent: float | None) -> None:
    """Make the configuration what a file says.

    All of it or nothing. For objects in the file the file wins; others stay unless --prune is given. Shows the plan as
    `lbctl diff` does and asks. When somebody else changes the configuration meanwhile, nothing is applied (exit 4).
    Afterwards it counts what moved.
    """
    carry_out(proposal_of(file, prune), Wish(dry_run, yes, max_move_percent))
