# SPDX-License-Identifier: Apache-2.0
"""Updates: which fields of a resource a call changes."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from lb.core.errors import Violation
from lb.core.validate import Found, quote

FIRST_OUTPUT_FIELD = 50
"""Fields of a resource from this number on are reported by the balancer, not set (see proto/lb/v1/README.md)."""

M = TypeVar("M", bound=Message)


def overlay(
    found: Found, current: M, wanted: M, mask: FieldMask, mutable: frozenset[str], fixed: Mapping[str, str]
) -> M:
    """``current`` with the fields that the mask names taken from ``wanted``; one that is not set there is cleared.

    An empty mask or "*" takes every mutable field, and the fixed ones that are set: ``check_fixed`` then tells a
    wish to change one from a resource that was read, edited and sent back.

    Args:
        mutable: Fields that may change.
        fixed: Fields that may not, with the remedy for those who want that.
    """
    present = {field.name for field, _ in wanted.ListFields()}
    paths = set(mask.paths)
    chosen: AbstractSet[str]
    if not paths or paths == {"*"}:
        chosen = mutable | (fixed.keys() & present)
    else:
        chosen = paths & mutable
        for path in sorted(paths - mutable):
            found.append(Violation("update_mask", _why_not(path, current, mutable, fixed)))
    merged = type(current)()
    merged.CopyFrom(current)
    for name in chosen:
        merged.ClearField(name)
    picked = type(wanted)()
    picked.CopyFrom(wanted)
    for name in present - chosen:
        picked.ClearField(name)
    merged.MergeFrom(picked)
    return merged


def check_fixed(found: Found, path: str, old: object, new: object, fixed: Mapping[str, str]) -> None:
    """Note the fixed fields in which two objects of the model differ."""
    for name, remedy in fixed.items():
        if getattr(old, name) != getattr(new, name):
            found.append(Violation(f"{path}.{name}", f"can't be changed by an update: {remedy}"))


def _why_not(path: str, message: Message, mutable: frozenset[str], fixed: Mapping[str, str]) -> str:
    if path in fixed:
        return f"{path} can't be changed by an update: {fixed[path]}"
    field = message.DESCRIPTOR.fields_by_name.get(path)
    choices = f"fields that an update can change: {', '.join(sorted(mutable))}"
    outer = message.DESCRIPTOR.fields_by_name.get(path.partition(".")[0])
    if field is None and outer and outer.message_type and outer.name in mutable:
        return f"{quote(path)}: name {outer.name} alone, it is replaced as a whole"
    if field is None:
        return f"{quote(path)} is not a field of {message.DESCRIPTOR.name}; {choices}"
    if field.number >= FIRST_OUTPUT_FIELD:
        return f"{path} is reported by the balancer, not set; {choices}"
    return f"{path} names the resource and can't be changed; {choices}"
