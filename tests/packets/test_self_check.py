# SPDX-License-Identifier: Apache-2.0
"""What the watchdog goes by: a program that does its work passes, one that does not is found out, unnoticed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from packets.box import HASH_KEY, Box, box
from packets.upgrade_lab import Site, compiled_once, site, start
from packets.world import RING_INDEX, VIP_INDEX, build, refill_budgets

from lb.core.model import RING_SIZE
from lb.core.operations import SwapVips, WriteSlots
from lb.core.slots import moving, stable, tracked
from lb.core.vip_table import VipEntry
from lb.dataplane import libbpf
from lb.dataplane.kernel import KernelDataPlane
from lb.dataplane.pins import link_name
from lb.dataplane.source import balancer_source

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def world() -> Iterator[Box]:
    """A box that balances."""
    with compiled_once(), box() as made:
        build(made)
        yield made


def aim(world: Box, pool: str, port: int = 80, protocol: int = 6, address: str = "192.0.2.77", flags: int = 0) -> None:
    """Have one VIP alone, so that the check is of this one."""
    vip = VipEntry(ip_address(address), port, protocol, RING_INDEX[pool], VIP_INDEX["44"], flags)
    world.data_plane.apply([SwapVips((vip,))])


@pytest.mark.parametrize("pool", ["44", "46", "64", "66", "out", "out6", "rss4", "rss6", "many", "empty"])
@pytest.mark.parametrize(
    ("port", "protocol", "address", "flags"),
    [
        (80, 6, "192.0.2.77", 0),
        (53, 17, "192.0.2.77", 0),
        (0, 6, "192.0.2.1", 1),
        (443, 6, "2001:db8::7", 2),
        (0, 17, "100::1", 3),
    ],
)
def test_whatever_the_first_vip_is_it_is_served(
    world: Box, pool: str, port: int, protocol: int, address: str, flags: int
) -> None:
    """Both families, both protocols, every encapsulation, every hash policy, sent back or sent on; also no backend."""
    aim(world, pool, port, protocol, address, flags)
    assert world.data_plane.self_check() == ""


def test_slots_in_every_state_pass(world: Box) -> None:
    """While a slot moves, either of its backends is right; a slot without any says nothing."""
    aim(world, "moving")
    number = RING_INDEX["moving"]
    before = world.data_plane.slots(number)
    for word in (stable(3), moving(3, 4), moving(0, 4), tracked(3), tracked(0), stable(0)):
        world.data_plane.apply([WriteSlots(number, range(RING_SIZE), [word] * RING_SIZE)])
        assert world.data_plane.self_check() == ""
    world.data_plane.apply([WriteSlots(number, range(RING_SIZE), before)])


def test_it_leaves_no_trace(world: Box) -> None:
    """Neither in counters nor in the flow table: they are the operator's."""
    aim(world, "moving")
    refill_budgets(world)
    plane = world.data_plane

    def traces() -> tuple[object, ...]:
        found = plane.vip_count(VIP_INDEX["44"]), plane.backend_count(3), plane.flows.refusals(RING_INDEX["moving"])
        return (*found, dict(plane.verdict_counts()), plane.flows.counts(), list(plane.flows.scan()))

    before = traces()
    for _ in range(5):
        assert plane.self_check() == ""
    assert traces() == before


def test_without_a_vip_strangers_packets_still_pass(world: Box) -> None:
    """That much can be said of a balancer that has nothing to balance."""
    world.data_plane.apply([SwapVips(())])
    assert world.data_plane.self_check() == ""


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("if (verdict >= FIRST_DROP)", "if (1)", "a packet that is not for a VIP was dropped, not passed untouched"),
        ("if (verdict >= FIRST_PASS)", "if (1)", "a packet to VIP 192.0.2.77, TCP port 80, was passed, not forwarded"),
        ("__u32 hash = flow_hash(&pkt, vip->flags);", "__u32 hash = 77;", "went to 10.0.2."),
    ],
)
def test_a_program_that_does_wrong_is_found_out(world: Box, right: str, wrong: str, words: str) -> None:
    """The packet is looked at, not just the fact that something came back."""
    aim(world, "many")
    source = balancer_source(HASH_KEY)
    assert right in source.text
    world.data_plane.load_source(replace(source, text=source.text.replace(right, wrong)))
    try:
        world.data_plane.attach()
        assert words in world.data_plane.self_check()
    finally:
        world.data_plane.load_source(source)
        world.data_plane.attach()


@pytest.fixture
def place() -> Iterator[Site]:
    with site() as made:
        yield made


def test_before_a_program_is_loaded_it_says_so(place: Site) -> None:
    with place.daemon() as plane:
        assert plane.self_check() == "no program is loaded"


def swap_program(place: Site, plane: KernelDataPlane, interface: str) -> None:
    """Somebody else puts a program of theirs under our link."""
    link, program = libbpf.obj_get(place.bpf_dir / link_name(interface)), plane._program.copy({})
    try:
        libbpf.link_update(link, program)
    finally:
        os.close(link)
        os.close(program)


def test_an_interface_that_runs_another_program_is_named(place: Site) -> None:
    """Forwarding by a program that nobody updates."""
    with place.daemon() as plane:
        start(plane)
        assert plane.self_check() == ""
        swap_program(place, plane, "out0")
        assert plane.self_check().startswith("interface out0 runs program ")


def test_an_interface_that_was_detached_is_no_reason_to_restart(place: Site) -> None:
    """A restart would attach again what the operator has just detached; `lbctl status` tells of it."""
    with place.daemon() as plane:
        start(plane)
        (place.bpf_dir / link_name("out0")).unlink()
        assert plane.self_check() == ""
        assert not plane.interfaces()[1].attached


def test_a_kernel_that_refuses_is_quoted(place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words, not a traceback in the watchdog."""
    with place.daemon() as plane:
        start(plane)

        def refuse(*_: object, **__: object) -> None:
            raise OSError(12, "run program: Cannot allocate memory")

        monkeypatch.setattr(libbpf, "prog_run", refuse)
        assert "Cannot allocate memory" in plane.self_check()
