# SPDX-License-Identifier: Apache-2.0
"""Weighted Maglev: the lookup table of a pool.

Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4. Weights
decide how often a member takes a turn: after any number of turns each has had its share of them, give or take one.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from lb.core.model import RING_SIZE

_TURN_SCALE = 1 << 48

_SEARCH_SHARE = 5
"""When fewer slots are free than one in so many for each member, they are no longer searched for: ``_fill_rest``."""


@dataclass(frozen=True, slots=True)
class Member:
    """A backend in the ring. ``identity`` decides its permutation: nodes that agree on it agree on the ring."""

    identity: bytes
    weight: int = 1


def build_ring(members: Sequence[Member], size: int = RING_SIZE) -> list[int]:
    """Fill a Maglev ring.

    Two nodes that learnt the same members in another order get the same ring, up to the numbering of the members.

    Args:
        members: In any order; identities must be unique, weights >= 1.
        size: Number of slots, a prime.

    Returns:
        ``size`` indices into ``members``; empty when there are none.

    Raises:
        ValueError: A duplicate identity, or a weight below 1.
    """
    if len({member.identity for member in members}) != len(members):
        raise ValueError("duplicate identity")
    if any(member.weight < 1 for member in members):
        raise ValueError("weight below 1")
    if not members:
        return []

    ring, taken = [0] * size, [False] * size
    position, step = _permutations(members, size)
    turns = chain.from_iterable(_turns(members))
    rest = size // (_SEARCH_SHARE * len(members))
    for index in islice(turns, size - rest):
        slot, skip = position[index], step[index]
        while taken[slot]:
            slot = (slot + skip) % size
        ring[slot], taken[slot], position[index] = index, True, slot
    _fill_rest(ring, taken, position, step, turns)
    return ring


def _fill_rest(ring: list[int], taken: list[bool], position: list[int], step: list[int], turns: Iterator[int]) -> None:
    """Give the free slots to those whose turn it is.

    Most slots that a member tries are taken by now, and would cost most of the time. So each puts the free ones in the
    order of its permutation, once, and passes over those that others have taken since.
    """
    free = [slot for slot, is_taken in enumerate(taken) if not is_taken]
    orders: dict[int, list[int]] = {}
    for index in islice(turns, len(free)):
        if index not in orders:
            orders[index] = _last_is_next(free, position[index], step[index], len(ring))
        order = orders[index]
        slot = order.pop()
        while taken[slot]:
            slot = order.pop()
        ring[slot], taken[slot] = index, True


def _last_is_next(free: list[int], position: int, step: int, size: int) -> list[int]:
    """Free slots in the order in which a member that stands at ``position`` comes to them, backwards."""
    inverse = pow(step, -1, size)
    return sorted(free, key=lambda slot: (slot - position) * inverse % size, reverse=True)


def _permutations(members: Sequence[Member], size: int) -> tuple[list[int], list[int]]:
    position, step = [], []
    for member in members:
        digest = hashlib.blake2b(member.identity, digest_size=16, person=b"lb maglev").digest()
        position.append(int.from_bytes(digest[:8], "big") % size)
        step.append(int.from_bytes(digest[8:], "big") % (size - 1) + 1)
    return position, step


def _turns(members: Sequence[Member]) -> Iterator[list[int]]:
    """Endless turns: at each step, the members (indices, by identity) whose turn has come."""
    groups: dict[int, list[int]] = {}
    for index in sorted(range(len(members)), key=lambda index: members[index].identity):
        groups.setdefault(members[index].weight, []).append(index)
    # (time of the next turn, tie-break: heavier first, interval, members). Members of one weight go together, so that
    # the heap is as small as the number of different weights.
    heap = [(_TURN_SCALE // weight, -weight, _TURN_SCALE // weight, group) for weight, group in groups.items()]
    heapq.heapify(heap)
    while True:
        due, tie, interval, group = heap[0]
        heapq.heapreplace(heap, (due + interval, tie, interval, group))
        yield group
