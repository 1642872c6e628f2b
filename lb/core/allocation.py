# SPDX-License-Identifier: Apache-2.0
"""Numbers of the data plane for the names of a configuration: VIP, ring and backend indices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lb.core.errors import LimitError
from lb.core.limits import MAX_BACKENDS, MAX_RINGS, MAX_VIPS
from lb.core.model import Config

Key = TypeVar("Key")


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
    backends: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    cursors: Mapping[str, int] = field(default_factory=dict)


def allocate(config: Config, old: Allocation) -> Allocation:
    """Keep the numbers of what stays, free those of what went, find new ones for what came.

    A number freed here is not handed out again here: packets may still be on their way by it.

    Raises:
        LimitError: The data plane has no number left.
    """
    cursors = dict(old.cursors)

    def renew(kind: str, wanted: Iterable[Key], held: Mapping[Key, int], first: int, last: int) -> dict[Key, int]:
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

    rings = dict.fromkeys((vip.pool, int(vip.protocol)) for vip in config.vips.values())
    backends = [
        (pool.name, backend.name, str(backend.address))
        for pool in config.pools.values()
        for backend in pool.backends.values()
    ]
    return Allocation(
        vips=renew("vip", config.vips, old.vips, 1, MAX_VIPS),
        rings=renew("ring", rings, old.rings, 0, MAX_RINGS - 1),
        backends=renew("backend", backends, old.backends, 1, MAX_BACKENDS),
        cursors=cursors,
    )
