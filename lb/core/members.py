# SPDX-License-Identifier: Apache-2.0
"""A pool's members as the data plane sees them: entries, who accepts, who is in the ring, and the ring's answer."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd

from lb.core.hashing import v4_mapped
from lb.core.health import FULL, Health, Status
from lb.core.layout import BackendEntry
from lb.core.maglev import Member, build_ring
from lb.core.model import RING_SIZE, AdminState, Backend, Hop, OnDown, Pool, Settings, Unresolved

Candidates = tuple[tuple[int, bytes, int], ...]
"""What a ring is made of: (backend index, identity, weight) of each candidate, in the pool's order."""


RINGS_KEPT = 256
"""Answers that are remembered, 0.13 MB each: a change is planned twice when it is shown first, and checks flap."""

CHECKS_FAIL = "its checks fail"
NO_VERDICT = "its health check has no verdict yet"
"""Why a member is outside the ring, as a plan says it: what the checks complain of changes without a plan."""

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


@dataclass(frozen=True, slots=True)
class Standing:
    """How a member stands, before the pool as a whole is looked at.

    ``reachable``: the data plane has an entry for it, or will have. ``accepted``: it accepts flows now. ``stands_by``:
    it does, but was outside the ring when its checks began anew.
    """

    backend: Backend
    index: int
    hop: Hop
    health: Health
    reachable: bool
    accepted: bool
    stands_by: bool = False

    @property
    def is_healthy(self) -> bool:
        """UP; while there is no verdict, a member is what it was."""
        return self.health.status is Status.UP or (
            self.health.status is Status.UNKNOWN and self.accepted and not self.stands_by
        )

    def accepts(self, pool: Pool, *, open_: bool) -> bool:
        """Whether it serves the flows that it has. ``open_``: the pool fails open."""
        if self.backend.admin_state is AdminState.DISABLED or not (self.accepted or self.reachable):
            return False
        if self.is_healthy or (open_ and takes_flows(self.backend)):
            return True
        # Without a verdict it is what it was; when its checks fail it keeps its flows only if the operator wants that.
        keeps = self.health.status is Status.UNKNOWN or pool.on_down is OnDown.KEEP
        return keeps and self.accepted

    def why_not_candidate(self, *, open_: bool) -> str:
        """Why it is outside the ring, in words; empty when it is inside."""
        match self.backend.admin_state, self.backend.weight, self.hop:
            case AdminState.DISABLED, _, _:
                return "disabled by the operator"
            case AdminState.DRAINING, _, _:
                return "draining: no new flows"
            case _, 0, _:
                return "weight 0: no new flows"
            case _, _, Unresolved(reason):
                return reason
        if self.is_healthy or open_:
            return ""
        if self.health.status is Status.DOWN:
            return CHECKS_FAIL
        return NO_VERDICT


def spelled_out(reason: str, health: Health) -> str:
    """Why a member is outside the ring, with what its checks say now."""
    if reason == CHECKS_FAIL and health.reason:
        return f"{reason}: {health.reason}"
    return (health.reason or reason) if reason == NO_VERDICT else reason


def fails_open(pool: Pool, standings: Sequence[Standing]) -> bool:
    """Whether too few of the members that could take flows are healthy to leave the others out."""
    if pool.health_check is None or not pool.fail_open:
        return False
    able = [standing for standing in standings if takes_flows(standing.backend)]
    healthy = sum(standing.is_healthy for standing in able)
    # Members that are new say nothing about the others yet: to add some must not put unchecked ones to use.
    known = sum(standing.accepted or standing.health.status is not Status.UNKNOWN for standing in able)
    return bool(able) and (healthy == 0 or 100 * healthy < pool.min_healthy_percent * known)


def candidates(inside: Sequence[Standing]) -> Candidates:
    """The ring's members; the address is the identity, so that renaming a backend moves no flow."""
    weights = [standing.backend.weight for standing in inside]
    ramps = [standing.health.ramp for standing in inside]
    if any(ramp != FULL for ramp in ramps):
        weights = [weight * ramp for weight, ramp in zip(weights, ramps, strict=True)]
        shared = gcd(*weights)
        weights = [weight // shared for weight in weights]
    return tuple(
        (standing.index, v4_mapped(standing.backend.address), weight)
        for standing, weight in zip(inside, weights, strict=True)
    )


@lru_cache(RINGS_KEPT)
def pool_ring(candidates: Candidates) -> Ring:
    """The Maglev answer for these candidates; all zeros when there are none."""
    order = build_ring([Member(identity, weight) for _, identity, weight in candidates])
    indices = [index for index, _, _ in candidates]
    target = array("H", [indices[member] for member in order] if order else bytes(2 * RING_SIZE))
    return Ring(candidates, target, Counter(target) if order else {})
