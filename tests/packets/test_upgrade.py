# SPDX-License-Identifier: Apache-2.0
"""A daemon finds maps that another release made: it carries over what flows hang on, or says what it would cost."""

from __future__ import annotations

import os
import struct
import time
from ipaddress import ip_address
from types import SimpleNamespace

import pytest
from packets.box import HASH_KEY
from packets.case import ether, ip, l4
from packets.upgrade_lab import Site, release, start, start_balancing
from packets.world import build

from lb.core.errors import UnavailableError
from lb.core.flows import Entry
from lb.core.layout import BUDGET, FLOW, FLOW_KEY, VIP_COUNTER
from lb.core.operations import SetEpoch, SetSettle, SwapVips, WriteSlots
from lb.core.slots import moving, stable, tracked
from lb.core.vip_table import VipEntry
from lb.dataplane import libbpf
from lb.dataplane.carry import count_flows
from lb.dataplane.kernel import KernelDataPlane
from lb.dataplane.pins import PROGRAM

pytestmark = pytest.mark.root

SLOTS = {7: moving(3, 4), 8: tracked(5), 9: stable(6)}
MANY_FLOWS = {"max_entries": 2_097_152}
FEW_FLOWS = {"max_entries": 64}
OTHER_FLOWS = {"value_size": FLOW.size + 8}
MANY_RINGS = {"max_entries": 2_048}


def entry(port: int) -> Entry:
    """Entry of a tracked flow."""
    return Entry(FLOW_KEY.pack(bytes(16), port, 1), 1, epoch=3, backend=3, life=2, seen=5, slot=7, ring=12)


def leave_state(plane: KernelDataPlane, flows: int = 3) -> None:
    """What a daemon leaves behind: epochs, slots, a settle time, VIPs, tracked flows."""
    slots, words = list(SLOTS), list(SLOTS.values())
    vip = VipEntry(ip_address("192.0.2.1"), 80, 6, 12, 1)
    epochs = [SetEpoch(index, index) for index in (3, 4, 5, 6, 65_534)]
    plane.apply([*epochs, SetSettle(12, 7500), WriteSlots(12, slots, words), SwapVips((vip,))])
    table = plane.flows._maps["flows"]
    size = table.spec.value_size
    for port in range(flows):
        one = entry(port)
        value = FLOW.pack(one.epoch, one.backend, one.life, one.seen, one.slot, one.ring)
        libbpf.map_update(table.fd, one.key, value.ljust(size, b"\0"))


def assert_state(plane: KernelDataPlane) -> None:
    """What keeps flows on their backends is there."""
    epochs = plane.epochs()
    assert [epochs[index] for index in (0, 3, 4, 5, 6, 65_534)] == [0, 3, 4, 5, 6, 65_534]
    assert {slot: word for slot, word in enumerate(plane.slots(12)) if word} == SLOTS
    assert plane.has_ring(12)
    assert plane.flows.settle_seconds(12) == 7500


def scan(plane: KernelDataPlane) -> list[Entry]:
    return sorted(found for some in plane.flows.scan() for found in some)


def test_maps_of_the_same_layout_are_adopted_as_they_are(place: Site) -> None:
    """The common case: no map is made anew, nothing is written."""
    with place.daemon() as plane:
        leave_state(plane)
    before = place.ids()
    with place.daemon() as plane:
        assert_state(plane)
        assert scan(plane) == [entry(port) for port in range(3)]
    assert place.ids() == before


STEERING = {"control", "vips", "rings", "ring_infos", "backends", "ring-12"}

CHANGES = [
    ({"flows": MANY_FLOWS}, {"flows", "budgets"}),
    ({"flows": FEW_FLOWS}, {"flows", "budgets"}),
    ({"rings": MANY_RINGS}, STEERING),
    ({"backends": {"meaning": 2}}, STEERING),
    ({"vips": {"meaning": 2}}, STEERING),
    ({"vip_counters": {"max_entries": 9_000}}, {"vip_counters"}),
    ({"fragments": {"value_size": 32}}, {"fragments"}),
    ({"meta": {"value_size": 128}}, set()),
    ({"flows": MANY_FLOWS, "ring_infos": {"meaning": 1}}, STEERING | {"flows", "budgets"}),
]


@pytest.mark.parametrize(("change", "anew"), CHANGES)
@pytest.mark.parametrize("back", [False, True])
def test_what_flows_hang_on_is_carried_over(
    place: Site, change: dict[str, dict[str, int]], anew: set[str], back: bool
) -> None:
    """Also when a release that does not please is rolled back. Maps that need not change are the same maps."""
    older, newer = (change, {}) if back else ({}, change)
    with release(**older), place.daemon() as plane:
        leave_state(plane)
        start(plane)
    before = place.ids()
    with release(**newer), place.daemon() as plane:
        start(plane)
        assert_state(plane)
        assert scan(plane) == [entry(port) for port in range(3)]
    after = place.ids()
    assert {name for name in before if after[name] != before[name]} - {"meta", "egress"} == anew
    assert place.folders == {"maps"}


def test_a_backend_that_has_grown_keeps_what_it_had(place: Site) -> None:
    """And what is new is zero; the other way round only the epoch is known to stand where it stood."""
    element = bytes(range(64))
    key = (3).to_bytes(4, "little")
    with place.daemon() as plane:
        leave_state(plane)
        libbpf.map_update(plane._maps["backends"].fd, key, element)
    with release(backends={"value_size": 128}), place.daemon() as plane:
        start(plane)
    with place.pinned("backends") as backends:
        assert libbpf.map_lookup(backends.fd, key, 128) == element + bytes(64)
        assert libbpf.map_lookup(backends.fd, (6).to_bytes(4, "little"), 128) == (6).to_bytes(128, "little")
    with place.daemon() as plane:
        start(plane)
    with place.pinned("backends") as backends:
        assert libbpf.map_lookup(backends.fd, key, 64) == element[:4] + bytes(60)


def test_a_map_of_another_meaning_keeps_first_words_only(place: Site) -> None:
    """Epochs and settle times stand first in their elements in every release."""
    key, element = (3).to_bytes(4, "little"), bytes(range(64))
    with place.daemon() as plane:
        libbpf.map_update(plane._maps["backends"].fd, key, element)
    with release(backends={"meaning": 1}), place.daemon() as plane:
        assert libbpf.map_lookup(plane._maps["backends"].fd, key, 64) == element[:4] + bytes(60)


def test_counters_go_on(place: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Or begin at zero, where the release counts otherwise, and it says so."""
    key, counted = (1).to_bytes(4, "little"), VIP_COUNTER.pack(1, 2, 3, 4, 5)
    with place.daemon() as plane:
        libbpf.map_update(plane._maps["vip_counters"].fd, key, counted * libbpf.possible_cpus())
        before = plane.vip_count(1)
        assert before.received.packets == libbpf.possible_cpus()
    with release(vip_counters={"max_entries": 9_000}), place.daemon() as plane:
        assert plane.vip_count(1) == before
        start(plane)
    assert "begin at zero" not in caplog.text
    with release(vip_counters={"meaning": 1}), place.daemon() as plane:
        assert plane.vip_count(1).received.packets == 0
    assert "vip_counters begin at zero" in caplog.text


REFUSED = [
    ({"flows": OTHER_FLOWS}, ["3 tracked flows", "1 slots are moving and 1 tracked"]),
    ({"flows": {"meaning": 1}}, ["3 tracked flows"]),
    ({"flows": {"max_entries": 2}}, ["1 tracked flows"]),
    ({"ring": {"max_entries": 40_000}}, ["0 tracked flows", "1 rings begin anew"]),
    ({"ring": {"meaning": 1}}, ["1 rings begin anew"]),
    ({"rings": {"max_entries": 12}}, ["1 rings begin anew"]),
]


@pytest.mark.parametrize(("change", "words"), REFUSED)
def test_what_cannot_be_carried_over_is_refused_and_its_cost_told(
    place: Site, change: dict[str, dict[str, int]], words: list[str]
) -> None:
    """The operator decides, and until then nothing is touched."""
    with place.daemon() as plane:
        leave_state(plane)
        plane.flows.refill(7, 9)
    before = place.ids()
    with release(**change), pytest.raises(UnavailableError) as refusal, place.daemon():
        pass
    assert "lbd --replace" in refusal.value.message
    for word in words:
        assert word in refusal.value.message
    assert (place.ids(), place.folders) == (before, {"maps"})
    with place.daemon() as plane:
        assert_state(plane)
        assert len(scan(plane)) == 3
        with plane._maps["budgets"].view as raw:
            assert struct.unpack_from("=qq", raw) == (7, 9)


@pytest.mark.parametrize(("change", "words"), REFUSED)
def test_with_replace_it_goes_on_and_keeps_what_it_can(
    place: Site, change: dict[str, dict[str, int]], words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Epochs never begin anew: entries of old would come to life again."""
    with place.daemon() as plane:
        leave_state(plane)
    with release(**change), place.daemon(replace=True) as plane:
        start(plane)
        assert plane.epochs()[6] == 6
        if "ring" not in change and "rings" not in change:
            assert_state(plane)
    for word in words:
        assert word in caplog.text
    assert place.folders == {"maps"}


def test_another_flow_table_costs_nothing_while_no_flow_is_tracked(place: Site) -> None:
    """Nobody has to ask for what nobody feels."""
    with place.daemon() as plane:
        leave_state(plane, flows=0)
    with release(flows=OTHER_FLOWS), place.daemon() as plane:
        start(plane)
        assert_state(plane)


def spoil_meta(site: Site, value: bytes) -> None:
    with site.pinned("meta") as meta:
        libbpf.map_update(meta.fd, bytes(4), value.ljust(64, b"\0"))


@pytest.mark.parametrize("value", [b"garbage", b"lb_maps\0" + bytes(range(32)), b""])
def test_maps_that_nobody_knows_are_refused(place: Site, value: bytes) -> None:
    """Also when the record of their layout was lost: a program is running on them."""
    with place.daemon() as plane:
        leave_state(plane)
        start(plane)
    spoil_meta(place, value)
    with (
        pytest.raises(UnavailableError, match=r"none that this release knows.*--replace.*3 tracked flows"),
        place.daemon(),
    ):
        pass
    with place.daemon(replace=True) as plane:
        start(plane)
        assert (set(plane.slots(12)), plane.epochs()[6], scan(plane)) == ({0}, 0, [])
    assert place.folders == {"maps"}


def test_a_pin_that_was_exchanged_is_named(place: Site) -> None:
    """Of the right layout by its record, and yet another map."""
    with place.daemon():
        pass
    fd = libbpf.map_create(libbpf.MAP_HASH, "flows", 24, 24, 5)
    try:
        libbpf.obj_pin(fd, place.bpf_dir / "maps" / "flows")
    finally:
        os.close(fd)
    with pytest.raises(UnavailableError, match="maps/flows is not the map that lbd pinned there"), place.daemon():
        pass


def test_a_first_start_that_was_cut_short_is_made_good(place: Site) -> None:
    """Without a record that they are complete, and without a program, maps are of no use to anybody."""
    with place.daemon():
        pass
    spoil_meta(place, b"")
    with release(flows=OTHER_FLOWS), place.daemon() as plane:
        start(plane)


def test_a_daemon_that_fails_on_the_way_leaves_everything_as_it_was(place: Site) -> None:
    """So that the release before can be started again."""
    with place.daemon() as plane:
        leave_state(plane)
        start(plane)
    before = place.ids()
    with release(flows=MANY_FLOWS, backends={"meaning": 1}), place.daemon() as plane:
        plane.apply([SetEpoch(3, 99), WriteSlots(12, [7], [stable(3)])])
    assert place.folders == {"maps", "maps~new"}
    with place.daemon() as plane:
        assert_state(plane)
    assert (place.ids(), place.folders) == (before, {"maps"})


def test_a_crash_between_the_two_renames_is_made_good(place: Site) -> None:
    """The new folder is complete, or the old one would not have been moved away."""
    with place.daemon() as plane:
        leave_state(plane)
    with release(flows=MANY_FLOWS):
        with place.daemon():
            pass
        (place.bpf_dir / "maps").rename(place.bpf_dir / "maps~old")
        with place.daemon() as plane:
            assert_state(plane)
            assert plane._maps["flows"].spec.max_entries == MANY_FLOWS["max_entries"]
    assert place.folders == {"maps"}


def test_a_crash_before_the_old_maps_are_removed_is_made_good(place: Site) -> None:
    """Also when only some of them are gone."""
    with place.daemon() as plane:
        leave_state(plane)
    (place.bpf_dir / "maps~old").mkdir()
    with place.pinned("vips") as vips:
        libbpf.obj_pin(vips.fd, place.bpf_dir / "maps~old" / "vips")
    with place.daemon() as plane:
        assert_state(plane)
    assert place.folders == {"maps"}


def run(site: Site, sport: int, flags: str = "A") -> bytes:
    """One packet of a flow to a VIP whose slots move, through the pinned program; returns the outer destination."""
    packet = ether(ip("moving"), l4("moving", flags, sport=sport))
    fd = libbpf.obj_get(site.bpf_dir / PROGRAM)
    try:
        return libbpf.prog_run(fd, packet, ifindex=site.ifindex["in0"]).data[30:34]
    finally:
        os.close(fd)


def begin_flows(site: Site, sports: range) -> dict[int, bytes]:
    """Every other one is new, the rest was there before the slots moved; returns the backends that they are on."""
    return {sport: run(site, sport, "S" if sport % 2 else "A") for sport in sports}


def test_flows_keep_their_backends_while_the_flow_table_is_exchanged(place: Site) -> None:
    """Packets before, between and after, each through the program that is attached then."""
    with place.daemon() as plane:
        start_balancing(plane)
        build(SimpleNamespace(bpf_dir=place.bpf_dir, ifindex=place.ifindex, data_plane=plane))
        reached = begin_flows(place, range(2000, 2100))
        known = len(scan(plane))
    assert len(set(reached.values())) == 2
    with release(flows=MANY_FLOWS), place.daemon() as plane:
        plane.load(HASH_KEY)
        # The old program is still attached, and tracks what comes.
        reached |= begin_flows(place, range(3000, 3100))
        with place.pinned("flows") as flows:
            tracked_now = count_flows(flows)
        assert 0 < known < tracked_now
        plane.attach()
        assert len(scan(plane)) == tracked_now
        assert {sport: run(place, sport) for sport in reached} == reached
        assert plane.self_check() == ""


def test_a_flow_table_that_is_given_up_takes_no_more_flows(place: Site) -> None:
    """An entry made there after the copy would be missed; a flow that is refused one stays on its old backend."""
    with place.daemon() as plane:
        leave_state(plane)
        plane.flows.refill(10, 10)
        fd = os.dup(plane._maps["budgets"].fd)
    try:
        with release(flows=MANY_FLOWS), place.daemon() as plane:
            start(plane)
        assert libbpf.map_lookup(fd, bytes(4), BUDGET.size) == bytes(BUDGET.size)
    finally:
        os.close(fd)


def test_moves_begin_anew_when_maps_were_exchanged(place: Site) -> None:
    """What the old program refused was stamped in maps that nobody reads any more."""
    with place.daemon() as plane:
        leave_state(plane)
        start(plane)
    began = int(time.monotonic())
    with release(backends={"meaning": 1}), place.daemon() as plane:
        plane.slots(12)
        start(plane)
        assert plane.flows.refused_at(12) >= began
