# SPDX-License-Identifier: Apache-2.0
"""Configuration and allocation as rows, and the rows that differ between two of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from lb.core import codec
from lb.core.allocation import Allocation
from lb.core.model import Backend, Config

Write = tuple[str, tuple[object, ...]]
"""One SQL statement with its parameters."""

K = TypeVar("K")
V = TypeVar("V")


def pack(plain: Mapping[str, object]) -> str:
    """The JSON text of a row's body or key."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def differences(old: Config, new: Config, old_allocation: Allocation, new_allocation: Allocation) -> Iterator[Write]:
    """The statements that turn the old rows into the new ones; none for what is equal."""
    if old.settings != new.settings:
        yield "REPLACE INTO settings VALUES (1, ?)", (pack(codec.encode_settings(new.settings)),)
    yield from _table(
        {name: codec.encode_pool(pool) for name, pool in old.pools.items()},
        {name: codec.encode_pool(pool) for name, pool in new.pools.items()},
        lambda name, plain: ("REPLACE INTO pools VALUES (?, ?)", (name, pack(plain))),
        lambda name: ("DELETE FROM pools WHERE name = ?", (name,)),
    )
    yield from _table(
        _members(old, new),
        _members(new, old),
        lambda key, backend: ("REPLACE INTO backends VALUES (?, ?, ?)", (*key, pack(codec.encode_backend(backend)))),
        lambda key: ("DELETE FROM backends WHERE pool = ? AND name = ?", key),
    )
    yield from _table(
        old.vips,
        new.vips,
        lambda name, vip: ("REPLACE INTO vips VALUES (?, ?)", (name, pack(codec.encode_vip(vip)))),
        lambda name: ("DELETE FROM vips WHERE name = ?", (name,)),
    )
    yield from _table(
        numbers(old_allocation),
        numbers(new_allocation),
        lambda key, number: ("REPLACE INTO allocations VALUES (?, ?, ?)", (*key, number)),
        lambda key: ("DELETE FROM allocations WHERE kind = ? AND key = ?", key),
    )


def _table(
    old: Mapping[K, V], new: Mapping[K, V], put: Callable[[K, V], Write], delete: Callable[[K], Write]
) -> Iterator[Write]:
    for key in old:
        if key not in new:
            yield delete(key)
    for key, value in new.items():
        if key not in old or old[key] != value:
            yield put(key, value)


def _members(config: Config, other: Config) -> dict[tuple[str, str], Backend]:
    """Members of the pools that are not the very same object in ``other``: an edit shares those that it left alone."""
    return {
        (pool.name, backend.name): backend
        for pool in config.pools.values()
        if other.pools.get(pool.name) is not pool
        for backend in pool.backends.values()
    }


def numbers(allocation: Allocation) -> dict[tuple[str, str], int]:
    """An allocation as {(kind, key): number}."""
    keyed: list[tuple[str, tuple[object, ...], int]] = [
        *(("vip", (name,), number) for name, number in allocation.vips.items()),
        *(("ring", key, number) for key, number in allocation.rings.items()),
        *(("backend", key, number) for key, number in allocation.backends.items()),
        *(("cursor", (kind,), number) for kind, number in allocation.cursors.items()),
    ]
    return {(kind, json.dumps(key)): number for kind, key, number in keyed}


def allocation(rows: Iterator[tuple[str, str, int]]) -> Allocation:
    """Inverse of ``numbers``; raises ``ValueError`` for a row that is not one of ours."""
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
