# SPDX-License-Identifier: Apache-2.0
"""The verbs that change what a backend takes: drain, undrain, disable, enable. Each takes any number of backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from lb.cli import verbs
from lb.cli.drain_wait import wait as wait_for_drains
from lb.cli.durations import whole_seconds
from lb.cli.exits import Exit, Failure
from lb.cli.names import BACKEND, Name, complete, name_of, short
from lb.cli.options import Group
from lb.cli.output import note
from lb.cli.session import connect

if TYPE_CHECKING:
    from lb.cli.client import Client

Act = Callable[["Client", Name, bool], Any]
"""Changes one backend, or (the last argument) checks only whether it could; returns it."""

_names_argument = click.argument(
    "names",
    metavar="POOL/NAME...",
    nargs=-1,
    required=True,
    type=name_of(BACKEND),
    shell_complete=complete(BACKEND),
    callback=lambda _ctx, _param, names: tuple(dict.fromkeys(names)),
)


def add_state_verbs(group: Group) -> None:
    """Add the verbs to `lbctl backend`."""

    @group.command(
        examples=[
            "lbctl backend drain web/b1",
            "lbctl backend drain web/b1 web/b2 --deadline 10m",
            "lbctl backend drain web/b1 --wait",
        ]
    )
    @_names_argument
    @click.option(
        "--deadline",
        "deadline_seconds",
        metavar="TIME",
        type=whole_seconds,
        default="0",
        help="Such as 90s, 10m or 2h, up to 7d: cut the flows that are left then, and disable it. None unless set.",
    )
    @click.option("--wait", is_flag=True, help="Return when all are drained or cut; show how far they are meanwhile.")
    @verbs.validate_only_option
    def drain(names: tuple[Name, ...], deadline_seconds: int, wait: bool, validate_only: bool) -> None:
        """Let backends finish: no new flows; those that they have go on.

        For maintenance. `undrain` takes it back; a second drain sets another deadline, or none. `disable` and `delete`
        cut the flows instead. With --wait, Ctrl-C ends the waiting (exit 1), not the drain.
        """

        def act(client: Client, name: Name, check_only: bool) -> Any:
            return client.call(
                "Backend",
                "DrainBackend",
                name=name.full,
                deadline_seconds=deadline_seconds,
                validate_only=check_only,
            )

        _change(names, act, "draining", validate_only, wait=wait)

    @group.command(examples=["lbctl backend undrain web/b1", "lbctl backend undrain web/b1 web/b2"])
    @_names_argument
    @verbs.validate_only_option
    def undrain(names: tuple[Name, ...], validate_only: bool) -> None:
        """End the drain of backends: they take new flows again.

        Refused (exit 4) for a disabled one: `enable` is the word for that.
        """
        _change(names, _undrain, "undrained", validate_only)

    @group.command(examples=["lbctl backend disable web/b1", "lbctl backend disable web/b1 web/b2 --validate-only"])
    @_names_argument
    @verbs.validate_only_option
    def disable(names: tuple[Name, ...], validate_only: bool) -> None:
        """Send backends no packets at all: their flows are cut.

        They stay configured, and `enable` brings them back. `drain` lets flows finish first; `delete` cuts them too,
        and forgets the backend.
        """
        _change(names, _setting("DISABLED"), "disabled", validate_only)

    @group.command(examples=["lbctl backend enable web/b1", "lbctl backend enable web/b1 web/b2"])
    @_names_argument
    @verbs.validate_only_option
    def enable(names: tuple[Name, ...], validate_only: bool) -> None:
        """Let backends take new flows.

        Whether they were disabled or draining: it ends a drain as `undrain` does.
        """
        _change(names, _setting("ENABLED"), "enabled", validate_only)


def _setting(admin_state: str) -> Act:
    def act(client: Client, name: Name, check_only: bool) -> Any:
        return client.update(BACKEND, name, {"admin_state": admin_state}, etag="", validate_only=check_only)

    return act


def _undrain(client: Client, name: Name, check_only: bool) -> Any:
    backend = client.get(BACKEND, name)
    if backend.admin_state == backend.DISABLED:
        known = short(name.full)
        raise Failure(Exit.CONFLICT, f"{known} is disabled, not draining: `lbctl backend enable {known}` enables it")
    # The etag: it must still be so.
    return client.update(BACKEND, name, {"admin_state": "ENABLED"}, etag=backend.etag, validate_only=check_only)


def _change(names: Sequence[Name], act: Act, done: str, validate_only: bool, *, wait: bool = False) -> None:
    """Change all, or none when one of them can't be changed."""
    with connect() as client:
        if len(names) > 1 and not validate_only:
            for name in names:
                act(client, name, True)
        changed = [act(client, name, validate_only) for name in names]
        words = " ".join(short(name.full) for name in names)
        note(f"valid, nothing was changed: backend {words}" if validate_only else f"{done} backend {words}")
        if wait and not validate_only:
            wait_for_drains(client, names)
        if not validate_only and (wait or len(names) > 1):
            # Each was answered before the next one changed: their shares would not add up.
            changed = [client.get(BACKEND, name) for name in names]
    verbs.show_list(BACKEND, changed)
