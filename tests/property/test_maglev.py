# SPDX-License-Identifier: Apache-2.0
"""What a ring promises: balance, agreement between nodes, little disruption."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b, sha256
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.maglev import Member, build_ring
from lb.core.model import RING_SIZE

SMALL_PRIME = 2_039

identities = st.lists(st.binary(min_size=1, max_size=16), min_size=1, max_size=40, unique=True)
members = st.lists(
    st.builds(Member, st.binary(min_size=1, max_size=16), st.integers(1, 100)),
    min_size=1,
    max_size=30,
    unique_by=lambda member: member.identity,
)


@given(members, st.randoms(use_true_random=False))
def test_ring_ignores_the_order_of_its_members(members: list[Member], random: object) -> None:
    """Two nodes that learnt backends in another order must agree on every flow."""
    shuffled = list(members)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one = [members[index].identity for index in build_ring(members, SMALL_PRIME)]
    other = [shuffled[index].identity for index in build_ring(shuffled, SMALL_PRIME)]
    assert one == other


@given(members)
def test_shares_are_proportional_to_weights(members: list[Member]) -> None:
    """Weights 1:2 must mean 33:67, not 50:50."""
    ring = build_ring(members, SMALL_PRIME)
    assert len(ring) == SMALL_PRIME
    counts = Counter(ring)
    total = sum(member.weight for member in members)
    for index, member in enumerate(members):
        # Each member is at most one turn ahead of or behind its share, and the ring ends in the middle of a round.
        assert abs(counts[index] - SMALL_PRIME * member.weight / total) <= 2


@given(identities)
def test_removing_a_member_moves_little_else(identities: list[bytes]) -> None:
    """Every slot that moves without need is a slot whose flows have to be tracked."""
    members = [Member(identity) for identity in identities]
    if len(members) < 2:
        return
    before = [members[index].identity for index in build_ring(members, SMALL_PRIME)]
    rest = members[1:]
    after = [rest[index].identity for index in build_ring(rest, SMALL_PRIME)]
    needless = sum(old != new for old, new in zip(before, after, strict=True) if old != members[0].identity)
    # Maglev trades a little disruption for balance (NSDI 2016, figure 12).
    assert needless <= 0.2 * SMALL_PRIME


@pytest.mark.parametrize(
    ("weights", "percentages"),
    [((1, 2), (33.3, 66.7)), ((100, 200, 700), (10, 20, 70)), ((1, 1, 1), (33.3, 33.3, 33.3))],
)
def test_known_shares(weights: tuple[int, ...], percentages: tuple[float, ...]) -> None:
    """The figures of the documentation, on a ring of real size."""
    counts = Counter(build_ring([Member(bytes([i]), weight) for i, weight in enumerate(weights)]))
    for index, percentage in enumerate(percentages):
        assert abs(100 * counts[index] / RING_SIZE - percentage) < 0.1


def filled_slot_by_slot(members: list[Member], size: int) -> list[int]:
    """The ring of members of equal weight as the paper fills it: in turns, by name, each takes its next free slot."""
    ring: list[int | None] = [None] * size
    walks = []
    for index in sorted(range(len(members)), key=lambda index: members[index].identity):
        digest = blake2b(members[index].identity, digest_size=16, person=b"lb maglev").digest()
        offset, skip = int.from_bytes(digest[:8], "big") % size, int.from_bytes(digest[8:], "big") % (size - 1) + 1
        walks.append((index, iter([(offset + step * skip) % size for step in range(size)])))
    while True:
        for index, walk in walks:
            if None not in ring:
                return [slot for slot in ring if slot is not None]
            ring[next(slot for slot in walk if ring[slot] is None)] = index


@given(identities, st.sampled_from([2, 3, 13, 251]))
def test_a_ring_is_filled_as_the_paper_says(identities: list[bytes], size: int) -> None:
    """However quickly: another way to the last slots must not lead to other ones."""
    members = [Member(identity) for identity in identities]
    assert build_ring(members, size) == filled_slot_by_slot(members, size)


@pytest.mark.parametrize(
    ("weights", "digest"),
    [
        ((1,) * 50, "e35ee26ef427f661"),
        (tuple(1 + i * i % 7 for i in range(50)), "45d429b72c4afc6f"),
        ((1, 2, 5), "5e20955793f256af"),
    ],
)
def test_releases_agree(weights: tuple[int, ...], digest: str) -> None:
    """Balancers of a fleet are not upgraded at once, and a restart must move no slot."""
    ring = build_ring([Member(b"backend %d" % i, weight) for i, weight in enumerate(weights)])
    assert sha256(pack(f"<{len(ring)}H", *ring)).hexdigest()[:16] == digest


@given(st.integers(1, 65_535), st.integers(1, 65_535))
def test_extreme_weights_are_quick_and_right(one: int, other: int) -> None:
    """A weight of 65,535 beside one of 1 must not take a minute."""
    counts = Counter(build_ring([Member(b"a", one), Member(b"b", other)], SMALL_PRIME))
    assert abs(counts[0] - SMALL_PRIME * one / (one + other)) <= 2


def test_no_members_no_ring() -> None:
    """The planner writes 0 everywhere: packets are dropped with a reason."""
    assert build_ring([]) == []


@pytest.mark.parametrize("members", [[Member(b"a"), Member(b"a")], [Member(b"a", 0)]])
def test_nonsense_is_refused(members: list[Member]) -> None:
    """Two members of one identity would shadow each other; weight 0 never takes a turn."""
    with pytest.raises(ValueError, match=r"duplicate|weight"):
        build_ring(members)
