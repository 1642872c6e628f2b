# SPDX-License-Identifier: Apache-2.0
"""A pool's members as the data plane sees them: entries, who accepts, who is in the ring, and the ring's answer."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from lb.core.hashing import v4_mapped
from lb.core.layout import BackendEntry
from lb.core.maglev import Member, build_ring
from lb.core.model import RING_SIZE, AdminState, Backend, Hop, Settings, Unresolved

Candidates = tuple[tuple[int, bytes, int], ...]
"""What a ring is made of: (backend index, identity, weight) of each candidate, in the pool's order."""


MAX_MTU_BYTES = 65_535
"""What the data plane's field holds; no IP packet is longer."""


@dataclass(frozen=True, slots=True)
class Ring:
    """A pool's Maglev answer: ``target[slot]`` is a backend index, ``counts`` the slots of each index."""

    candidates: Candidates
    target: array[int]
    counts: Mapping[int, int]


def backend_entry(settings: Settings, backend: Backend, hop: Hop) -> BackendEntry | None:
    """What the data plane needs to send to a backend; None without a next hop."""
    if isinstance(hop, Unresolved):
        return None
    prefix = settings.outer_source_ipv4 if backend.address.version == 4 else settings.outer_source_ipv6
    # The flow hash has 32 bits: a longer host part keeps zeros.
    source, mask = (hop.source, 0) if prefix is None else (prefix.network_address, int(prefix.hostmask) & 0xFFFFFFFF)
    mtu_bytes = min(hop.mtu_bytes, MAX_MTU_BYTES)
    return BackendEntry(hop.ifindex, hop.mac, hop.source_mac, backend.address, source, mask, mtu_bytes)


def takes_flows(backend: Backend) -> bool:
    """Whether the operator lets it have new flows; a backend that does not keeps those it has, unless disabled."""
    return backend.admin_state is AdminState.ENABLED and backend.weight > 0


def why_not_candidate(backend: Backend, hop: Hop) -> str:
    """Why a backend is outside the ring, in words; empty when it is inside."""
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


def candidate(index: int, backend: Backend) -> tuple[int, bytes, int]:
    """A member of the ring; its address is its identity, so that renaming it moves no flow."""
    return index, v4_mapped(backend.address), backend.weight


def pool_ring(candidates: Candidates, known: Ring | None) -> Ring:
    """The Maglev answer for these candidates; all zeros when there are none. ``known`` is reused when it fits."""
    if known is not None and known.candidates == candidates:
        return known
    order = build_ring([Member(identity, weight) for _, identity, weight in candidates])
    indices = [index for index, _, _ in candidates]
    target = array("H", [indices[member] for member in order] if order else bytes(2 * RING_SIZE))
    return Ring(candidates, target, Counter(target) if order else {})
