# SPDX-License-Identifier: Apache-2.0
"""Names on the command line: ``web`` and ``web/b1``, or the API's full ones. The server judges their letters."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import click

from lb.cli.exits import Failure
from lb.cli.options import settings_of
from lb.cli.session import connect

COMPLETION_TIMEOUT_SECONDS = 1.0
"""A shell that waits longer for TAB feels broken."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource: ``noun`` on the command line, ``plural`` in names and lists, ``title`` in sentences."""

    noun: str
    plural: str
    title: str


VIP = Kind("vip", "vips", "VIP")
POOL = Kind("pool", "pools", "pool")
BACKEND = Kind("backend", "backends", "backend")
ALL_POOLS = "pools/-"
"""Parent of the backends of every pool."""


@dataclass(frozen=True, slots=True)
class Name:
    """A resource name in its parts: ``parent`` is "" or "pools/web", ``full`` is "pools/web/backends/b1"."""

    parent: str
    id: str
    full: str


def short(full: str) -> str:
    """ "pools/web/backends/b1" as the command line writes it: "web/b1"."""
    return "/".join(full.split("/")[1::2])


def name_of(kind: Kind) -> Callable[[str], Name]:
    """Type of a parameter that names a resource; raises ``click.BadParameter`` when a backend's pool is missing."""

    def parse(text: str) -> Name:
        if kind is not BACKEND:
            own = text.removeprefix(f"{kind.plural}/")
            if "/" in own:
                raise click.BadParameter(f"{text!r} names no {kind.title}: write a name such as web, without a slash")
            return Name("", own, f"{kind.plural}/{own}")
        match = re.fullmatch("pools/([^/]*)/backends/(.*)", text) or re.fullmatch("([^/]*)/(.*)", text)
        if match is None:
            raise click.BadParameter(f"{text!r} names no pool: write POOL/NAME, such as web/{text or 'b1'}")
        parent = f"pools/{match[1]}"
        return Name(parent, match[2], f"{parent}/backends/{match[2]}")

    return parse


def complete(kind: Kind, suffix: str = "") -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completer of a parameter: the names that the daemon knows; none, silently, when it can't be asked."""

    def names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        try:
            with connect(settings_of(ctx), timeout_seconds=COMPLETION_TIMEOUT_SECONDS) as client:
                known = [short(message.name) + suffix for message in client.list(kind)]
        except (Failure, KeyError):
            # KeyError: a global option on the line does not parse, so there is no target.
            return []
        return [name for name in known if name.startswith(incomplete)]

    return names
