# SPDX-License-Identifier: Apache-2.0
"""What every data plane promises: the kernel's and the one in memory pass the same tests."""

from __future__ import annotations

import itertools
import os
import typing
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from fakes.data_plane import FakeDataPlane
from packets.box import Box, box

from lb.core.flows import Entry
from lb.core.layout import BACKEND, COUNTER, FLOW, FLOW_KEY, VIP_COUNTER, BackendEntry, pack_backend
from lb.core.model import RING_SIZE
from lb.core.operations import ResetCounters, SetEpoch, SetSettle, SwapVips, WriteBackend, WriteSlots
from lb.core.slots import moving, stable, tracked
from lb.core.verdicts import Verdict
from lb.core.vip_table import VipEntry, build_vip_table
from lb.dataplane import libbpf
from lb.ports import Count, DataPlane, VipCount

RINGS = itertools.count()
"""Each test takes a ring of its own: the kernel's maps outlive a test."""


class Plane(typing.Protocol):
    """A data plane, and what packets would do to it."""

    data_plane: DataPlane
    ifindex: int

    def put(self, entry: Entry) -> None: ...
    def lose(self, ring: int) -> None: ...
    def count(self, vip: int, backend: int) -> None: ...


class InKernel:
    def __init__(self, made: Box) -> None:
        self._maps = made.bpf_dir / "maps"
        self.data_plane: DataPlane = made.data_plane
        self.ifindex = made.ifindex["in0"]

    def put(self, entry: Entry) -> None:
        value = FLOW.pack(entry.epoch, entry.backend, entry.life, entry.seen, entry.slot, entry.ring)
        self._update("flows", entry.key, value)

    def count(self, vip: int, backend: int) -> None:
        cpus = libbpf.possible_cpus()
        self._update("vip_counters", vip.to_bytes(4, "little"), VIP_COUNTER.pack(1, 60, 1, 60, 0) * cpus)
        self._update("backend_counters", backend.to_bytes(4, "little"), COUNTER.pack(1, 60) * cpus)

    def lose(self, ring: int) -> None:
        fd = libbpf.obj_get(self._maps / "rings")
        try:
            libbpf.map_delete(fd, ring.to_bytes(4, "little"))
        finally:
            os.close(fd)

    def _update(self, name: str, key: bytes, value: bytes) -> None:
        fd = libbpf.obj_get(self._maps / name)
        try:
            libbpf.map_update(fd, key, value)
        finally:
            os.close(fd)


class InMemory:
    def __init__(self) -> None:
        self.fake = FakeDataPlane()
        self.data_plane: DataPlane = self.fake
        self.ifindex = 2
        self.fake.load(bytes(16))
        self.fake.attach()

    def put(self, entry: Entry) -> None:
        self.fake.flows.entries[entry.key] = entry

    def lose(self, ring: int) -> None:
        self.fake.lost_rings.add(ring)

    def count(self, vip: int, backend: int) -> None:
        self.fake.vip_counts[vip] = VipCount(Count(1, 60), Count(1, 60))
        self.fake.backend_counts[backend] = Count(1, 60)


@pytest.fixture(scope="module")
def in_kernel() -> Iterator[InKernel]:
    with box() as made:
        yield InKernel(made)


@pytest.fixture(params=["memory", pytest.param("kernel", marks=pytest.mark.root)])
def plane(request: pytest.FixtureRequest) -> Plane:
    if request.param == "memory":
        return InMemory()
    found: InKernel = request.getfixturevalue("in_kernel")
    return found


def entry(port: int, vip: int = 1) -> Entry:
    """An entry whose numbers all differ."""
    key = FLOW_KEY.pack(bytes(10) + b"\xff\xff\xc6\x33\x64\x07", port, vip)
    return Entry(key, vip, epoch=3, backend=4, life=2, seen=5, slot=65_536, ring=7)


def test_a_ring_that_was_never_written_is_all_zeros(plane: Plane) -> None:
    """Zero is STABLE(no backend): packets are dropped, and sent to no stranger."""
    words = plane.data_plane.slots(next(RINGS))
    assert (words.typecode, len(words), set(words)) == ("I", RING_SIZE, {0})


def test_slots_are_written_one_by_one(plane: Plane) -> None:
    """A change of three slots leaves their neighbours, half of an element away, as they are."""
    ring = next(RINGS)
    last = RING_SIZE - 1
    plane.data_plane.apply([WriteSlots(ring, [0, 8, last], [stable(1), moving(1, 2), tracked(3)])])
    plane.data_plane.apply([WriteSlots(ring, [8], [tracked(1)])])
    words = plane.data_plane.slots(ring)
    assert {slot: word for slot, word in enumerate(words) if word} == {0: stable(1), 8: tracked(1), last: tracked(3)}


def test_slots_read_are_a_copy(plane: Plane) -> None:
    """The planner compares what was with what it writes."""
    ring = next(RINGS)
    before = plane.data_plane.slots(ring)
    plane.data_plane.apply([WriteSlots(ring, [5], [stable(1)])])
    assert before[5] == 0


def test_rings_do_not_share_slots(plane: Plane) -> None:
    """A pool's change is no other pool's."""
    one, other = next(RINGS), next(RINGS)
    plane.data_plane.apply([WriteSlots(one, [5], [stable(1)])])
    assert plane.data_plane.slots(other)[5] == 0


def test_a_whole_ring_is_written_and_every_third_slot_of_it(plane: Plane) -> None:
    """Slots given as a range are those of the range."""
    ring = next(RINGS)
    plane.data_plane.apply([WriteSlots(ring, range(RING_SIZE), [stable(1)] * RING_SIZE)])
    thirds = range(0, RING_SIZE, 3)
    plane.data_plane.apply([WriteSlots(ring, thirds, [tracked(2)] * len(thirds))])
    words = plane.data_plane.slots(ring)
    assert all(word == (stable(1) if slot % 3 else tracked(2)) for slot, word in enumerate(words))


def test_packets_find_a_ring_once_it_is_written(plane: Plane) -> None:
    """Slot words that no packet reaches are no ring."""
    ring = next(RINGS)
    assert not plane.data_plane.has_ring(ring)
    plane.data_plane.apply([WriteSlots(ring, [5], [stable(1)])])
    assert plane.data_plane.has_ring(ring)
    plane.lose(ring)
    assert not plane.data_plane.has_ring(ring)


def test_a_data_plane_that_works_passes_its_own_check(plane: Plane) -> None:
    """Else the watchdog would restart it for nothing."""
    assert plane.data_plane.self_check() == ""


def test_an_epoch_has_a_writer_of_its_own(plane: Plane) -> None:
    """New next hops must not touch the word that says whether a backend accepts, and since when."""
    filled = BackendEntry(plane.ifindex, bytes(6), bytes(6), ip_address("10.0.0.1"), ip_address("10.0.0.2"), 0, 1500)
    last = 65_534
    plane.data_plane.apply(
        [SetEpoch(9, 4_000_000_001), WriteBackend(9, filled), WriteBackend(last, filled), SetEpoch(last, 1)]
    )
    epochs = plane.data_plane.epochs()
    assert (epochs[8], epochs[9], epochs[10], epochs[last]) == (0, 4_000_000_001, 0, 1)
    assert len(epochs) == last + 2


def test_operations_are_carried_out_in_order(plane: Plane) -> None:
    """The last word counts."""
    plane.data_plane.apply([SetEpoch(11, 1), SetEpoch(11, 2)])
    assert plane.data_plane.epochs()[11] == 2


def test_a_ring_keeps_settle_time_refusals_and_hold_apart(plane: Plane) -> None:
    """They are neighbours in one element, with different writers."""
    ring, flows = next(RINGS), plane.data_plane.flows
    assert (flows.settle_seconds(ring), flows.refused_at(ring), flows.refusals(ring)) == (0, 0, 0)
    plane.data_plane.apply([SetSettle(ring, 7500)])
    flows.mark_refused(ring, 1234)
    flows.hold(ring, True)
    assert (flows.settle_seconds(ring), flows.refused_at(ring), flows.refusals(ring)) == (7500, 1234, 0)
    flows.hold(ring, False)
    assert (flows.settle_seconds(ring), flows.refused_at(ring), flows.refusals(ring)) == (7500, 1234, 0)


def test_a_scan_finds_every_entry_with_all_its_fields(plane: Plane) -> None:
    """Also more of them than fit one system call."""
    put = [entry(port) for port in range(5_000)]
    for one in put:
        plane.put(one)
    found = [one for some in plane.data_plane.flows.scan() for one in some]
    assert sorted(found) == sorted(put)
    plane.data_plane.flows.delete([one.key for one in put])
    assert [one for some in plane.data_plane.flows.scan() for one in some] == []


def test_entries_are_deleted_by_key_and_those_that_are_gone_passed_over(plane: Plane) -> None:
    """Two scans may both find an entry dead."""
    put = [entry(port) for port in range(6)]
    for one in put:
        plane.put(one)
    flows = plane.data_plane.flows
    flows.delete([put[0].key])
    flows.delete([put[0].key, put[1].key, put[2].key, put[1].key, put[3].key])
    assert sorted(one for some in flows.scan() for one in some) == put[4:]
    flows.delete([one.key for one in put])
    flows.delete([])


def test_counters_of_numbers_used_again_begin_at_zero(plane: Plane) -> None:
    """Else a new VIP begins with what its number's last owner was sent."""
    plane.count(vip=3, backend=12)
    plane.count(vip=4, backend=13)
    plane.data_plane.apply([ResetCounters((3,), (12,))])
    assert plane.data_plane.vip_count(3) == VipCount()
    assert plane.data_plane.backend_count(12) == Count()
    assert plane.data_plane.vip_count(4).received.packets > 0
    assert plane.data_plane.backend_count(13).packets > 0


def test_every_verdict_is_counted(plane: Plane) -> None:
    """A verdict that has not happened is a zero, not a gap."""
    assert set(plane.data_plane.verdict_counts()) == {int(verdict) for verdict in Verdict}


def test_interfaces_say_that_they_are_attached(plane: Plane) -> None:
    """What ``lbctl status`` goes by."""
    plane.data_plane.fence()
    states = plane.data_plane.interfaces()
    assert states
    assert all(state.attached and state.mode and not state.reason for state in states)


def test_what_was_written_is_read_back(plane: Plane) -> None:
    """Bit by bit, as the program sees it."""
    filled = BackendEntry(plane.ifindex, b"\x02abcde", bytes(6), ip_address("10.0.0.1"), ip_address("::2"), 9, 1500)
    plane.data_plane.apply([WriteBackend(11, filled), SetEpoch(11, 7)])
    raw = plane.data_plane.backends()
    assert raw[11 * BACKEND.size :][: BACKEND.size] == pack_backend(filled, 7)
    assert len(raw) == BACKEND.size * len(plane.data_plane.epochs())


def test_the_vip_table_in_force_is_read_back(plane: Plane) -> None:
    """Whichever half of the map it is in, and whatever its size."""
    entries = tuple(VipEntry(ip_address(f"192.0.2.{i}"), 80, 6, 0, i) for i in range(1, 40))
    for chosen in (entries, entries[:3], ()):
        plane.data_plane.apply([SwapVips(chosen)])
        assert plane.data_plane.vip_table() == build_vip_table(chosen)
