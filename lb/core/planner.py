# SPDX-License-Identifier: Apache-2.0
"""Desired and observed -> operations. Pure: everything that was observed comes in, everything to do goes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from lb.core.allocation import Allocation, allocate
from lb.core.layout import VIP_ADDRESS, BackendEntry
from lb.core.members import (
    Candidates,
    Ring,
    backend_entry,
    candidate,
    pool_ring,
    takes_flows,
    why_not_candidate,
)
from lb.core.model import RING_SIZE, Address, AdminState, Backend, BackendState, Config, Hop, Pool, Protocol, RingState
from lb.core.moves import Moves, Words, count, evaluate, restore
from lb.core.operations import Operation, ResetCounters, SetEpoch, SetSettle, SwapVips, WriteBackend, WriteSlots
from lb.core.slots import Facts, Kind, move_limit
from lb.core.vip_table import VipEntry


@dataclass(frozen=True, slots=True)
class Observed:
    """What the planner is told of the outside.

    ``now``: CLOCK_MONOTONIC seconds. ``hop``: next hop of an address. ``slots``: a ring's words, none written since
    the last fence. ``refused_at``: second of a ring's last refusal. ``settle_seconds``: of a ring, as the data plane
    has it. ``clear``: by ring, TRACKED slots that a scan found clear. ``held``: rings that drop new flows which cannot
    be tracked, since before the last fence: only their moves may end. ``collected``: rings without entries that a
    longer ``settle_seconds`` would bring back to life. ``first``: the first plan of this daemon, or after a batch that
    was cut short: it changes no epoch, and brings the slots in line with what the epochs say; everything else comes in
    the next batch.
    """

    now: int
    hop: Callable[[Address], Hop]
    slots: Callable[[int], Words]
    refused_at: Callable[[int], int]
    settle_seconds: Callable[[int], int]
    clear: Mapping[int, AbstractSet[int]] = field(default_factory=dict)
    held: AbstractSet[int] = frozenset()
    collected: AbstractSet[int] = frozenset()
    first: bool = False


@dataclass(frozen=True, slots=True)
class RingWork:
    """A ring in the data plane: what its words were written for, and which of its slots are not STABLE.

    ``limit``: the least that a move lasts, in seconds. ``due_at``: second at which the first move may end, None when
    nothing moves. ``waits``: for the collector, before flows may be silent for longer.
    """

    candidates: Candidates
    accepting: AbstractSet[int]
    settle_seconds: int
    moves: Moves
    state: RingState
    limit: int
    due_at: int | None
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What the data plane holds, as far as this daemon wrote or read it; what is not here is written again.

    ``epochs``: of every backend index. ``pools``: by pool name. ``rings``: by ring index.
    """

    epochs: Sequence[int]
    entries: Mapping[int, BackendEntry] = field(default_factory=dict)
    pools: Mapping[str, Ring] = field(default_factory=dict)
    rings: Mapping[int, RingWork] = field(default_factory=dict)
    vips: tuple[VipEntry, ...] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Operations in order, and what will be true once they are carried out."""

    operations: tuple[Operation, ...]
    allocation: Allocation
    written: Written
    backends: Mapping[tuple[str, str], BackendState]


def plan(config: Config, allocation: Allocation, written: Written, observed: Observed) -> Plan:
    """Compute what has to be written.

    Order: counters of reused numbers, backends, epochs, rings, VIPs; so nothing is reachable before it is complete, and
    what is no longer reachable may go at any time.

    Raises:
        LimitError: The data plane has no room for the configuration.
    """
    draft = _Draft(config, allocation, written, observed)
    draft.reset_counters()
    for pool in config.pools.values():
        draft.add_pool(pool)
    draft.set_epochs()
    for (pool_name, protocol), number in draft.numbers.rings.items():
        draft.add_ring(config.pools[pool_name], Protocol(protocol), number)
    vips = _vip_entries(config, draft.numbers)
    if vips != written.vips:
        draft.operations.append(SwapVips(vips))
    now_written = Written(draft.epochs, draft.entries, draft.pools, draft.rings, vips)
    return Plan(tuple(draft.operations), draft.numbers, now_written, draft.states)


class _Draft:
    """A plan in the making."""

    def __init__(self, config: Config, allocation: Allocation, written: Written, observed: Observed) -> None:
        self.numbers = allocate(config, allocation)
        self.operations: list[Operation] = []
        self.epochs = list(written.epochs)
        self.entries: dict[int, BackendEntry] = {}
        self.pools: dict[str, Ring] = {}
        self.rings: dict[int, RingWork] = {}
        self.states: dict[tuple[str, str], BackendState] = {}
        self._config = config
        self._old = allocation
        self._written = written
        self._observed = observed
        self._accepting: set[int] = set()
        self._draining: set[int] = set()

    def reset_counters(self) -> None:
        """Numbers that are used again begin at zero."""
        vips = tuple(i for name, i in self.numbers.vips.items() if name not in self._old.vips)
        backends = tuple(i for key, i in self.numbers.backends.items() if key not in self._old.backends)
        if vips or backends:
            self.operations.append(ResetCounters(vips, backends))

    def add_pool(self, pool: Pool) -> None:
        """Entries of its members, who accepts, and its Maglev answer."""
        candidates = []
        reasons: dict[str, tuple[int, str, Hop]] = {}
        for backend in pool.backends.values():
            index = self.numbers.backends[pool.name, backend.name, str(backend.address)]
            hop = self._observed.hop(backend.address)
            accepts = self._add_backend(backend, index, hop)
            reason = why_not_candidate(backend, hop)
            if accepts and not reason:
                candidates.append(candidate(index, backend))
            reasons[backend.name] = index, reason, hop
        ring = pool_ring(tuple(candidates), self._written.pools.get(pool.name))
        self.pools[pool.name] = ring
        for name, (index, reason, hop) in reasons.items():
            self.states[pool.name, name] = BackendState(ring.counts.get(index, 0), reason, hop)

    def _add_backend(self, backend: Backend, index: int, hop: Hop) -> bool:
        known = self._written.entries.get(index)
        entry = backend_entry(self._config.settings, backend, hop) or known
        if entry is not None:
            self.entries[index] = entry
            if entry != known:
                self.operations.append(WriteBackend(index, entry))
        if not takes_flows(backend):
            self._draining.add(index)
        accepted = self.epochs[index] % 2 == 1
        # A backend whose next hop is lost keeps its flows, on the address that was last known.
        accepts = backend.admin_state is not AdminState.DISABLED and (accepted or entry is not None)
        if self._observed.first:
            accepts = accepted
        if accepts:
            self._accepting.add(index)
        return accepts

    def set_epochs(self) -> None:
        """Parity of every index; one that the configuration does not know does not accept."""
        if self._observed.first:
            self._accepting = {index for index, epoch in enumerate(self.epochs) if epoch % 2}
            return
        for index, epoch in enumerate(self.epochs):
            if epoch % 2 != (index in self._accepting):
                self.epochs[index] = epoch + 1 & 0xFFFFFFFF
                self.operations.append(SetEpoch(index, self.epochs[index]))

    def add_ring(self, pool: Pool, protocol: Protocol, number: int) -> None:
        """Next words of a ring's slots, where anything bears on them."""
        ring = self.pools[pool.name]
        members = {self.numbers.backends[pool.name, b.name, str(b.address)] for b in pool.backends.values()}
        # The first plan has to know those that the configuration has lost as well.
        accepting = frozenset(self._accepting if self._observed.first else members & self._accepting)
        settle = pool.udp_settle_seconds if protocol is Protocol.UDP else pool.settle_seconds
        before = self._written.rings.get(number)
        # A number that is new to its pool holds another one's words, which no packet has seen.
        fresh = (pool.name, protocol) not in self._old.rings
        if fresh:
            before = None
        in_force = before.settle_seconds if before is not None else self._observed.settle_seconds(number)
        waits = not fresh and settle > in_force and number not in self._observed.collected
        if waits:
            # A longer time would bring expired entries back to life.
            settle = in_force
        if before is None or before.settle_seconds != settle:
            self.operations.append(SetSettle(number, settle))
        if before is not None and self._is_settled(before, ring, accepting, settle):
            self.rings[number] = replace(before, waits=waits)
            return
        words = self._observed.slots(number)
        facts = Facts(
            now=self._observed.now,
            accepting=accepting,
            limit=move_limit(settle),
            refused_at=self._observed.refused_at(number),
            reachable=not fresh,
            timers=number in self._observed.held,
            draining=self._draining & members,
            drain_limit=move_limit(pool.drain_idle_seconds),
            udp=protocol is Protocol.UDP,
        )
        moves = restore(words, self._observed.now) if before is None else before.moves
        found = evaluate(words, ring.target, moves, facts, self._observed.clear.get(number, frozenset()))
        if found.slots:
            self.operations.append(WriteSlots(number, found.slots, found.words))
        work = _ring_work(ring.candidates, accepting, settle, found.moves, protocol, facts)
        self.rings[number] = replace(work, waits=waits)

    @staticmethod
    def _is_settled(before: RingWork, ring: Ring, accepting: AbstractSet[int], settle: int) -> bool:
        was = before.candidates, before.accepting, before.settle_seconds
        return not before.moves and was == (ring.candidates, accepting, settle)


def _ring_work(
    candidates: Candidates, accepting: AbstractSet[int], settle: int, moves: Moves, protocol: Protocol, facts: Facts
) -> RingWork:
    counts = count(RING_SIZE, moves)
    state = RingState(protocol, counts[Kind.STABLE], counts[Kind.MOVING], counts[Kind.TRACKED])
    limit = min(facts.limit, facts.drain_limit) if facts.draining else facts.limit
    began = min((moved for moved in moves.values() if moved is not None), default=None)
    return RingWork(candidates, accepting, settle, moves, state, limit, None if began is None else began + limit)


def _vip_entries(config: Config, numbers: Allocation) -> tuple[VipEntry, ...]:
    vips = config.vips.values()
    entries = [
        VipEntry(
            v.address, v.port, v.protocol, numbers.rings[v.pool, v.protocol], numbers.vips[v.name], int(v.hash_policy)
        )
        for v in vips
    ]
    addresses = dict.fromkeys(vip.address for vip in vips)
    return (*entries, *(VipEntry(address, 0, 0, 0, 0, VIP_ADDRESS) for address in addresses))
