# SPDX-License-Identifier: Apache-2.0
"""Objects as rows: each has a resource name and a JSON body."""

from __future__ import annotations

import json
from dataclasses import dataclass

from lb.core import codec
from lb.core.diff import Object, ObjectChange, encode

Write = tuple[str, tuple[object, ...]]
"""One SQL statement with its parameters."""

EVERYTHING = """
SELECT 'settings', body FROM settings
UNION ALL SELECT 'pools/' || name, body FROM pools
UNION ALL SELECT 'pools/' || pool || '/backends/' || name, body FROM backends
UNION ALL SELECT 'vips/' || name, body FROM vips
"""
"""(resource name, body) of all objects."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """One object that changes: its resource name and its bodies; None where it is not there."""

    name: str
    old: str | None
    new: str | None


def row_change(change: ObjectChange) -> RowChange:
    """A change of an object as one of its row."""
    old, new = (None if side is None else _pack(encode(side)) for side in (change.old, change.new))
    return RowChange(change.name, old, new)


def object_change(change: RowChange) -> ObjectChange:
    """Inverse of ``row_change``; raises ``ValueError`` for a row that this release does not understand."""
    return ObjectChange(change.name, decode(change.name, change.old), decode(change.name, change.new))


def decode(name: str, body: str | None) -> Object | None:
    """The object of a row, a pool without its members; raises ``ValueError``."""
    if body is None:
        return None
    plain = json.loads(body)
    match name.split("/"):
        case ["settings"]:
            return codec.decode_settings(plain)
        case ["pools", pool]:
            return codec.decode_pool(pool, plain, {})
        case ["pools", _, "backends", backend]:
            return codec.decode_backend(backend, plain)
        case ["vips", vip]:
            return codec.decode_vip(vip, plain)
    raise ValueError(f"{name} is not the name of an object: a newer release wrote it")


def write(change: RowChange) -> Write:
    """The statement that puts a row in place, or removes it."""
    match change.name.split("/"):
        case ["settings"]:
            return "REPLACE INTO settings VALUES (1, ?)", (change.new,)
        case ["pools", pool, "backends", backend]:
            if change.new is None:
                return "DELETE FROM backends WHERE pool = ? AND name = ?", (pool, backend)
            return "REPLACE INTO backends VALUES (?, ?, ?)", (pool, backend, change.new)
        case [("pools" | "vips") as table, name]:
            if change.new is None:
                return f"DELETE FROM {table} WHERE name = ?", (name,)
            return f"REPLACE INTO {table} VALUES (?, ?)", (name, change.new)
    raise AssertionError(f"no table for {change.name}")


def _pack(plain: codec.Plain) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))
