# SPDX-License-Identifier: Apache-2.0
"""What the verbs of vip, pool and backend share. A noun's module adds list, and the options of create and update."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from lb.cli.names import BACKEND, Kind, Name, complete, name_of, short
from lb.cli.options import Group
from lb.cli.output import emit, note, to_data
from lb.cli.session import connect

F = TypeVar("F", bound=Callable[..., Any])

MAX_FLAGS = 4
"""That a message lists."""

etag_option = click.option("--etag", default="", help="Refuse (exit 4) when the resource has another etag by now.")
validate_only_option = click.option("--validate-only", is_flag=True, help="Check everything, change nothing.")


def enum_value(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Callback of a choice: "five-tuple" as the API writes the names of enums, "FIVE_TUPLE"."""
    return value.upper().replace("-", "_") if value else None


def name_argument(kind: Kind, completed: Kind | None = None, suffix: str = "") -> Callable[[F], F]:
    """The resource's name as an argument; TAB offers the names of ``completed`` (of ``kind`` if None) + ``suffix``."""
    metavar = "POOL/NAME" if kind is BACKEND else "NAME"
    return click.argument(
        "name", metavar=metavar, type=name_of(kind), shell_complete=complete(completed or kind, suffix)
    )


def add_get_and_delete(group: Group, kind: Kind, example: str, consequence: str = "") -> None:
    """Add the two verbs that need nothing but a name.

    ``example``: the name in the examples. ``consequence``: what a delete does beside that, for its help.
    """

    @group.command(
        "get",
        help=f"Show one {kind.title} in full.",
        examples=[f"lbctl {kind.noun} get {example}", f"lbctl {kind.noun} get {example} -o yaml"],
    )
    @name_argument(kind)
    def get(name: Name) -> None:
        with connect() as client:
            show(kind, client.get(kind, name))

    @group.command(
        "delete",
        help=f"Delete a {kind.title}, without asking." + (f"\n\n{consequence}" if consequence else ""),
        examples=[f"lbctl {kind.noun} delete {example}", f"lbctl {kind.noun} delete {example} --validate-only"],
    )
    @name_argument(kind)
    @etag_option
    @validate_only_option
    def delete(name: Name, etag: str, validate_only: bool) -> None:
        with connect() as client:
            client.delete(kind, name, etag=etag, validate_only=validate_only)
        _report("deleted", kind, name, validate_only)


def create(kind: Kind, name: Name, fields: dict[str, Any], validate_only: bool) -> None:
    """Create a resource; fields that are None were not given."""
    with connect() as client:
        made = client.create(kind, name, fields, validate_only=validate_only)
    show(kind, made)
    _report("created", kind, name, validate_only)
    _warn_if_out(kind, made, validate_only)


def update(kind: Kind, name: Name, fields: dict[str, Any], etag: str, validate_only: bool) -> None:
    """Change the fields that were given; raises ``click.UsageError`` when none was."""
    given = {key: value for key, value in fields.items() if value is not None}
    if not given:
        params = click.get_current_context().command.params
        flags = ["/".join(param.opts + param.secondary_opts) for param in params if param.name in fields]
        if len(flags) > MAX_FLAGS:
            raise click.UsageError(f"nothing to change: give an option such as {flags[0]}; --help shows all")
        raise click.UsageError(f"nothing to change: give {' or '.join(flags)}")
    with connect() as client:
        changed = client.update(kind, name, given, etag=etag, validate_only=validate_only)
    show(kind, changed)
    _report("updated", kind, name, validate_only)
    _warn_if_out(kind, changed, validate_only)


def show(kind: Kind, message: Any) -> None:
    """One resource on stdout."""
    from lb.cli.resource_views import detail_sheet

    emit(lambda: to_data(message), lambda: [detail_sheet(kind, message, time.time())])


def show_list(kind: Kind, messages: Iterable[Any]) -> None:
    """Resources on stdout, all pages as one list."""
    from lb.cli.resource_views import list_sheet

    found = list(messages)
    emit(
        lambda: {kind.plural: [to_data(message) for message in found]},
        lambda: [list_sheet(kind, found, time.time())],
    )
    if not found:
        note(f"no {kind.title}s; `lbctl {kind.noun} create --help` shows how to make one")


def _report(done: str, kind: Kind, name: Name, validate_only: bool) -> None:
    text = f"{kind.noun} {short(name.full)}"
    note(f"valid, nothing was changed: {text}" if validate_only else f"{done} {text}")


def _warn_if_out(kind: Kind, message: Any, validate_only: bool) -> None:
    from lb.cli.backend_view import why_out

    if kind is BACKEND and not validate_only and not message.status.in_ring:
        reason = why_out(message) or "lbd does not say why"
        note(f"it takes no new flows now: {reason}")
