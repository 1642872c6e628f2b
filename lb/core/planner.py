# SPDX-License-Identifier: Apache-2.0
"""Desired and observed -> operations. Pure: everything that was observed comes in, everything to do goes out."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lb.core.allocation import Allocation, allocate
from lb.core.hashing import v4_mapped
from lb.core.layout import VIP_ADDRESS, BackendEntry, stable
from lb.core.maglev import Member, build_ring
from lb.core.model import (
    RING_SIZE,
    Address,
    AdminState,
    Backend,
    BackendState,
    Config,
    Hop,
    Pool,
    Settings,
    Unresolved,
)
from lb.core.operations import Operation, ResetCounters, SetEpoch, SwapVips, WriteBackend, WriteSlots
from lb.core.vip_table import VipEntry

Candidates = tuple[tuple[int, bytes, int], ...]
"""What a ring is made of: (backend index, identity, weight) of each candidate, in the pool's order."""


@dataclass(frozen=True, slots=True)
class Ring:
    """A pool's Maglev answer: ``target[slot]`` is a backend index, ``counts`` the slots of each index."""

    candidates: Candidates
    target: array[int]
    counts: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Written:
    """What the data plane holds, as far as this daemon wrote or read it; what is not here is written again.

    ``epochs``: of every backend index. ``pools``: by pool name. ``rings``: ring index to the candidates that its
    words were written for.
    """

    epochs: Sequence[int]
    entries: Mapping[int, BackendEntry] = field(default_factory=dict)
    pools: Mapping[str, Ring] = field(default_factory=dict)
    rings: Mapping[int, Candidates] = field(default_factory=dict)
    vips: tuple[VipEntry, ...] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Operations in order, and what will be true once they are carried out."""

    operations: tuple[Operation, ...]
    allocation: Allocation
    written: Written
    backends: Mapping[tuple[str, str], BackendState]


def plan(
    config: Config,
    hops: Callable[[Address], Hop],
    allocation: Allocation,
    written: Written,
    read_slots: Callable[[int], Sequence[int]],
) -> Plan:
    """Compute what has to be written.

    Order: counters of reused numbers, backends, rings, VIPs; so nothing is reachable before it is complete, and what
    is no longer reachable may go at any time.

    Raises:
        LimitError: The data plane has no room for the configuration.
    """
    numbers = allocate(config, allocation)
    operations: list[Operation] = []
    states: dict[tuple[str, str], BackendState] = {}
    epochs = list(written.epochs)
    entries: dict[int, BackendEntry] = {}
    pools: dict[str, Ring] = {}

    fresh_vips = tuple(i for name, i in numbers.vips.items() if name not in allocation.vips)
    fresh_backends = tuple(i for key, i in numbers.backends.items() if key not in allocation.backends)
    if fresh_vips or fresh_backends:
        operations.append(ResetCounters(fresh_vips, fresh_backends))

    accepting: set[int] = set()
    for pool in config.pools.values():
        candidates: list[tuple[int, bytes, int]] = []
        for backend in pool.backends.values():
            index = _index(numbers, pool, backend)
            hop = hops(backend.address)
            entry = _entry(config.settings, backend, hop) or written.entries.get(index)
            if entry is not None:
                entries[index] = entry
                if written.entries.get(index) != entry:
                    operations.append(WriteBackend(index, entry))
            # A backend whose next hop is lost keeps its flows on the address that was last known.
            if backend.admin_state is not AdminState.DISABLED and (entry is not None or epochs[index] % 2):
                accepting.add(index)
            if not _why_not_candidate(backend, hop):
                candidates.append((index, v4_mapped(backend.address), backend.weight))
        pools[pool.name] = _ring(tuple(candidates), written.pools.get(pool.name))
        states |= _states(pool, numbers, hops, pools[pool.name])

    for index, epoch in enumerate(epochs):
        if epoch % 2 != (index in accepting):
            epochs[index] = epoch + 1 & 0xFFFFFFFF
            operations.append(SetEpoch(index, epochs[index]))

    rings: dict[int, Candidates] = {}
    for (name, _), number in numbers.rings.items():
        rings[number] = pools[name].candidates
        if written.rings.get(number) != rings[number]:
            operations += _slots(number, pools[name], read_slots(number))

    vips = _vip_entries(config, numbers)
    if vips != written.vips:
        operations.append(SwapVips(vips))
    return Plan(tuple(operations), numbers, Written(epochs, entries, pools, rings, vips), states)


def _vip_entries(config: Config, numbers: Allocation) -> tuple[VipEntry, ...]:
    vips = config.vips.values()
    entries = [
        VipEntry(v.address, v.port, v.protocol, numbers.rings[v.pool, v.protocol], numbers.vips[v.name]) for v in vips
    ]
    addresses = dict.fromkeys(vip.address for vip in vips)
    return (*entries, *(VipEntry(address, 0, 0, 0, 0, VIP_ADDRESS) for address in addresses))


def _index(numbers: Allocation, pool: Pool, backend: Backend) -> int:
    return numbers.backends[pool.name, backend.name, str(backend.address)]


def _entry(settings: Settings, backend: Backend, hop: Hop) -> BackendEntry | None:
    if isinstance(hop, Unresolved):
        return None
    prefix = settings.outer_source_ipv4
    source, mask = (hop.source, 0) if prefix is None else (prefix.network_address, int(prefix.hostmask))
    return BackendEntry(hop.ifindex, hop.mac, hop.source_mac, backend.address, source, mask, hop.mtu_bytes)


def _why_not_candidate(backend: Backend, hop: Hop) -> str:
    match backend.admin_state, backend.weight, hop:
        case AdminState.DISABLED, _, _:
            return "disabled by the operator"
        case AdminState.DRAINING, _, _:
            return "draining: no new flows"
        case _, 0, _:
            return "weight 0: no new flows"
        case _, _, Unresolved(reason):
            return reason
    return ""


def _ring(candidates: Candidates, known: Ring | None) -> Ring:
    if known is not None and known.candidates == candidates:
        return known
    order = build_ring([Member(identity, weight) for _, identity, weight in candidates])
    indices = [index for index, _, _ in candidates]
    target = array("H", [indices[member] for member in order] if order else bytes(2 * RING_SIZE))
    return Ring(candidates, target, Counter(target) if order else {})


def _states(
    pool: Pool, numbers: Allocation, hops: Callable[[Address], Hop], ring: Ring
) -> dict[tuple[str, str], BackendState]:
    return {
        (pool.name, backend.name): BackendState(
            ring.counts.get(_index(numbers, pool, backend), 0), _why_not_candidate(backend, hop), hop
        )
        for backend in pool.backends.values()
        for hop in [hops(backend.address)]
    }


def _slots(number: int, ring: Ring, words: Sequence[int]) -> list[Operation]:
    changed = [slot for slot, index in enumerate(ring.target) if words[slot] != index * 0x10001]
    if not changed:
        return []
    return [WriteSlots(number, changed, [stable(ring.target[slot]) for slot in changed])]
