# SPDX-License-Identifier: Apache-2.0
"""Who did what, when, from where."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

MAX_TEXT = 256
"""Characters of each text of a record: some come from callers that nobody knows."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call it is.

    ``who``: "root (uid 0)", a certificate's name, or "lbd" for what the daemon does by itself. ``origin``: "unix, pid
    4711", "192.0.2.7:53142", or "". ``method``: "BackendService.UpdateBackend", "lbd --config /etc/lb/lb.yaml", ...
    """

    who: str
    origin: str = ""
    method: str = ""


DAEMON = Caller("lbd")
"""The daemon itself."""


class Action(enum.Enum):
    """What became of an object."""

    ADDED = "ADDED"
    CHANGED = "CHANGED"
    REMOVED = "REMOVED"


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that differs between two configurations.

    ``name``: resource name, "pools/web/backends/b1"; "settings" for the settings. ``fields``: (field, old, new) of what
    differs, as short texts, "health_check.path"; "" for a side that has no such field or no object. Secrets are
    "(secret)".
    """

    action: Action
    name: str
    fields: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the history: a revision, or (``revision`` 0) a call that was denied.

    ``at``: seconds since the epoch (UTC). ``note``: for people: why it was denied, "rollback to revision 7", or "".
    ``number``: its place in the history, larger than those of all earlier records.
    """

    revision: int
    at: float
    caller: Caller
    differences: tuple[Difference, ...] = ()
    note: str = ""
    number: int = 0


def shorten(text: str, limit: int) -> str:
    """``text`` on one line: unprintable characters escaped, and cut to ``limit`` characters."""
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def bounded(record: Record) -> Record:
    """The record with the texts of its caller and its note as they are kept."""
    caller = record.caller
    who, origin, method, note = (
        shorten(text, MAX_TEXT) for text in (caller.who, caller.origin, caller.method, record.note)
    )
    return replace(record, caller=Caller(who, origin, method), note=note)
