# SPDX-License-Identifier: Apache-2.0
"""Objects as plain dicts, led by a description of their fields: what ``lb.core.codec`` is made of."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

VERSION = 3
"""Of the format; 1 and 2 are read too."""

Plain = dict[str, object]
T = TypeVar("T")


class CodecError(ValueError):
    """A dict that this release did not write: names the object and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Field:
    """How a value is written and read; ``read`` raises ``ValueError`` or ``TypeError``.

    ``first``: the version that brought the field. ``absent``: what its absence from older ones means, in plain form.
    """

    write: Callable[[Any], object]
    read: Callable[[object], Any]
    first: int = 1
    absent: object = None

    def since(self, version: int, absent: object) -> Field:
        """The same, for a field that a later version brought."""
        return replace(self, first=version, absent=absent)


class Shape(dict[str, Field]):
    """The fields of an object, by the names that they have in the model and in the dict."""


def encode(shape: Shape, value: object) -> Plain:
    """The object as a dict with the format's version."""
    return {"version": VERSION, **_write(shape, value)}


def decode(what: str, shape: Shape, plain: Plain, build: Callable[..., T], **more: object) -> T:
    """Inverse of ``encode``.

    Args:
        what: The object, for messages.
        shape: Its fields.
        plain: Its dict, of this version or an older one.
        build: Makes the object of its fields.
        more: Fields that are not in the dict.

    Raises:
        CodecError: Another release wrote the dict, or something else did.
    """
    if not isinstance(plain, dict):
        raise CodecError(f"{what}: not a JSON object")
    version = plain.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise CodecError(
            f"{what}: format version {version!r}, this release reads 1 to {VERSION}: use the one that wrote it"
        )
    try:
        fields = _read(shape, {name: value for name, value in plain.items() if name != "version"}, version)
    except ValueError as error:
        raise CodecError(f"{what}: {error}") from None
    return build(**more, **fields)


def _write(shape: Shape, value: object) -> Plain:
    return {name: field.write(getattr(value, name)) for name, field in shape.items()}


def _read(shape: Shape, rest: Plain, version: int) -> dict[str, Any]:
    """The fields' values, taken out of ``rest``; raises ``ValueError``."""
    values: dict[str, Any] = {}
    for name, field in shape.items():
        if field.first <= version and name not in rest:
            raise ValueError(f"{name!r} is missing")
        plain = rest.pop(name) if field.first <= version else field.absent
        try:
            values[name] = field.read(plain)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name}: {error}") from None
    if rest:
        raise ValueError(f"unknown field {', '.join(sorted(rest))}: a newer release wrote it")
    return values


def whole() -> Field:
    """A whole number."""
    return Field(_same, _int)


def boolean() -> Field:
    """True or false."""
    return Field(_same, _bool)


def text() -> Field:
    """Text."""
    return Field(_same, _text)


def texted(parse: Callable[[str], Any]) -> Field:
    """Something whose ``str`` is parsed back by ``parse``."""
    return Field(str, lambda plain: parse(_text(plain)))


def hexadecimal(length: int | None = None) -> Field:
    """Bytes, ``length`` of them."""

    def read(plain: object) -> bytes:
        value = bytes.fromhex(_text(plain))
        if length is not None and len(value) != length:
            raise ValueError(f"has {len(value)} bytes, not {length}")
        return value

    return Field(bytes.hex, read)


def by_value(kind: type[enum.Enum]) -> Field:
    """A member of an enum by its value."""
    return Field(lambda member: member.value, kind)


def by_name(kind: type[enum.Enum]) -> Field:
    """A member of an enum by its name: its value belongs to the data plane."""

    def read(plain: object) -> enum.Enum:
        name = _text(plain)
        if name not in kind.__members__:
            raise ValueError(f"{name!r} is not a valid {kind.__name__}")
        return kind.__members__[name]

    return Field(lambda member: member.name, read)


def optional(field: Field) -> Field:
    """None, or what the field says."""
    return Field(
        lambda value: None if value is None else field.write(value),
        lambda plain: None if plain is None else field.read(plain),
    )


def nested(shape: Shape, build: Callable[..., Any]) -> Field:
    """An object inside an object; it has no version of its own."""

    def read(plain: object) -> Any:
        if not isinstance(plain, dict):
            raise TypeError(f"{plain!r} is not a JSON object")
        return build(**_read(shape, dict(plain), VERSION))

    return Field(lambda value: _write(shape, value), read)


def _same(value: Any) -> object:
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is not true or false")
    return value
