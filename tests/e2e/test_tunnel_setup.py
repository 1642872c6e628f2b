# SPDX-License-Identifier: Apache-2.0
"""Whose the tunnel of health checks is, what takes it away, and what is said where it can't be had."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from packets.probe_box import INTERFACES, ProbeBox, ip, probe_box
from testbed.programs import PASS

from lb.core.errors import UnavailableError
from lb.core.layout import BackendEntry
from lb.daemon.tunnel import Tunnel
from lb.dataplane import libbpf, tc
from lb.dataplane.maps import PERSISTENT
from lb.dataplane.pins import detach, link_name, prepare_bpf_dir
from lb.dataplane.probe_filter import PLACE

pytestmark = pytest.mark.root

MARK = 0x4C42_0001


@pytest.fixture
def box() -> Iterator[ProbeBox]:
    """Interfaces with an address, and nothing attached."""
    with probe_box() as made:
        ip("address add 10.0.0.1/24 dev in0", "address add 10.0.1.1/24 dev out0")
        yield made


@pytest.fixture
def tunnel(box: ProbeBox) -> Iterator[Tunnel]:
    """One that works."""
    made = box.tunnel()
    made.start()
    yield made
    made.stop()


def wrapping() -> dict[str, int]:
    """Interfaces that have the filter, and the ids of their programs."""
    found = {name: tc.program_id(ifindex, PLACE) for ifindex, name in socket.if_nameindex()}
    return {name: number for name, number in found.items() if number}


def way() -> str:
    """Interface that a marked packet is routed to; "" for none."""
    command = ["ip", "route", "get", "192.0.2.1", "mark", hex(MARK)]
    found = re.search(r" dev (\S+) ", subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    return found[1] if found else ""


def test_every_interface_wraps_and_the_first_is_routed_to(box: ProbeBox, tunnel: Tunnel) -> None:
    """The program is pinned under its name: bpftool finds it."""
    assert set(wrapping()) == set(INTERFACES)
    assert way() == "in0"
    assert tunnel.problem(4) == ""
    assert "no IPv6 address" in tunnel.problem(6)
    pinned = libbpf.obj_get(box.bpf_dir / "probe")
    assert set(wrapping().values()) == {libbpf.prog_id(pinned)}
    os.close(pinned)


def test_before_it_is_started_there_is_none(box: ProbeBox) -> None:
    """Whoever asks too early is not told that all is well."""
    assert box.tunnel().problem(4) == "lbd has not set it up"


def test_a_second_daemon_of_the_namespace_is_refused(box: ProbeBox, tunnel: Tunnel) -> None:
    """Its marks would mean the other one's backends. Once the first has ended, it takes over."""
    second = box.tunnel(["out0"])
    with pytest.raises(UnavailableError, match="another lbd of this network namespace"):
        second.start()
    assert set(wrapping()) == set(INTERFACES)
    tunnel.stop()
    assert set(wrapping()) == set(INTERFACES)
    second.start()
    try:
        assert set(wrapping()) == {"out0"}
        assert way() == "out0"
    finally:
        second.stop()


def test_detached_while_the_daemon_runs_it_stays_away(box: ProbeBox, tunnel: Tunnel) -> None:
    """The operator's word counts; the daemon says so."""
    assert detach(box.bpf_dir) == []
    assert wrapping() == {}
    assert not (box.bpf_dir / "probe").exists()
    tunnel.refresh()
    assert way() == ""
    assert "restart lbd" in tunnel.problem(4)
    assert b"76:" not in subprocess.run(["ip", "rule"], check=True, capture_output=True).stdout


def test_detached_from_one_interface_it_uses_the_other(box: ProbeBox, tunnel: Tunnel) -> None:
    """The pins of the links say what is there to be detached."""
    program = libbpf.prog_load("pass", PASS)
    for name in INTERFACES:
        link = libbpf.link_create(program, socket.if_nametoindex(name), libbpf.XDP_FLAGS_DRV_MODE)
        libbpf.obj_pin(link, box.bpf_dir / link_name(name))
        os.close(link)
    os.close(program)
    assert detach(box.bpf_dir, "in0") == ["in0"]
    assert set(wrapping()) == {"out0"}
    assert (box.bpf_dir / "probe").exists()
    tunnel.refresh()
    assert way() == "out0"
    assert detach(box.bpf_dir, "out0") == ["out0"]
    assert wrapping() == {}


@pytest.mark.usefixtures("tunnel")
def test_detach_of_another_data_plane_leaves_it(tmp_path: Path) -> None:
    """Each removes the program that is pinned in its own bpf dir."""
    other = tmp_path / "bpf"
    prepare_bpf_dir(other)
    try:
        assert detach(other) == []
        program = libbpf.prog_load("probe", bytes.fromhex("b700000000000000" + "9500000000000000"))
        libbpf.obj_pin(program, other / "probe")
        os.close(program)
        assert detach(other) == []
        assert set(wrapping()) == set(INTERFACES)
    finally:
        subprocess.run(["umount", str(other)], check=True)


def test_an_interface_that_is_not_there_is_named(box: ProbeBox) -> None:
    """And nothing is claimed by a tunnel that did not start."""
    with pytest.raises(UnavailableError, match=r"interface nope: cannot attach .*: No such device"):
        box.tunnel(["nope"]).start()
    after = box.tunnel()
    after.start()
    after.stop()


def test_a_filter_of_another_kind_in_its_place_is_named(box: ProbeBox) -> None:
    """With the command that shows it."""
    subprocess.run(["tc", "qdisc", "add", "dev", "in0", "clsact"], check=True)
    filter_of_ipv4_alone = ["filter", "add", "dev", "in0", "egress", "pref", "1", "protocol", "ip", "bpf", "bytecode"]
    subprocess.run(["tc", *filter_of_ipv4_alone, "1,6 0 0 0"], check=True)
    with pytest.raises(UnavailableError, match=r"another kind its priority.*`tc filter show dev in0 egress`"):
        box.tunnel().start()


def test_without_the_maps_of_a_data_plane_there_is_none(box: ProbeBox) -> None:
    """The file that is missing is named."""
    with pytest.raises(UnavailableError, match=r"cannot load the program .*maps/backends: No such file"):
        Tunnel(box.bpf_dir / "nowhere", INTERFACES).start()


def test_a_new_generation_of_maps_is_read_before_it_takes_over(box: ProbeBox) -> None:
    """The tunnel is set up before the data plane's folders change names."""
    (spec,) = (spec for spec in PERSISTENT if spec.name == "backends")
    (box.bpf_dir / "maps~new").mkdir()
    fd = spec.create()
    libbpf.obj_pin(fd, box.bpf_dir / "maps~new" / "backends")
    os.close(fd)
    macs = bytes.fromhex("02bb0a00000b"), bytes.fromhex("020000000001")
    entry = BackendEntry(1, *macs, ip_address("10.0.0.11"), ip_address("10.0.0.1"), 0, 1500)
    box.write(1, entry)
    frame = bytes(12) + b"\x08\x00" + bytes.fromhex("4500001400000000400600000a000001c0000201")
    started = box.tunnel()
    started.start()
    try:
        assert box.run(frame, MARK).action == 2, "the entry is in the old map"
    finally:
        started.stop()
    subprocess.run(["rm", "-r", str(box.bpf_dir / "maps~new")], check=True)
    started.start()
    try:
        assert box.run(frame, MARK).action == 7
    finally:
        started.stop()


def test_what_changes_is_logged_once(tunnel: Tunnel, caplog: pytest.LogCaptureFixture) -> None:
    """It is looked at every few seconds. What stops working is a warning."""
    with caplog.at_level(logging.INFO, "lb.tunnel"):
        tunnel.refresh()
        assert caplog.messages == []
        ip("link set in0 down", "link set out0 down")
        tunnel.refresh()
        tunnel.refresh()
        reason = "interface in0 is down: `ip link set in0 up`; interface out0 is down: `ip link set out0 up`"
        said = [f"IPv{version} VIPs cannot be checked through the tunnel: {reason}" for version in (4, 6)]
        assert caplog.messages == said
        assert {record.levelno for record in caplog.records} == {logging.WARNING}
        ip("link set in0 up")
        tunnel.refresh()
    assert caplog.messages[2] == "IPv4 VIPs are checked through the tunnel from 10.0.0.1"


def test_a_box_without_ipv6_is_not_warned(box: ProbeBox, caplog: pytest.LogCaptureFixture) -> None:
    """Most that have none want none."""
    with caplog.at_level(logging.INFO, "lb.tunnel"):
        started = box.tunnel()
        started.start()
        started.stop()
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.INFO]
