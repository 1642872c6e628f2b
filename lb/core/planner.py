# SPDX-License-Identifier: Apache-2.0
"""Desired and observed -> operations. Pure: everything that was observed comes in, everything to do goes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import TypeVar

from lb.core.allocation import Allocation, allocate
from lb.core.health import UNCHECKED, Health, Status
from lb.core.impact import Impact, impact
from lb.core.layout import VIP_ADDRESS, BackendEntry
from lb.core.members import Candidates, Ring, takes_flows
from lb.core.model import (
    RING_SIZE,
    Address,
    Backend,
    BackendState,
    Config,
    Hop,
    OnDown,
    Pool,
    Protocol,
    RingState,
)
from lb.core.moves import Evaluation, Moves, Words, count, evaluate, restore, stable_words
from lb.core.operations import Operation, ResetCounters, SetEpoch, SetSettle, SwapVips, WriteBackend, WriteSlots
from lb.core.pool_work import Inputs, PoolWork, pool_work
from lb.core.slots import SLACK_SECONDS, Facts, Kind, current, limit_of, move_limit
from lb.core.vip_table import VipEntry

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Observed:
    """What the planner is told of the outside.

    ``now``: CLOCK_MONOTONIC seconds. ``hop``: next hop of an address. ``slots``: a ring's words, none written since
    the last fence. ``refused_at``: second of a ring's last refusal. ``settle_seconds``: of a ring, as the data plane
    has it. ``clear``: by ring, TRACKED slots that a scan found clear. ``held``: rings that drop new flows which cannot
    be tracked, since before the last fence: only their moves may end. ``collected``: rings without entries that a
    longer ``settle_seconds`` would bring back to life. ``first``: the first plan of this daemon, or after a batch that
    was cut short: it changes no epoch, and brings the slots in line with what the epochs say; everything else comes in
    the next batch. ``health``: what the checks say of a backend of a pool.
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
    health: Callable[[Pool, Backend], Health] = lambda _pool, _backend: UNCHECKED


@dataclass(frozen=True, slots=True)
class RingInputs:
    """All that a ring's words depend on, but for time and for what scans find.

    ``accepting``, ``draining``: backend indices; moves away from the latter may end after ``drain_idle_seconds``.
    """

    candidates: Candidates
    accepting: AbstractSet[int]
    draining: AbstractSet[int]
    settle_seconds: int
    drain_idle_seconds: int


@dataclass(frozen=True, slots=True)
class Timer:
    """Of the moves of a ring that last for ``limit`` seconds: ``due_at`` the first of them may end."""

    due_at: int
    limit: int


@dataclass(frozen=True, slots=True)
class RingWork:
    """A ring in the data plane: what its words were written for, and which of its slots are not STABLE.

    ``timers``: of the moves that go on, one for each time that they last. ``waits``: for the collector, before flows
    may be silent for longer.
    """

    inputs: RingInputs
    moves: Moves
    state: RingState
    timers: tuple[Timer, ...]
    waits: bool = False

    @property
    def accepting(self) -> AbstractSet[int]:
        """Backend indices that accepted flows."""
        return self.inputs.accepting

    @property
    def settle_seconds(self) -> int:
        """How long an established flow may be silent."""
        return self.inputs.settle_seconds


@dataclass(frozen=True, slots=True)
class Written:
    """What the data plane holds, as far as this daemon wrote or read it; what is not here is written again.

    ``epochs``: of every backend index. ``pools``: by pool name. ``rings``: by ring index. ``odd``: indices with an odd
    epoch, None = not known. ``config``: what was written; the same object again needs no second look.
    ``standing_by``: backend indices that accept but were outside the ring when their checks began anew.
    """

    epochs: Sequence[int]
    entries: Mapping[int, BackendEntry] = field(default_factory=dict)
    pools: Mapping[str, PoolWork] = field(default_factory=dict)
    rings: Mapping[int, RingWork] = field(default_factory=dict)
    vips: tuple[VipEntry, ...] | None = None
    odd: frozenset[int] | None = None
    config: Config | None = None
    standing_by: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """Operations in order, and what will be true once they are carried out.

    ``impacts``: on the rings whose slots change. ``failing_open``: pools that use members whose checks fail.
    """

    operations: tuple[Operation, ...]
    allocation: Allocation
    written: Written
    backends: Mapping[tuple[str, str], BackendState]
    impacts: tuple[Impact, ...] = ()
    failing_open: frozenset[str] = frozenset()


def plan(config: Config, allocation: Allocation, written: Written, observed: Observed) -> Plan:
    """Compute what has to be written, at the cost of what has changed since ``written``.

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
    draft.set_vips()
    return draft.finish()


class _Draft:
    """A plan in the making."""

    def __init__(self, config: Config, allocation: Allocation, written: Written, observed: Observed) -> None:
        self.numbers = allocate(config, allocation, written.config)
        self._config = config
        self._old = allocation
        self._written = written
        self._observed = observed
        self._operations: list[Operation] = []
        self._epochs = list(written.epochs)
        odd = written.odd
        if odd is None:
            odd = frozenset(index for index, epoch in enumerate(self._epochs) if epoch % 2)
        self._odd = odd
        self._accepting: set[int] = set()
        self._standing_by: set[int] = set()
        self._owned: dict[str, set[int]] = {}
        self._entries: dict[int, BackendEntry] = {}
        self._pools: dict[str, PoolWork] = {}
        self._rings: dict[int, RingWork] = {}
        self._vips: tuple[VipEntry, ...] = ()
        self._states: dict[tuple[str, str], BackendState] = {}
        self._impacts: list[Impact] = []

    def reset_counters(self) -> None:
        """Numbers that are used again begin at zero."""
        vips = _added(self.numbers.vips, self._old.vips)
        backends = _added(self.numbers.backends, self._old.backends)
        if vips or backends:
            self._operations.append(ResetCounters(vips, backends))

    def add_pool(self, pool: Pool) -> None:
        """Entries of its members, who accepts, and its Maglev answer."""
        known = self._written.pools.get(pool.name)
        if known is not None and known.inputs.pool is pool:
            indices = known.inputs.indices
        else:
            numbers, name = self.numbers.backends, pool.name
            indices = tuple(numbers[name, backend.name, str(backend.address)] for backend in pool.backends.values())
        odd, observed = self._odd, self._observed
        seen = tuple(
            (observed.hop(backend.address), observed.health(pool, backend), index in odd)
            for backend, index in zip(pool.backends.values(), indices, strict=True)
        )
        standing_by = self._find_standing_by(pool, indices, seen, known)
        inputs = Inputs(self._config.settings, pool, indices, seen, standing_by, observed.first)
        work = pool_work(inputs, self._written.entries, known)
        self._pools[pool.name] = work
        self._entries |= work.entries
        self._states |= work.states
        self._accepting |= work.accepting
        self._standing_by |= standing_by
        if work is not known:
            for index, entry in work.entries.items():
                if self._written.entries.get(index) != entry:
                    self._operations.append(WriteBackend(index, entry))

    def _find_standing_by(
        self,
        pool: Pool,
        indices: tuple[int, ...],
        seen: tuple[tuple[Hop, Health, bool], ...],
        known: PoolWork | None,
    ) -> frozenset[int]:
        """Backends that kept their flows while their checks failed, and have no verdict now.

        The epoch does not tell them from healthy ones. What this daemon remembers does, and after a restart the slots:
        none gives them new flows.
        """
        if pool.health_check is None or pool.on_down is not OnDown.KEEP:
            return frozenset()
        waiting = {
            index
            for backend, index, (_, health, accepted) in zip(pool.backends.values(), indices, seen, strict=True)
            if accepted and health.status is Status.UNKNOWN and takes_flows(backend)
        }
        if not self._observed.first:
            return frozenset(waiting & (self._written.standing_by | _down(known)))
        numbers = [number for (name, _), number in self._old.rings.items() if name == pool.name]
        inside = {current(word) for number in numbers for word in self._observed.slots(number)}
        # A pool that no VIP used has no slots that could tell.
        return frozenset(waiting - inside) if numbers else frozenset()

    def set_epochs(self) -> None:
        """Parity of every index; one that the configuration does not know does not accept."""
        if self._observed.first:
            self._accepting = set(self._odd)
            return
        for index in sorted(self._odd ^ self._accepting):
            self._epochs[index] = self._epochs[index] + 1 & 0xFFFFFFFF
            self._operations.append(SetEpoch(index, self._epochs[index]))

    def _accepting_of(self, pool: str) -> frozenset[int]:
        """Backends that may have flows of a pool, for the first plan: all that accept, but for those of other pools.

        A crash may have come before a ring got its first words: it holds those of the pool that had its number before.
        """
        if not self._owned:
            for (name, _, _), index in self._old.backends.items():
                self._owned.setdefault(name, set()).add(index)
        others = (indices for name, indices in self._owned.items() if name != pool)
        return frozenset(self._accepting).difference(*others)

    def set_vips(self) -> None:
        """The VIP table, where anything bears on it."""
        known, before = self._written.vips, self._written.config
        if known is not None and before is not None and before.vips is self._config.vips:
            self._vips = known
            return
        self._vips = _vip_entries(self._config, self.numbers)
        if self._vips != known:
            self._operations.append(SwapVips(self._vips))

    def finish(self) -> Plan:
        """The plan."""
        written = Written(
            self._epochs,
            self._entries,
            self._pools,
            self._rings,
            self._vips,
            frozenset(self._accepting),
            self._config,
            frozenset(self._standing_by),
        )
        failing_open = frozenset(name for name, work in self._pools.items() if work.failing_open)
        return Plan(tuple(self._operations), self.numbers, written, self._states, tuple(self._impacts), failing_open)

    def add_ring(self, pool: Pool, protocol: Protocol, number: int) -> None:
        """Next words of a ring's slots, where anything bears on them."""
        pool_work = self._pools[pool.name]
        ring = pool_work.ring
        # The first plan has to know those that the configuration has lost as well.
        accepting = self._accepting_of(pool.name) if self._observed.first else pool_work.accepting
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
            self._operations.append(SetSettle(number, settle))
        inputs = RingInputs(ring.candidates, accepting, pool_work.draining, settle, pool.drain_idle_seconds)
        if before is not None and before.inputs == inputs and not self._is_called_for(number):
            self._rings[number] = before if before.waits == waits else replace(before, waits=waits)
            return
        facts = Facts(
            now=self._observed.now,
            accepting=accepting,
            limit=move_limit(settle),
            refused_at=self._observed.refused_at(number),
            reachable=not fresh,
            timers=number in self._observed.held,
            draining=inputs.draining,
            # 0 gives up on clients that are silent, not on those that send: they have until their next packet.
            drain_limit=inputs.drain_idle_seconds + SLACK_SECONDS,
            udp=protocol is Protocol.UDP,
        )
        found = self._evaluate(number, ring, before, facts)
        if found.slots:
            self._operations.append(WriteSlots(number, found.slots, found.words))
            if not fresh:
                words = self._observed.slots(number)
                changes = ((words[slot], word) for slot, word in zip(found.slots, found.words, strict=True))
                self._impacts.append(impact(pool.name, protocol, changes, accepting, protected=settle > 0))
        work = _ring_work(inputs, found, protocol, facts)
        self._rings[number] = replace(work, waits=waits)

    def _is_called_for(self, number: int) -> bool:
        """Whether time or a scan may change a ring that is as its inputs want it.

        Else its moves stay what they are, however many there are: only timers end them, and those of ``held`` alone.
        """
        return number in self._observed.held or number in self._observed.clear

    def _evaluate(self, number: int, ring: Ring, before: RingWork | None, facts: Facts) -> Evaluation:
        if not facts.reachable:
            # No packet has seen them: written whole, without a look at what was there.
            return Evaluation(range(RING_SIZE), stable_words(ring.target), {})
        words = self._observed.slots(number)
        moves = restore(words, self._observed.now) if before is None else before.moves
        return evaluate(words, ring.target, moves, facts, self._observed.clear.get(number, frozenset()))


def _down(known: PoolWork | None) -> set[int]:
    """Members whose checks failed when the pool was worked out last."""
    if known is None:
        return set()
    pairs = zip(known.inputs.indices, known.inputs.observed, strict=True)
    return {index for index, (_, health, _) in pairs if health.status is Status.DOWN}


def _ring_work(inputs: RingInputs, found: Evaluation, protocol: Protocol, facts: Facts) -> RingWork:
    counts = count(RING_SIZE, found.moves)
    state = RingState(protocol, counts[Kind.STABLE], counts[Kind.MOVING], counts[Kind.TRACKED])
    due: dict[int, int] = {}
    for old, began in found.oldest.items():
        limit = limit_of(old, facts)
        due[limit] = min(due.get(limit, began + limit), began + limit)
    return RingWork(inputs, found.moves, state, tuple(Timer(due_at, limit) for limit, due_at in due.items()))


def _added(new: Mapping[K, int], old: Mapping[K, int]) -> tuple[int, ...]:
    return () if new is old else tuple(index for key, index in new.items() if key not in old)


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
