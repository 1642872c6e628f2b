# SPDX-License-Identifier: Apache-2.0
"""One pool of a plan: entries of its members, who accepts, who is in the ring, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from lb.core.health import Health
from lb.core.layout import BackendEntry
from lb.core.members import Ring, Standing, backend_entry, candidates, fails_open, pool_ring, takes_flows
from lb.core.model import BackendState, Hop, Pool, Settings


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a pool's part of a plan depends on; each tuple in the order of the pool's members.

    ``indices``: backend indices. ``observed``: next hop, health, and whether the backend accepts flows now.
    ``standing_by``: see ``Standing.stands_by``. ``first``: nobody may begin or cease to accept.
    """

    settings: Settings
    pool: Pool
    indices: tuple[int, ...]
    observed: tuple[tuple[Hop, Health, bool], ...]
    standing_by: AbstractSet[int]
    first: bool


@dataclass(frozen=True, slots=True)
class PoolWork:
    """What comes of ``inputs``.

    ``entries``: by backend index. ``accepting``, ``draining``: backend indices. ``states``: by (pool, backend) name.
    """

    inputs: Inputs
    ring: Ring
    entries: Mapping[int, BackendEntry]
    accepting: frozenset[int]
    draining: frozenset[int]
    states: Mapping[tuple[str, str], BackendState]
    failing_open: bool


def pool_work(inputs: Inputs, entries: Mapping[int, BackendEntry], known: PoolWork | None) -> PoolWork:
    """Work a pool out.

    Args:
        inputs: What it depends on.
        entries: Of the backends that the data plane has; one without a next hop keeps the address last known.
        known: The pool's last work; returned when nothing has changed.
    """
    if known is not None and known.inputs == inputs:
        return known
    pool = inputs.pool
    held: dict[int, BackendEntry] = {}
    standings = []
    for backend, index, seen in zip(pool.backends.values(), inputs.indices, inputs.observed, strict=True):
        hop, health, accepted = seen
        entry = backend_entry(inputs.settings, backend, hop) or entries.get(index)
        if entry is not None:
            held[index] = entry
        stands_by = index in inputs.standing_by
        standings.append(Standing(backend, index, hop, health, entry is not None, accepted, stands_by))

    opens = fails_open(pool, standings)
    accepting = frozenset(
        standing.index
        for standing in standings
        if (standing.accepted if inputs.first else standing.accepts(pool, open_=opens))
    )
    reasons = [standing.why_not_candidate(open_=opens) for standing in standings]
    inside = [
        standing
        for standing, reason in zip(standings, reasons, strict=True)
        if not reason and standing.index in accepting
    ]
    wanted = candidates(inside)
    ring = known.ring if known is not None and known.ring.candidates == wanted else pool_ring(wanted)
    states = {
        (pool.name, standing.backend.name): BackendState(
            ring.counts.get(standing.index, 0), reason, standing.hop, standing.health
        )
        for standing, reason in zip(standings, reasons, strict=True)
    }
    draining = frozenset(standing.index for standing in standings if not takes_flows(standing.backend))
    return PoolWork(inputs, ring, held, accepting, draining, states, opens)
