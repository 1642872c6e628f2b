# SPDX-License-Identifier: Apache-2.0
"""What a change costs follows what changed, not what there is: counted in work, not in time."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from fakes.daemon import config, daemon
from fakes.world import WEB, World, backend

from lb.core import edit, members
from lb.core.audit import DAEMON
from lb.core.maglev import Member
from lb.core.model import AdminState, Config, Pool, Protocol, Vip
from lb.core.operations import Operation, SwapVips
from lb.daemon.addresses import Addresses, changed_addresses

MANY = 300


class Guarded(dict[str, Vip]):
    """VIPs by name that nobody may walk through once they are closed."""

    is_closed = False

    def _watched(self, walk: Callable[[], Any]) -> Any:
        assert not self.is_closed, "somebody walked through the VIPs"
        return walk()

    def __iter__(self) -> Any:
        return self._watched(super().__iter__)

    def keys(self) -> Any:
        return self._watched(super().keys)

    def values(self) -> Any:
        return self._watched(super().values)

    def items(self) -> Any:
        return self._watched(super().items)

    def __eq__(self, other: object) -> bool:
        return bool(self._watched(lambda: dict.__eq__(self, other)))

    __hash__ = None  # type: ignore[assignment]


def with_vips(count: int) -> tuple[Config, Guarded]:
    """Three backends, and so many VIPs on their pool."""
    made = config(1, 2, 3)
    vip = made.vips["web"]
    more = {f"v{i}": replace(vip, name=f"v{i}", address=ip_address("198.51.100.0") + i) for i in range(count - 1)}
    vips = Guarded({"web": vip, **more})
    return replace(made, vips=vips), vips


def set_state(state: AdminState) -> Callable[[Config], Config]:
    """The edit that gives a backend this admin state."""
    return lambda current: edit.put_backend(
        current, "web", replace(current.pools["web"].backends["b1"], admin_state=state)
    )


async def work_of_a_change(vip_count: int) -> list[str | Operation]:
    """What the data plane is asked for when one backend is disabled."""
    stored, vips = with_vips(vip_count)
    async with daemon(stored, lambda _: stored) as made:
        numbers = made.reconciler.allocation
        before = len(made.data_plane.calls)
        vips.is_closed = True
        applied = await made.reconciler.apply(set_state(AdminState.DISABLED), DAEMON)
        vips.is_closed = False
        assert applied.view.backends["web", "b1"].reason == "disabled by the operator"
        assert made.reconciler.allocation.vips is numbers.vips
        return made.data_plane.calls[before:]


async def test_a_change_of_one_backend_does_the_same_whatever_the_number_of_vips() -> None:
    """It is in force after the same operations, and on the way nobody walks through the VIPs."""
    few, many = await work_of_a_change(1), await work_of_a_change(MANY)
    assert few == many
    assert not any(isinstance(operation, SwapVips) for operation in many)


class Watched(World):
    """Notes which rings' slots are read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []
        slots = self.data_plane.slots

        def noted(ring: int) -> array[int]:
            self.read.append(ring)
            return slots(ring)

        self.data_plane.slots = noted  # type: ignore[method-assign]


def two_pools(state: AdminState = AdminState.ENABLED, weight: int = 1) -> Config:
    """Pool "pool", whose b1 has ``state``, with ring 0; pool "other", whose b8 has ``weight``, with ring 1."""
    pools = {
        "pool": Pool("pool", backends={"b1": backend(1, state=state), "b2": backend(2)}),
        "other": Pool("other", backends={"b8": backend(8, weight), "b9": backend(9)}),
    }
    vips = {"web": WEB, "x": Vip("x", ip_address("192.0.2.9"), 80, Protocol.TCP, "other")}
    return Config(pools=pools, vips=vips)


def moving() -> tuple[Watched, Config]:
    """Slots of ring 0 move, for two hours."""
    made, wanted = Watched(), two_pools(AdminState.DRAINING)
    made.plan(two_pools())
    assert made.plan(wanted).written.rings[0].moves
    made.read.clear()
    return made, wanted


def test_new_rings_are_written_without_a_look_at_what_was_there() -> None:
    """A plan that is only shown must not make their maps."""
    made = Watched()
    made.plan(two_pools())
    assert made.read == []


def test_moves_of_one_pool_do_not_make_changes_of_another_dearer() -> None:
    """Each changed pool moves for hours: if all of them were looked at again each time, the next change would crawl."""
    made, wanted = moving()
    before = made.written.rings[0]
    other = replace(wanted, pools={**wanted.pools, "other": two_pools(weight=5).pools["other"]})
    planned = made.plan(other)
    assert set(made.read) == {1}
    assert planned.written.rings[0] is before


def test_a_ring_is_looked_at_when_time_or_a_scan_calls_for_it() -> None:
    """Else its moves would never end."""
    made, wanted = moving()
    made.plan(wanted)
    assert made.read == []
    made.plan(wanted, held=frozenset({0}))
    assert set(made.read) == {0}
    made.read.clear()
    made.plan(wanted, clear={0: frozenset({5})})
    assert set(made.read) == {0}


def test_a_ring_that_was_planned_for_show_is_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """`lbctl apply` plans twice, and a hundred rings take seconds."""
    built: list[int] = []
    build = members.build_ring

    def counting(given: list[Member]) -> list[int]:
        built.append(len(given))
        return build(given)

    monkeypatch.setattr(members, "build_ring", counting)
    members.pool_ring.cache_clear()
    shown, real = World(), World()
    assert shown.plan(two_pools()).written.pools == real.plan(two_pools()).written.pools
    assert built == [2, 2]


def test_addresses_of_a_pool_are_collected_once() -> None:
    """An edit shares all pools but one."""
    addresses, before = Addresses(), two_pools()
    changed = replace(before.pools["other"], backends={"b7": backend(7)})
    after = replace(before, pools={**before.pools, "other": changed})
    kept = [backend(1).address, backend(2).address]
    assert addresses.of([before]) == {*kept, backend(8).address, backend(9).address}
    assert addresses.of([before, after]) == {*kept, *(backend(i).address for i in (7, 8, 9))}
    assert addresses.of([after]) == {*kept, backend(7).address}
    assert addresses.of([Config()]) == frozenset()


def test_changed_addresses_are_those_of_backends_that_an_edit_added_or_changed() -> None:
    before, after = two_pools(), two_pools(AdminState.DRAINING)
    more = replace(after.pools["other"], backends={**after.pools["other"].backends, "b7": backend(7)})
    after = replace(after, pools={**after.pools, "other": more, "new": Pool("new", backends={"b6": backend(6)})})
    assert changed_addresses(before, after) == {backend(i).address for i in (1, 6, 7)}
    assert changed_addresses(before, before) == frozenset()
