# SPDX-License-Identifier: Apache-2.0
"""Data to stdout in the format that was asked for, messages to stderr. Slow libraries load when they are used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from lb.cli.options import settings

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from lb.cli.views import Sheet

Data = dict[str, Any]


def to_data(message: Message, *, defaults: bool = True) -> Data:
    """The protobuf JSON mapping of a message; with ``defaults``, fields that are 0, false or empty are there too."""
    from google.protobuf import json_format

    return json_format.MessageToDict(message, always_print_fields_with_no_presence=defaults)


def to_json(data: Data) -> str:
    """Indented JSON."""
    return json.dumps(data, indent=2, ensure_ascii=False)


def to_yaml(data: Data) -> str:
    """Block-style YAML, keys in the order of the data."""
    import yaml

    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True)).rstrip("\n")


def emit(data: Callable[[], Data], sheets: Callable[[], Sequence[Sheet]]) -> None:
    """Print on stdout: ``data`` as JSON or YAML, or ``sheets`` as tables."""
    if not _emit_data(data):
        from lb.cli.draw import draw

        click.echo(draw(sheets()))


def emit_lines(data: Callable[[], Data], lines: Callable[[], Iterable[str]]) -> None:
    """Like ``emit`` for what is no table."""
    if not _emit_data(data):
        for line in lines():
            click.echo(line)


def _emit_data(data: Callable[[], Data]) -> bool:
    """Print it if JSON or YAML was asked for; whether it was."""
    render = {"json": to_json, "yaml": to_yaml}.get(settings().output or "")
    if render is not None:
        click.echo(render(data()))
    return render is not None


def note(text: str) -> None:
    """A message for people, on stderr."""
    click.echo(text, err=True)
