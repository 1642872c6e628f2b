# SPDX-License-Identifier: Apache-2.0
"""The history as a table, and one revision in full. Pure: messages in, text out."""

from __future__ import annotations

from collections.abc import Iterable

from lb.cli.plan_view import difference_lines, summary
from lb.cli.views import NOTHING, Sheet
from lb.v1.config_pb2 import Revision

DENIED = "denied"


def history_sheet(revisions: Iterable[Revision]) -> Sheet:
    """One row for each record; denied calls say so where others have their revision."""
    return Sheet(("REV", "TIME", "WHO", "FROM", "WHAT", "NOTE"), tuple(map(_row, revisions)))


def revision_lines(revision: Revision) -> list[str]:
    """What is known of a revision, an empty line, and what it changed."""
    facts = (
        ("revision", str(revision.revision)),
        ("time", f"{_time(revision)} UTC"),
        ("who", revision.who),
        ("from", revision.origin),
        ("call", revision.method),
        ("note", revision.note),
    )
    return [
        *(f"{name + ':':10}{value}" for name, value in facts if value),
        "",
        *(difference_lines(revision.differences) or ["no object changed"]),
    ]


def _row(revision: Revision) -> tuple[str, ...]:
    return (
        str(revision.revision or DENIED),
        _time(revision),
        revision.who or NOTHING,
        revision.origin or NOTHING,
        summary(revision.differences) or revision.method or NOTHING,
        revision.note or NOTHING,
    )


def _time(revision: Revision) -> str:
    return f"{revision.time.ToDatetime():%Y-%m-%d %H:%M:%S}"
