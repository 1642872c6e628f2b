# SPDX-License-Identifier: Apache-2.0
"""The allocation as rows, and the rows that differ between two of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from lb.core.allocation import Allocation
from lb.store.rows import Write

K = TypeVar("K")


def writes(old: Allocation, new: Allocation) -> Iterator[Write]:
    """The statements that turn the old rows into the new ones; none for what is equal."""
    yield from _table("vip", old.vips, new.vips)
    yield from _table("ring", old.rings, new.rings)
    yield from _table("backend", old.backends, new.backends)
    yield from _table("cursor", old.cursors, new.cursors)


def _table(kind: str, old: Mapping[K, int], new: Mapping[K, int]) -> Iterator[Write]:
    # An edit shares the numbers of what it left alone.
    if old is new or old == new:
        return
    for key in old:
        if key not in new:
            yield "DELETE FROM allocations WHERE kind = ? AND key = ?", (kind, _key(key))
    for key, number in new.items():
        if old.get(key) != number:
            yield "REPLACE INTO allocations VALUES (?, ?, ?)", (kind, _key(key), number)


def _key(key: object) -> str:
    return json.dumps(key if isinstance(key, tuple) else [key])


def allocation(rows: Iterable[tuple[str, str, int]]) -> Allocation:
    """The allocation of (kind, key, number) rows; raises ``ValueError`` for a row that is not one of ours."""
    vips: dict[str, int] = {}
    rings: dict[tuple[str, int], int] = {}
    backends: dict[tuple[str, str, str], int] = {}
    cursors: dict[str, int] = {}
    for kind, text, number in rows:
        match kind, json.loads(text):
            case "vip", [str(name)]:
                vips[name] = number
            case "ring", [str(pool), int(protocol)]:
                rings[pool, protocol] = number
            case "backend", [str(pool), str(name), str(address)]:
                backends[pool, name, address] = number
            case "cursor", [str(name)]:
                cursors[name] = number
            case _:
                raise ValueError(f"unknown allocation {kind} {text}: a newer release wrote it")
    return Allocation(vips, rings, backends, cursors)
