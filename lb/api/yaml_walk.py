# SPDX-License-Identifier: Apache-2.0
"""YAML to a protobuf message, led by the message's descriptor, with the place of every value.

The schema decides what a scalar means, not YAML's guesses: ``off`` stays text where the field is text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import yaml
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from lb.api.masks import FIRST_OUTPUT_FIELD
from lb.core.errors import Violation
from lb.core.validate import quote

_NULL = "tag:yaml.org,2002:null"
_INT_BITS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in the file; both count from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Sheet:
    """What a walk found: the place of every path, what is wrong, and the paths that need no second complaint."""

    places: dict[str, Place] = field(default_factory=dict)
    problems: list[tuple[Place, Violation]] = field(default_factory=list)
    covered: set[str] = field(default_factory=set)

    def place(self, path: str) -> Place:
        """Of a path, or of the nearest object around it."""
        return next((self.places[outer] for outer in _outwards(path) if outer in self.places), Place(1, 1))

    def is_covered(self, path: str) -> bool:
        """The path, or an object around it, has a complaint already."""
        return any(outer in self.covered for outer in _outwards(path))

    def note(self, place: Place, path: str, message: str) -> None:
        """One more problem."""
        self.problems.append((place, Violation(path or "file", message)))
        self.covered.add(path)


def fill(sheet: Sheet, path: str, node: yaml.Node, message: Message) -> None:
    """Set the fields of ``message`` from a mapping; an empty value sets none, and says that the message is empty."""
    sheet.places[path] = start(node)
    message.SetInParent()
    if node.tag == _NULL:
        return
    if not isinstance(node, yaml.MappingNode):
        sheet.note(start(node), path, f"needs fields, 'name: value' each on a line, not {_kind(node)}")
        return
    fields = message.DESCRIPTOR.fields_by_name
    first: dict[str, Place] = {}
    for key_node, value in node.value:
        place = start(key_node)
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else _kind(key_node)
        inner = f"{path}.{key}" if path else key
        if key in first:
            sheet.note(place, inner, f"is there twice, first in line {first[key].line}: remove one")
        elif key not in fields:
            _note_unknown(sheet, place, path, key, message)
        elif fields[key].number >= FIRST_OUTPUT_FIELD:
            sheet.note(place, inner, "is reported by the balancer, not set: remove it")
        elif fields[key].is_repeated:
            assert fields[key].message_type, "the schema has lists of messages only"
            _fill_list(sheet, inner, value, getattr(message, key))
        elif fields[key].message_type:
            fill(sheet, inner, value, getattr(message, key))
        else:
            _set_scalar(sheet, inner, value, message, cast(FieldDescriptor, fields[key]))
        first.setdefault(key, place)


def _fill_list(sheet: Sheet, path: str, node: yaml.Node, items: Any) -> None:
    sheet.places[path] = start(node)
    if node.tag == _NULL:
        return
    if not isinstance(node, yaml.SequenceNode):
        sheet.note(start(node), path, f"needs a list, every item after '- ', not {_kind(node)}")
        return
    for index, item in enumerate(node.value):
        fill(sheet, f"{path}[{index}]", item, items.add())


def _set_scalar(sheet: Sheet, path: str, node: yaml.Node, message: Message, field: FieldDescriptor) -> None:
    sheet.places[path] = start(node)
    if not isinstance(node, yaml.ScalarNode):
        sheet.note(start(node), path, f"needs one value, not {_kind(node)}")
    elif node.tag == _NULL:
        sheet.note(start(node), path, "has no value: give one, or remove the line")
    else:
        try:
            setattr(message, field.name, _scalar(node, field))
        except UnicodeError:
            sheet.note(start(node), path, "is not text: it has half a surrogate pair in it")
        except ValueError as error:
            sheet.note(start(node), path, str(error))


def _scalar(node: yaml.ScalarNode, field: FieldDescriptor) -> str | int | bool:
    """The value; ``ValueError`` says what is wrong with it."""
    text: str = node.value
    if field.type == FieldDescriptor.TYPE_STRING:
        return text
    if field.enum_type:
        return _enum_number(text, field.enum_type)
    quoted = node.style in ("'", '"')
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text not in ("true", "false") or quoted:
            raise ValueError(f"{quote(text)} is not a yes or no: write true or false, without quotes")
        return text == "true"
    low, high = _INT_BITS[field.type]
    if not re.fullmatch(r"-?(0|[1-9][0-9]{0,19})", text) or quoted:
        raise ValueError(f"{quote(text)} is not a whole number: write decimal digits, without quotes")
    if not low <= int(text) <= high:
        raise ValueError(f"{text} is out of range: write a number from {low} to {high} at most")
    return int(text)


def _enum_number(text: str, kind: EnumDescriptor) -> int:
    choices = [value.name for value in kind.values if value.number]
    if text not in choices:
        raise ValueError(
            f"{quote(text)} is not known{_guess(text.upper(), choices)}; choose one of {', '.join(choices)}"
        )
    return int(kind.values_by_name[text].number)


def _note_unknown(sheet: Sheet, place: Place, path: str, key: str, message: Message) -> None:
    known = [field.name for field in message.DESCRIPTOR.fields if field.number < FIRST_OUTPUT_FIELD]
    prefix = f"{path}." if path else ""
    hint = _guess(re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower(), known)
    if hint:
        # The right field is missing because of the typo: saying that too would only confuse.
        sheet.covered.update(prefix + name for name in known if repr(name) in hint)
    sheet.note(place, f"{prefix}{quote(key)[1:-1]}", f"unknown field{hint}; known here: {', '.join(known)}")


def _guess(text: str, choices: list[str]) -> str:
    close = difflib.get_close_matches(text[:64], choices, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _outwards(path: str) -> Iterator[str]:
    """ "pools[0].name", "pools[0]", "pools", ""."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    yield path


def start(node: yaml.Node | yaml.Event) -> Place:
    """Where a node or an event begins."""
    assert node.start_mark, "whatever comes from a text has its mark"
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else quote(node.value)
