# SPDX-License-Identifier: Apache-2.0
"""Who did what, when, from where."""

from __future__ import annotations

import enum
from dataclasses import dataclass


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
    differs, as short texts; "" for a side on which the object is not there. Secrets are "(secret)".
    """

    action: Action
    name: str
    fields: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the history: a revision, or (``revision`` 0) a call that was denied.

    ``at``: seconds since the epoch (UTC). ``note``: for people: why it was denied, "rollback to revision 7", or "".
    """

    revision: int
    at: float
    caller: Caller
    differences: tuple[Difference, ...] = ()
    note: str = ""
