# SPDX-License-Identifier: Apache-2.0
"""Who wants which probe: kept up to date at the cost of what changed, not of all that there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from lb.core.allocation import Allocation
from lb.core.checks import Target
from lb.core.health import MemberKey
from lb.core.health_readings import member_key
from lb.core.health_targets import Frontends, NoWay, Way, find_way, frontends
from lb.core.model import Address, AdminState, Config, Pool, Vip


class Register:
    """Targets of a configuration. Collections that it hands out are its own and change with it.

    ``wanted``: by target, the members that it tells about. ``problems``: by pool name, why its members cannot be
    probed. ``members``: by pool name, those that are, each with its target. ``version``: grows when ``wanted`` changes.
    """

    def __init__(self, tunnel_problem: str) -> None:
        self.wanted: dict[Target, dict[MemberKey, None]] = {}
        self.problems: dict[str, str] = {}
        self.members: dict[str, dict[MemberKey, Target]] = {}
        self.version = 0
        self._tunnel_problem = tunnel_problem
        self._pools: Mapping[str, Pool] = {}
        self._vips: Mapping[str, Vip] = {}
        self._frontends: Mapping[str, Frontends] = {}
        self._indices: dict[Address, dict[MemberKey, int]] = {}

    def update(self, config: Config, allocation: Allocation) -> Set[str]:
        """Take over a configuration; returns the names of the pools that it may change anything for."""
        if config.pools is self._pools and config.vips is self._vips:
            return frozenset()
        gone = {name: pool for name, pool in self._pools.items() if config.pools.get(name) is not pool}
        came = {name: pool for name, pool in config.pools.items() if self._pools.get(name) is not pool}
        touched = gone.keys() | came.keys() | self._renumber(gone.values(), came.values(), allocation)
        if config.vips is not self._vips:
            touched |= self._refront(config.vips)
        self._pools = config.pools
        for name in touched:
            # A pool that is gone is like one that nobody wants checked.
            self._aim(config.pools.get(name, Pool(name)))
        return touched

    def _renumber(self, gone: Iterable[Pool], came: Iterable[Pool], allocation: Allocation) -> set[str]:
        """Returns the pools with a backend whose address has another smallest index now."""
        before: dict[Address, int] = {}
        for key in (member_key(pool, backend) for pool in gone for backend in pool.backends.values()):
            held = self._indices[key[2]]
            before.setdefault(key[2], min(held.values()))
            del held[key]
        for pool in came:
            for backend in pool.backends.values():
                index = allocation.backends[pool.name, backend.name, str(backend.address)]
                held = self._indices.setdefault(backend.address, {})
                if held:
                    before.setdefault(backend.address, min(held.values()))
                held[member_key(pool, backend)] = index
        touched = set()
        for address, smallest in before.items():
            held = self._indices[address]
            if not held:
                del self._indices[address]
            elif min(held.values()) != smallest:
                touched |= {pool for pool, _, _ in held}
        return touched

    def _refront(self, vips: Mapping[str, Vip]) -> set[str]:
        """Returns the pools that have another first VIP now."""
        old, new = self._frontends, frontends(vips.values())
        self._vips, self._frontends = vips, new
        return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}

    def _aim(self, pool: Pool) -> None:
        """Find the targets of a pool anew."""
        self.problems.pop(pool.name, None)
        before = self.members.pop(pool.name, {})
        after: dict[MemberKey, Target] = {}
        if pool.health_check is not None:
            way = find_way(pool.health_check, self._frontends.get(pool.name, Frontends()), self._tunnel_problem)
            if isinstance(way, NoWay):
                self.problems[pool.name] = way.reason
            else:
                after = self.members[pool.name] = self._targets(pool, way)
        if before != after:
            self._exchange(before, after)

    def _targets(self, pool: Pool, way: Way) -> dict[MemberKey, Target]:
        return {
            member_key(pool, backend): way.target(backend.address, min(self._indices[backend.address].values()))
            for backend in pool.backends.values()
            if backend.admin_state is not AdminState.DISABLED
        }

    def _exchange(self, old: Mapping[MemberKey, Target], new: Mapping[MemberKey, Target]) -> None:
        self.version += 1
        for key, target in old.items():
            del self.wanted[target][key]
            if not self.wanted[target]:
                del self.wanted[target]
        for key, target in new.items():
            self.wanted.setdefault(target, {})[key] = None
