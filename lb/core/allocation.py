# SPDX-License-Identifier: Apache-2.0
"""Numbers of the data plane for the names of a configuration: VIP, ring and backend indices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lb.core.errors import LimitError
from lb.core.limits import MAX_BACKENDS, MAX_RINGS, MAX_VIPS
from lb.core.model import Config, Pool

Key = TypeVar("Key")

BackendKey = tuple[str, str, str]
"""Names of pool and backend, address."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """Which numbers of the data plane stand for which names; kept with the configuration.

    ``vips``: VIP name to VIP index, from 1. ``rings``: (pool name, protocol number) to ring index, from 0.
    ``backends``: (pool name, backend name, address) to backend index, from 1: a new address is a new backend.
    ``cursors``: by kind ("vip", "ring", "backend"), the number handed out last: the search for a free one goes on
    after it, so that freed numbers rest as long as possible.
    """

    vips: Mapping[str, int] = field(default_factory=dict)
    rings: Mapping[tuple[str, int], int] = field(default_factory=dict)
    backends: Mapping[BackendKey, int] = field(default_factory=dict)
    cursors: Mapping[str, int] = field(default_factory=dict)


def allocate(config: Config, old: Allocation, before: Config | None = None) -> Allocation:
    """Keep the numbers of what stays, free those of what went, find new ones for what came.

    A number freed here is not handed out again here: packets may still be on their way by it.

    Args:
        config: What needs numbers.
        old: The numbers so far.
        before: The configuration that ``old`` was made for, if known: what both share costs nothing.

    Raises:
        LimitError: The data plane has no number left.
    """
    cursors = dict(old.cursors)
    vips, rings = old.vips, old.rings
    if before is None or before.vips is not config.vips:
        pairs = dict.fromkeys((vip.pool, int(vip.protocol)) for vip in config.vips.values())
        vips = _renew("vip", config.vips, old.vips, (1, MAX_VIPS), cursors)
        rings = _renew("ring", pairs, old.rings, (0, MAX_RINGS - 1), cursors)
    backends = old.backends
    if before is None or before.pools is not config.pools:
        wanted = _backends(config, old, before)
        if wanted is not old.backends:
            backends = _renew("backend", wanted, old.backends, (1, MAX_BACKENDS), cursors)
    return Allocation(vips, rings, backends, cursors)


def _backends(config: Config, old: Allocation, before: Config | None) -> Iterable[BackendKey]:
    """Keys of all backends; the old ones themselves when the same are wanted."""
    if before is None:
        return [key for pool in config.pools.values() for key in _keys(pool)]
    came = [key for name, pool in config.pools.items() if before.pools.get(name) is not pool for key in _keys(pool)]
    gone = [key for name, pool in before.pools.items() if config.pools.get(name) is not pool for key in _keys(pool)]
    if set(came) == set(gone):
        return old.backends
    wanted = dict.fromkeys(old.backends)
    for key in gone:
        wanted.pop(key, None)
    wanted.update(dict.fromkeys(came))
    return wanted


def _keys(pool: Pool) -> list[BackendKey]:
    return [(pool.name, backend.name, str(backend.address)) for backend in pool.backends.values()]


def _renew(
    kind: str, wanted: Iterable[Key], held: Mapping[Key, int], span: tuple[int, int], cursors: dict[str, int]
) -> dict[Key, int]:
    first, last = span
    kept = {key: held[key] for key in wanted if key in held}
    missing = [key for key in wanted if key not in held]
    if missing:
        taken = set(held.values())
        if len(taken) + len(missing) > last - first + 1:
            raise LimitError(f"the data plane has room for {last - first + 1} {kind}s: delete some first")
        number = cursors.get(kind, first - 1)
        for key in missing:
            number = number + 1 if number < last else first
            while number in taken:
                number = number + 1 if number < last else first
            taken.add(number)
            kept[key] = number
        cursors[kind] = number
    return kept
