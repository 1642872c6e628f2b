# SPDX-License-Identifier: Apache-2.0
"""Whose way has to be known: the backends' addresses of configurations that share most of their pools."""

from __future__ import annotations

from collections.abc import Sequence

from lb.core.model import Address, Config, Pool


class Addresses:
    """Remembers the addresses of each pool: there may be thousands, and an edit changes one pool."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Pool, frozenset[Address]]] = {}

    def of(self, configs: Sequence[Config]) -> frozenset[Address]:
        """All backends' addresses; at the cost of the pools that are not those of the last call's first one."""
        before, self._known = self._known, {}
        pools: list[frozenset[Address]] = []
        for config in configs:
            for name, pool in config.pools.items():
                known = self._known.get(name) or before.get(name)
                if known is None or known[0] is not pool:
                    known = pool, frozenset(backend.address for backend in pool.backends.values())
                self._known.setdefault(name, known)
                pools.append(known[1])
        return frozenset().union(*pools)


def changed_addresses(before: Config, after: Config) -> frozenset[Address]:
    """Addresses of the backends that an edit added or changed."""
    return frozenset(
        backend.address
        for pool in after.pools.values()
        if before.pools.get(pool.name) is not pool
        for backend in pool.backends.values()
        if pool.name not in before.pools or before.pools[pool.name].backends.get(backend.name) != backend
    )
