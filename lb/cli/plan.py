# SPDX-License-Identifier: Apache-2.0
"""Plan, show, ask, apply: what `apply` and `rollback` have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lb.cli.exits import Exit, Failure
from lb.cli.numbers import percent_number
from lb.cli.options import settings
from lb.cli.output import emit_lines, note, to_data
from lb.cli.session import connect

if TYPE_CHECKING:
    from lb.cli.client import Client
    from lb.v1.config_pb2 import ApplyConfigResponse

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Wish:
    """How it is to be done. ``max_move_percent``: None = however much moves."""

    dry_run: bool
    yes: bool
    max_move_percent: float | None


def wish_options(command: F) -> F:
    """The options that make a ``Wish``."""
    for option in (
        click.option(
            "--max-move",
            "max_move_percent",
            metavar="PERCENT",
            type=percent_number,
            help="Refuse (exit 4) when more of a pool's flows would move or be cut.",
        ),
        click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked."),
        click.option("--dry-run", is_flag=True, help="Show the plan, change nothing."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change of the whole configuration, as a call of ConfigService.

    ``explain``: says a failure in the words of whoever wrote the input. ``empties``: it removes all pools and VIPs.
    """

    method: str
    fields: Mapping[str, Any]
    explain: Callable[[Failure], Failure] = lambda failure: failure
    empties: bool = False

    def plan(self, client: Client) -> ApplyConfigResponse:
        """What it would do now; raises ``Failure``."""
        return self.send(client, validate_only=True)

    def send(self, client: Client, **guard: Any) -> ApplyConfigResponse:
        """Make the call, with ``guard`` beside its own fields; raises ``Failure``."""
        try:
            answer: ApplyConfigResponse = client.call("Config", self.method, **self.fields, **guard)
        except Failure as failure:
            raise self.explain(failure) from failure.__cause__
        return answer


def _check_can_ask(wish: Wish) -> None:
    """Raise ``click.UsageError`` when the operator has to be asked and is not there."""
    if not (wish.dry_run or wish.yes or sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked here: give --yes to apply it, or --dry-run to see the plan")


def carry_out(proposal: Proposal, wish: Wish) -> None:
    """Plan, show, ask and apply, guarded by the revision that was planned from; raises ``Failure``."""
    _check_can_ask(wish)
    if proposal.empties and wish.yes and not wish.dry_run:
        raise click.UsageError(
            "the file names no pool and no VIP, so --prune would remove all of them: is it the right file, and whole? "
            "If that is wanted, leave out --yes, and confirm it"
        )
    with connect(patient=True) as client:
        plan = proposal.plan(client)
        if wish.dry_run or not plan.differences:
            show_plan(plan)
        else:
            _announce(plan)
        if not plan.differences:
            return
        guard: dict[str, Any] = {"base_revision": plan.revision}
        if wish.max_move_percent is not None:
            guard["max_move_percent"] = wish.max_move_percent
            # Refused before anybody is asked, but not before they have seen what would move.
            _send(proposal, client, validate_only=True, **guard)
        if wish.dry_run:
            note("dry run: nothing was changed")
        elif wish.yes or _confirms():
            _report(_send(proposal, client, **guard))
        else:
            raise Failure(Exit.FAILED, "nothing was changed")


def _confirms() -> bool:
    """What the operator says to it; Ctrl-C and the end of the input are a no."""
    try:
        return click.confirm("Apply this?", err=True)
    except click.Abort:
        click.echo(err=True)
        return False


def show_plan(plan: ApplyConfigResponse) -> None:
    """The plan on stdout, or that there is nothing to do."""
    # Here and not at the top: the generated messages are slow to load.
    from lb.cli.plan_view import plan_lines

    emit_lines(partial(to_data, plan), partial(plan_lines, plan))
    if not plan.differences:
        note(f"nothing to change: revision {plan.revision} is like that already")


def _announce(plan: ApplyConfigResponse) -> None:
    """The plan for people; on stderr where stdout is for data, which will be what came of it."""
    from lb.cli.plan_view import plan_lines

    for line in plan_lines(plan):
        click.echo(line, err=settings().output in ("json", "yaml"))


def _send(proposal: Proposal, client: Client, **guard: Any) -> ApplyConfigResponse:
    """Make the call; when it comes too late, show what it would do by now."""
    from lb.cli.rpc_errors import is_stale

    try:
        return proposal.send(client, **guard)
    except Failure as failure:
        if is_stale(failure):
            note("somebody else changed the configuration meanwhile; this is what would change now:")
            _show_anew(proposal, client)
        raise


def _show_anew(proposal: Proposal, client: Client) -> None:
    """What it would do by now, or why it can't be done any more: the conflict is what ends the command."""
    try:
        show_plan(proposal.plan(client))
    except Failure as failure:
        note(failure.format_message())


def _report(done: ApplyConfigResponse) -> None:
    from lb.cli.plan_view import measured_lines

    emit_lines(partial(to_data, done), partial(measured_lines, done.impacts))
    note(f"applied as revision {done.revision}")
