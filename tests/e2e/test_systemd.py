# SPDX-License-Identifier: Apache-2.0
"""lbd under a real systemd: its units as they are shipped, with their capabilities, their hardening, their watchdog."""

from __future__ import annotations

import configparser
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.systemd_lab import LOG, PACKAGING, START_SECONDS, Systemd, systemd
from testbed import Testbed, wait_until
from testbed.topology import HOST_INTERFACE

from lb.dataplane import libbpf
from lb.observe.capabilities import NEEDED

VIP = "192.0.2.1"
MOST_EXPOSURE = 21
"""Tenths; `systemd-analyze security` calls up to 2.9 "OK", and daemons that do nothing special 9.6 "UNSAFE"."""

CONFIG = """\
pools:
  - name: web
    description: {text}
    health_check: {{kind: ICMP, via: DIRECT, interval_ms: 500, timeout_ms: 500, rise: 1}}
    backends: [{backends}]
vips:
  - {{name: web, address: 192.0.2.1, port: 80, protocol: TCP, pool: web}}
"""

DROP_IN = f"""\
[Service]
WatchdogSec=2s
StandardOutput=append:{LOG}
StandardError=append:{LOG}
"""
"""A shorter interval than an operator's."""


def config(bed: Testbed, text: str) -> str:
    backends = ", ".join(f"{{name: {name}, address: {bed.address(name)}}}" for name in bed.backends)
    return CONFIG.format(text=text, backends=backends)


@pytest.fixture(scope="module")
def host(flat_bed: Testbed) -> Iterator[tuple[Testbed, Systemd]]:
    """A balancer whose process 1 is systemd; lbd is up."""
    etc = {
        "lb/lbd.conf": f'LBD_OPTIONS="--interface {HOST_INTERFACE} --config /etc/lb/lb.yaml"\n',
        "lb/lb.yaml": config(flat_bed, "first"),
    }
    with systemd(flat_bed, etc, {"lbd.service.d/test.conf": DROP_IN}) as booted:
        booted.wait_until_active()
        yield flat_bed, booted


def assert_forwards(bed: Testbed, requests: int = 30) -> None:
    answers = bed.http(f"http://{VIP}/", requests)
    assert answers.failed == 0
    assert set(answers.served) == set(bed.backends)


def program_id(host: Systemd) -> int:
    """Of the program that the interface's link runs."""
    fd = libbpf.obj_get(host.path(f"/run/lb/bpf/link-{HOST_INTERFACE}"))
    try:
        return libbpf.link_info(fd).program_id
    finally:
        os.close(fd)


@pytest.mark.root
def test_nothing_of_the_host_can_be_written_in_there(host: tuple[Testbed, Systemd], tmp_path: Path) -> None:
    """An init system cleans up and sets things right: not here."""
    _, inside = host
    for path in ("/usr", "/proc/sys/fs", "/sys/kernel", "/opt/lb/src", "/root"):
        assert inside.run("test", "-w", path, check=False).returncode == 1, path
    for path in ("/tmp", "/var", "/run", "/etc", "/dev"):
        assert inside.run("stat", "--file-system", "--format=%T", path).stdout == "tmpfs\n"
    assert inside.run("test", "-e", str(tmp_path), check=False).returncode == 1
    listing = ("systemctl", "list-units", "--type=service", "--state=loaded", "--plain", "--no-legend")
    units = inside.run(*listing).stdout
    assert [line.split()[0] for line in units.splitlines()] == ["lbd.service"]


@pytest.mark.root
def test_it_starts_and_forwards_with_its_few_capabilities(host: tuple[Testbed, Systemd]) -> None:
    """Also pings, which need a capability of their own; and the socket is the group's."""
    bed, inside = host
    assert_forwards(bed)
    status = inside.path(f"/proc/{inside.show('MainPID')}/status").read_text()
    effective = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
    assert effective == sum(1 << bit for bit in NEEDED.values())
    assert "Seccomp:\t2" in status
    assert inside.lbctl("backend", "list", "web").count(" up ") == len(bed.backends)
    assert inside.run("stat", "-c", "%a %G", "/run/lb/lbd.sock").stdout == "660 lb\n"
    assert "private mount namespace" not in inside.path(LOG).read_text()
    assert inside.show("StatusText") == "forwarding"


@pytest.mark.root
def test_a_reload_reads_the_configuration_again(host: tuple[Testbed, Systemd]) -> None:
    bed, inside = host
    inside.path("/etc/lb/lb.yaml").write_text(config(bed, "second"))
    inside.run("systemctl", "reload", "lbd")
    wait_until(lambda: "second" in inside.lbctl("pool", "get", "web"), START_SECONDS, "the file was not read again")
    assert inside.show("ActiveState") == "active"


@pytest.mark.root
def test_a_stop_leaves_the_data_plane_and_a_start_takes_it_over(host: tuple[Testbed, Systemd]) -> None:
    """What is pinned outlives the service and its mount namespace."""
    bed, inside = host
    inside.run("systemctl", "stop", "lbd")
    assert inside.show("ActiveState") == "inactive"
    assert_forwards(bed)
    before = program_id(inside)
    inside.run("systemctl", "start", "lbd")
    assert program_id(inside) != before
    assert_forwards(bed)
    assert inside.lbctl("verify", "-o", "json").count('"problems": []') == 1


@pytest.mark.root
def test_the_watchdog_restarts_a_daemon_whose_data_plane_is_not_its_own(host: tuple[Testbed, Systemd]) -> None:
    """A stranger's program under our link passes everything: the self-check finds it, a new start puts ours back."""
    bed, inside = host
    restarts, ours = int(inside.show("NRestarts")), program_id(inside)
    passing = libbpf.prog_load("stranger", struct.pack("=BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0))
    link = libbpf.obj_get(inside.path(f"/run/lb/bpf/link-{HOST_INTERFACE}"))
    try:
        libbpf.link_update(link, passing)
    finally:
        os.close(link)
        os.close(passing)
    wait_until(lambda: int(inside.show("NRestarts")) > restarts, START_SECONDS, "systemd did not restart lbd")
    inside.wait_until_active()
    assert program_id(inside) not in (ours, 0)
    assert_forwards(bed)
    assert f"the self-check fails: interface {HOST_INTERFACE} runs program" in inside.path(LOG).read_text()


def unit(folder: Path) -> Path:
    """The service as it is shipped, but with a program that exists."""
    for path in (PACKAGING / "lbd.service", PACKAGING / "run-lb-bpf.mount"):
        text = path.read_text().replace("/opt/lb/bin/lbd", str(Path(sys.executable).parent / "lbd"))
        (folder / path.name).write_text(text)
    return folder / "lbd.service"


def analyze(*args: str) -> subprocess.CompletedProcess[str]:
    """`systemd-analyze`; not having it is a failure and no reason to skip."""
    assert shutil.which("systemd-analyze"), "systemd-analyze is missing: `apt-get install systemd`; it starts nothing"
    return subprocess.run(["systemd-analyze", *args], capture_output=True, text=True, check=False)


def test_the_units_are_sound(tmp_path: Path) -> None:
    """systemd understands every line, and finds the mount by its name."""
    done = analyze("verify", "--man=no", str(unit(tmp_path)), str(tmp_path / "run-lb-bpf.mount"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_service_is_hardened(tmp_path: Path) -> None:
    """By systemd's own measure, offline."""
    done = analyze("security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSURE}", str(unit(tmp_path)))
    assert done.returncode == 0, done.stdout


def test_the_capabilities_are_those_that_lbd_asks_for() -> None:
    """`lbctl doctor` and the unit must not disagree."""
    parsed = configparser.RawConfigParser(strict=False)
    parsed.read(PACKAGING / "lbd.service")
    assert set(parsed["Service"]["CapabilityBoundingSet"].split()) == set(NEEDED)


def test_the_example_options_name_an_interface() -> None:
    """What is copied to /etc/lb/lbd.conf starts lbd once the interface's name is put right."""
    line = next(line for line in (PACKAGING / "lbd.conf").read_text().splitlines() if not line.startswith("#"))
    assert line == 'LBD_OPTIONS="--interface eth0"'
