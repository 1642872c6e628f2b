# SPDX-License-Identifier: Apache-2.0
"""Changes of the configuration, and what they do to flows, as lines for people. Pure: messages in, lines out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lb.cli.durations import moment
from lb.cli.names import short
from lb.core import audit
from lb.core.impact import upheavals
from lb.core.model import RING_SIZE
from lb.v1.config_pb2 import ApplyConfigResponse, Difference, Impact

_SIGNS = {Difference.ADDED: "+", Difference.CHANGED: "~", Difference.REMOVED: "-"}
_WORDS = {Difference.ADDED: "added", Difference.CHANGED: "changed", Difference.REMOVED: "removed"}
_NOUNS = {"vips": "vip", "pools": "pool", "backends": "backend"}
MAX_FIELDS = 2
MAX_GIST = 24
"""Of a line for one object: fields, and characters of each value."""

NONE = "(none)"
_ACTIONS = {
    Difference.ADDED: audit.Action.ADDED,
    Difference.CHANGED: audit.Action.CHANGED,
    Difference.REMOVED: audit.Action.REMOVED,
}


def plan_lines(plan: ApplyConfigResponse) -> list[str]:
    """What changes, an empty line, and what that does to flows; nothing when nothing changes."""
    if not plan.differences:
        return []
    effects = [*map(_impact_line, plan.impacts), *_upheavals(plan.differences)]
    return [*difference_lines(plan.differences), "", *(effects or ["no flow moves"])]


def difference_lines(differences: Iterable[Difference]) -> list[str]:
    """Each object that differs, its fields indented below it."""
    lines = []
    for difference in differences:
        lines.append(f"{_SIGNS.get(difference.action, '?')} {object_name(difference.name)}")
        lines += _field_lines(difference)
    return lines


def measured_lines(impacts: Iterable[Impact]) -> list[str]:
    """What was counted after the change, next to what was predicted."""
    return [
        f"{_ring(impact)}: {_slots(impact.measured_moved_slots)} moved, {_verdict(impact)}"
        for impact in impacts
        if impact.HasField("measured_moved_slots")
    ]


def summary(differences: Sequence[Difference]) -> str:
    """In a few words: the object when there is one, and what became of it, else how many there are of each kind."""
    if len(differences) == 1:
        return (
            f"{_WORDS.get(differences[0].action, 'touched')} {object_name(differences[0].name)}{_gist(differences[0])}"
        )
    counts = {words: sum(item.action == action for item in differences) for action, words in _WORDS.items()}
    return ", ".join(f"{count} {words}" for words, count in counts.items() if count)


def object_name(name: str) -> str:
    """ "backend web/b1" for "pools/web/backends/b1"; "settings" is itself."""
    parts = name.split("/")
    return f"{_NOUNS.get(parts[-2], parts[-2])} {short(name)}" if len(parts) > 1 else name


def _gist(difference: Difference) -> str:
    """The first fields of an object that changed, with their new values."""
    if difference.action != Difference.CHANGED or not difference.fields:
        return ""
    shown = [
        f"{field.name} -> {audit.shorten(_value(field.name, field.new), MAX_GIST)}"
        for field in difference.fields[:MAX_FIELDS]
    ]
    return f": {', '.join(shown)}{', ...' if len(difference.fields) > MAX_FIELDS else ''}"


def _field_lines(difference: Difference) -> list[str]:
    """Of an object that has one side only, what is set; else both sides of what differs."""
    lines = []
    for field in difference.fields:
        old, new = _value(field.name, field.old), _value(field.name, field.new)
        if difference.action not in (Difference.ADDED, Difference.REMOVED):
            lines.append(f"    {field.name}: {old} -> {new}")
        elif (value := new if difference.action == Difference.ADDED else old) != NONE:
            lines.append(f"    {field.name}: {value}")
    return lines


def _value(field: str, text: str) -> str:
    """As the configuration file has it, or in the words of people; lbd gives "" for what is not set."""
    if field == "drain_deadline":
        return moment(int(text)) if text.isdigit() and int(text) else NONE
    if not text and field in ("outer_source_ipv4", "outer_source_ipv6"):
        return "off"
    return text or NONE


def _impact_line(impact: Impact) -> str:
    moves, kept = "no slot moves", "existing flows are kept"
    if impact.moved_slots:
        share = _percent(impact.new_flows_percent)
        moves = f"{impact.moved_slots:,} of {RING_SIZE:,} slots move ({share} of new flows)"
    if impact.cut_slots:
        kept = f"{_percent(impact.existing_flows_percent)} of existing flows are cut"
    return f"{_ring(impact)}: {moves}, {kept}"


def _upheavals(differences: Iterable[Difference]) -> list[str]:
    """What moves or cuts flows without moving a slot; an action that this lbctl does not know has no such line."""
    return upheavals(
        audit.Difference(
            _ACTIONS[item.action], item.name, tuple((field.name, field.old, field.new) for field in item.fields)
        )
        for item in differences
        if item.action in _ACTIONS
    )


def _ring(impact: Impact) -> str:
    return f"pool {short(impact.pool)} {impact.protocol.lower()}"


def _verdict(impact: Impact) -> str:
    if impact.measured_moved_slots == impact.moved_slots:
        return "as predicted"
    return f"{impact.moved_slots:,} were predicted"


def _slots(count: int) -> str:
    return f"{count:,} {'slot' if count == 1 else 'slots'}"


def _percent(percent: float) -> str:
    return "less than 0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %"
