# SPDX-License-Identifier: Apache-2.0
"""What lbd and its prober say to each other: JSON, one object a line, each of bounded length.

lbd: {"remove": [number], "checks": [check], "add": [[number, place in "checks", backend, address, port, mark]]}.
The prober: {"outcomes": [[number, error, started_at, ended_at]], "warnings": [text]}, once it is ready at least each
second.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import Any

from lb.core.checks import CheckKind, CheckVia, HealthCheck, Outcome, Target

MAX_LINE_BYTES = 4 << 20
TARGETS_PER_LINE = 64
"""Each may have a check of its own, whose texts may have 10,000 characters of 4 bytes."""

OUTCOMES_PER_LINE = 256

_CHECK_FIELDS = tuple(each.name for each in fields(HealthCheck))


@dataclass(frozen=True, slots=True)
class Change:
    """Targets, by number, that are to be probed from now on, and no longer."""

    added: Sequence[tuple[int, Target]] = ()
    removed: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What happened since the last one."""

    outcomes: Sequence[tuple[int, Outcome]] = ()
    warnings: Sequence[str] = ()


def changes(before: Mapping[int, Target], after: Mapping[int, Target]) -> Iterator[Change]:
    """What leads from one set of numbered targets to another, in pieces that fit into a line."""
    removed = iter(before.keys() - after.keys())
    while piece := tuple(itertools.islice(removed, OUTCOMES_PER_LINE)):
        yield Change(removed=piece)
    added = iter(number for number in after if number not in before)
    while piece := tuple(itertools.islice(added, TARGETS_PER_LINE)):
        yield Change(added=[(number, after[number]) for number in piece])


def encode_change(change: Change) -> bytes:
    """A line."""
    places: dict[HealthCheck, int] = {}
    added = [
        (number, places.setdefault(each.check, len(places)), str(each.backend), str(each.address), each.port, each.mark)
        for number, each in change.added
    ]
    return _line({"remove": change.removed, "checks": [_write_check(check) for check in places], "add": added})


def decode_change(line: bytes) -> Change:
    """Inverse of ``encode_change``."""
    plain = json.loads(line)
    checks = [_read_check(each) for each in plain["checks"]]
    added = [
        (number, Target(checks[place], ip_address(backend), ip_address(address), port, mark))
        for number, place, backend, address, port, mark in plain["add"]
    ]
    return Change(added, plain["remove"])


def encode_report(report: Report) -> bytes:
    """A line."""
    outcomes = [(number, each.error, each.started_at, each.ended_at) for number, each in report.outcomes]
    return _line({"outcomes": outcomes, "warnings": report.warnings})


def decode_report(line: bytes) -> Report:
    """Inverse of ``encode_report``. Raises ``ValueError`` for anything else."""
    try:
        plain = json.loads(line)
        outcomes = [
            (int(number), Outcome(str(error), *map(float, times))) for number, error, *times in plain["outcomes"]
        ]
        return Report(outcomes, [str(each) for each in plain["warnings"]])
    except (LookupError, TypeError) as error:
        raise ValueError(f"not a report: {error!r}") from error


def _line(plain: Mapping[str, object]) -> bytes:
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _write_check(check: HealthCheck) -> dict[str, object]:
    plain = {name: getattr(check, name) for name in _CHECK_FIELDS}
    via = check.via.value if check.via else None
    return plain | {"kind": check.kind.value, "via": via, "send": check.send.hex(), "expect": check.expect.hex()}


def _read_check(plain: dict[str, Any]) -> HealthCheck:
    via = CheckVia(plain["via"]) if plain["via"] else None
    send, expect = bytes.fromhex(plain["send"]), bytes.fromhex(plain["expect"])
    return HealthCheck(**plain | {"kind": CheckKind(plain["kind"]), "via": via, "send": send, "expect": expect})
