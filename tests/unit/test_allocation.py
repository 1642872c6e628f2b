# SPDX-License-Identifier: Apache-2.0
"""Numbers of the data plane: kept by who has them, and used again as late as can be."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

import pytest

from lb.core import allocation
from lb.core.allocation import Allocation, allocate
from lb.core.errors import LimitError
from lb.core.model import Backend, Config, Pool, Protocol, Vip


def config(members: Iterable[int] = (), vips: Iterable[int] = (), pools: Iterable[int] = ()) -> Config:
    """Backends b{i} in pool "p"; VIP v{i}, each on a pool p{i} of its own."""
    member = {f"b{i}": Backend(f"b{i}", ip_address(f"10.0.0.{i}")) for i in members}
    made = {"p": Pool("p", backends=member), **{f"p{i}": Pool(f"p{i}") for i in (*pools, *vips)}}
    return Config(
        pools=made, vips={f"v{i}": Vip(f"v{i}", ip_address("192.0.2.1"), i, Protocol.TCP, f"p{i}") for i in vips}
    )


def key(i: int) -> tuple[str, str, str]:
    """Under which a backend's index is kept."""
    return "p", f"b{i}", f"10.0.0.{i}"


def test_first_numbers() -> None:
    """0 means none: VIPs and backends are counted from 1, rings from 0."""
    made = allocate(config(members=[1, 2], vips=[7, 8]), Allocation())
    assert dict(made.backends) == {key(1): 1, key(2): 2}
    assert dict(made.vips) == {"v7": 1, "v8": 2}
    assert dict(made.rings) == {("p7", 6): 0, ("p8", 6): 1}


def test_what_stays_keeps_its_number() -> None:
    """Whatever comes or goes beside it, in whatever order the configuration names it."""
    before = allocate(config(members=[1, 2, 3]), Allocation())
    after = allocate(config(members=[4, 3, 1]), before)
    assert dict(after.backends) == {key(4): 4, key(3): 3, key(1): 1}


def test_a_new_address_is_a_new_backend() -> None:
    """Its flows are on the old machine: an index stands for one address, always."""
    before = allocate(config(members=[1]), Allocation())
    moved = Config(pools={"p": Pool("p", backends={"b1": Backend("b1", ip_address("10.0.0.9"))})})
    assert dict(allocate(moved, before).backends) == {("p", "b1", "10.0.0.9"): 2}


def test_a_number_is_not_handed_out_in_the_batch_that_frees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets may still be on their way by it."""
    monkeypatch.setattr(allocation, "MAX_BACKENDS", 3)
    before = allocate(config(members=[1, 2]), Allocation())
    after = allocate(config(members=[1, 3]), before)
    assert after.backends[key(3)] == 3
    with pytest.raises(LimitError):
        allocate(config(members=[4, 5, 6]), after)
    assert allocate(config(members=[1, 3, 4]), after).backends[key(4)] == 2


def test_the_number_that_was_freed_first_is_used_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flow entries of its last owner have the longest time to be collected."""
    monkeypatch.setattr(allocation, "MAX_BACKENDS", 5)
    state = allocate(config(members=[1, 2, 3]), Allocation())
    for gone in ([2, 3], [3], []):
        state = allocate(config(members=gone), state)
    handed_out = []
    for i in (4, 5, 6, 7):
        state = allocate(config(members=[i]), state)
        handed_out.append(state.backends[key(i)])
    assert handed_out == [4, 5, 1, 2]


def test_rings_and_vips_go_round_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A VIP that comes back must not find its entries: they would be live again."""
    monkeypatch.setattr(allocation, "MAX_RINGS", 3)
    monkeypatch.setattr(allocation, "MAX_VIPS", 3)
    state, seen = Allocation(), []
    for _ in range(4):
        state = allocate(config(vips=[1]), state)
        seen.append((state.vips["v1"], state.rings["p1", 6]))
        state = allocate(config(pools=[1]), state)
    assert seen == [(1, 0), (2, 1), (3, 2), (1, 0)]


def test_both_protocols_of_a_pool_have_a_ring_each() -> None:
    """And VIPs of one protocol share it."""
    vips = {
        name: Vip(name, ip_address("192.0.2.1"), port, protocol, "p")
        for name, port, protocol in (("a", 80, Protocol.TCP), ("b", 443, Protocol.TCP), ("c", 53, Protocol.UDP))
    }
    made = allocate(Config(pools={"p": Pool("p")}, vips=vips), Allocation())
    assert dict(made.rings) == {("p", 6): 0, ("p", 17): 1}


@pytest.mark.parametrize(
    ("limit", "wanted", "kind"),
    [
        ("MAX_BACKENDS", config(members=[1, 2, 3]), "backend"),
        ("MAX_VIPS", config(vips=[1, 2, 3]), "vip"),
        ("MAX_RINGS", config(vips=[1, 2, 3]), "ring"),
    ],
)
def test_more_than_there_is_room_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, limit: str, wanted: Config, kind: str
) -> None:
    """By name, with the number, before anything is written."""
    monkeypatch.setattr(allocation, limit, 2)
    with pytest.raises(LimitError, match=f"room for 2 {kind}s: delete some first"):
        allocate(wanted, Allocation())


def test_an_allocation_is_never_changed_in_place() -> None:
    """The store compares the old one with the new one."""
    before = allocate(config(members=[1]), Allocation())
    copy = dict(before.backends), dict(before.cursors)
    allocate(config(members=[2, 3]), before)
    assert (dict(before.backends), dict(before.cursors)) == copy


def test_numbers_that_an_edit_leaves_alone_are_the_very_same() -> None:
    """What comes after looks at nothing that did not change: a weight is not worth a walk through thousands."""
    before = config(members=[1, 2], vips=[7])
    numbers = allocate(before, Allocation())
    heavy = Backend("b1", ip_address("10.0.0.1"), weight=9)
    pool = Pool("p", backends={**before.pools["p"].backends, "b1": heavy})
    edited = Config(pools={**before.pools, "p": pool}, vips=before.vips)
    found = allocate(edited, numbers, before)
    assert found.backends is numbers.backends
    assert found.vips is numbers.vips
    assert found.rings is numbers.rings


def test_an_edit_of_one_pool_keeps_the_numbers_of_the_others() -> None:
    """Of a pool that is passed over as well as of one that loses a member and gets another."""
    before = config(members=[1, 2], pools=[5])
    numbers = allocate(before, Allocation())
    edited = Config(pools={**config(members=[2, 3]).pools, "p5": before.pools["p5"]})
    assert dict(allocate(edited, numbers, before).backends) == {key(2): 2, key(3): 3}
