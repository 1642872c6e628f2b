# SPDX-License-Identifier: Apache-2.0
"""Which interfaces run the program, and how, from one start of the daemon to the next."""

from __future__ import annotations

import os
import subprocess

import pytest
from packets.upgrade_lab import Site, start

from lb.core.errors import UnavailableError
from lb.dataplane import libbpf, links
from lb.dataplane.pins import detach, link_name, read_link
from lb.ports import InterfaceState, XdpMode

pytestmark = pytest.mark.root


def attached(site: Site) -> dict[str, int]:
    """Number of the program that each interface runs."""
    found = {}
    for name in site.ifindex:
        link = read_link(site.bpf_dir, name)
        if link is not None:
            found[name] = link.program_id
    return found


def pinned_program(site: Site) -> int:
    fd = libbpf.obj_get(site.bpf_dir / "balancer")
    try:
        return libbpf.prog_id(fd)
    finally:
        os.close(fd)


def test_every_interface_runs_the_new_program_under_the_link_that_it_had(place: Site) -> None:
    """Swapped, not taken off and put on again: no packet finds none."""
    with place.daemon() as plane:
        start(plane)
    before = attached(place)
    links_before = {name: (place.bpf_dir / link_name(name)).stat().st_ino for name in place.ifindex}
    with place.daemon() as plane:
        start(plane)
        assert [state.attached for state in plane.interfaces()] == [True, True]
    after = attached(place)
    assert set(before) == set(after) == {"in0", "out0"}
    assert set(after.values()) == {pinned_program(place)} != set(before.values())
    assert {name: (place.bpf_dir / link_name(name)).stat().st_ino for name in place.ifindex} == links_before


def test_an_interface_that_is_added_is_attached(place: Site) -> None:
    with place.daemon(["in0"]) as plane:
        start(plane)
    assert set(attached(place)) == {"in0"}
    with place.daemon(["in0", "out0"]) as plane:
        start(plane)
    assert set(attached(place)) == {"in0", "out0"}


def test_an_interface_that_is_left_out_goes_on_and_the_log_says_how_to_end_that(
    place: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A slip on the command line must not take a balancer down; but it must run on the maps that are written."""
    with place.daemon() as plane:
        start(plane)
    with place.daemon(["in0"]) as plane:
        start(plane)
        assert [state.interface for state in plane.interfaces()] == ["in0"]
    assert attached(place) == dict.fromkeys(("in0", "out0"), pinned_program(place))
    assert "lbctl detach --interface out0" in caplog.text


def test_the_link_of_an_interface_that_was_left_out_and_is_gone_is_removed(place: Site) -> None:
    """It attaches nothing any more."""
    with place.daemon() as plane:
        start(plane)
    subprocess.run(["ip", "link", "del", "out0"], check=True)
    with place.daemon(["in0"]) as plane:
        start(plane)
    assert not (place.bpf_dir / link_name("out0")).exists()


def test_a_left_out_interface_that_refuses_the_program_is_detached(
    place: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would run on maps that nobody writes."""
    with place.daemon(["out0"]) as plane:
        start(plane)
    update = links.libbpf.link_update

    def refuse(*_: int) -> None:
        raise OSError(22, "swap XDP program: Invalid argument")

    with place.daemon(["in0"]) as plane:
        monkeypatch.setattr(links.libbpf, "link_update", refuse)
        start(plane)
        monkeypatch.setattr(links.libbpf, "link_update", update)
    assert set(attached(place)) == {"in0"}
    assert "interface out0, attached from before, does not take this program" in caplog.text


def test_detaching_removes_every_generation_of_maps(place: Site) -> None:
    """Also what a daemon left that died while it exchanged them."""
    with place.daemon() as plane:
        start(plane)
    for name in ("maps~new", "maps~old"):
        (place.bpf_dir / name).mkdir()
    assert detach(place.bpf_dir) == ["in0", "out0"]
    assert place.folders == set()


def test_an_interface_made_anew_under_the_same_name_is_attached(place: Site) -> None:
    """As hotplug does."""
    with place.daemon() as plane:
        start(plane)
    subprocess.run(["ip", "link", "del", "in0"], check=True)
    subprocess.run(["ip", "link", "add", "in0", "type", "veth", "peer", "name", "in0p"], check=True)
    with place.daemon() as plane:
        assert "replaced" in plane.interfaces()[0].reason
        start(plane)
        assert plane.interfaces()[0].attached


@pytest.mark.parametrize(("before", "after"), [(XdpMode.GENERIC, XdpMode.NATIVE), (XdpMode.NATIVE, XdpMode.GENERIC)])
def test_the_mode_is_changed_on_request(place: Site, before: XdpMode, after: XdpMode) -> None:
    """The kernel takes one mode at a time: the old link has to be gone before the new one comes."""
    with place.daemon(mode=before) as plane:
        start(plane)
        assert [state.mode for state in plane.interfaces()] == [before, before]
    with place.daemon(mode=after) as plane:
        start(plane)
        assert [state.mode for state in plane.interfaces()] == [after, after]


def test_without_a_request_the_mode_stays(place: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A restart is to be felt by nobody; but that it is slow is said each time."""
    with place.daemon(mode=XdpMode.GENERIC) as plane:
        start(plane)
    with place.daemon() as plane:
        start(plane)
        assert [state.mode for state in plane.interfaces()] == [XdpMode.GENERIC, XdpMode.GENERIC]
    assert "SLOW PATH" in caplog.text
    assert "--xdp-mode native" in caplog.text


def test_an_interface_that_refuses_the_other_mode_keeps_the_one_it_had(
    place: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error message, not an outage."""
    with place.daemon(mode=XdpMode.GENERIC) as plane:
        start(plane)
    create = links.libbpf.link_create

    def refuse_native(prog_fd: int, ifindex: int, flags: int) -> int:
        if flags == libbpf.XDP_FLAGS_DRV_MODE:
            raise OSError(95, "Operation not supported")
        return create(prog_fd, ifindex, flags)

    with place.daemon(mode=XdpMode.NATIVE) as plane:
        monkeypatch.setattr(links.libbpf, "link_create", refuse_native)
        with pytest.raises(UnavailableError, match=r"interface in0, native mode.*--xdp-mode auto.*generic mode again"):
            start(plane)
        assert plane.interfaces()[0] == InterfaceState("in0", True, XdpMode.GENERIC, "")
