# SPDX-License-Identifier: Apache-2.0
"""`lbctl doctor` on a real balancer: what is broken on purpose is found, and the remedy that is named mends it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed import BALANCER, HOST_INTERFACE, HTTP_PORT, Lbd, Testbed

pytestmark = pytest.mark.root

VICTIM, HEALTHY = "b2", "b1"
REACH, PATH = "tunnel and direct check", "path MTU"
NARROW_BYTES, WIDE_BYTES = 1500, 1600

Findings = dict[tuple[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def site(prefix: str) -> Iterator[Lbd]:
    """Two backends behind one VIP, without a health check: the doctor asks all the same."""
    with Testbed(backends=2, name_prefix=f"{prefix}-doctor") as bed, Lbd(bed) as lbd:
        lbd.lbctl("pool", "create", "web")
        for name in bed.backends:
            lbd.lbctl("backend", "create", f"web/{name}", "--address", bed.address(name))
        words = ("--address", bed.vip, "--port", str(HTTP_PORT), "--protocol", "tcp", "--pool", "web")
        lbd.lbctl("vip", "create", "web", *words)
        yield lbd


def doctor(lbd: Lbd) -> tuple[int, Findings]:
    """Exit code, and all findings by subject and check."""
    done = lbd.lbctl_run("doctor", "--all", "-o", "json")
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)["findings"]
    return done.returncode, {(each["subject"], each["check"]): each for each in found}


def backend(name: str) -> str:
    """How findings name it."""
    return f"pools/web/backends/{name}"


def set_mtu(bed: Testbed, node: str, mtu_bytes: int) -> None:
    bed.run(node, "ip", "link", "set", "dev", HOST_INTERFACE, "mtu", str(mtu_bytes))


def carry_out(bed: Testbed, node: str, remedy: str) -> None:
    """The first command of a remedy, as an operator types it off."""
    found = re.search(r"`([^`]+)`", remedy)
    assert found, f"no command in: {remedy}"
    bed.run(node, *found[1].split())


def test_a_sound_site_has_no_problem(site: Lbd) -> None:
    """Each thing was looked at, and exit code 0 says so to scripts."""
    code, found = doctor(site)
    problems = [each for each in found.values() if each["severity"] == "PROBLEM"]
    assert (code, problems) == (0, [])
    assert found[f"interface {HOST_INTERFACE}", "XDP mode"]["observation"] == "native"
    for name in site.bed.backends:
        assert found[backend(name), REACH]["observation"] == "tunnel: passes; directly: passes"
        assert "packets of 1520 arrive" in found[backend(name), PATH]["observation"]
        assert found[backend(name), "next hop"]["severity"] == "OK"


def test_a_vip_that_is_missing_on_a_host_is_named(site: Lbd) -> None:
    """The tunnel check fails, the direct one passes: that is how it is told, and what mends it."""
    bed = site.bed
    bed.run(VICTIM, "ip", "address", "del", f"{bed.vip}/32", "dev", "lo")
    try:
        code, found = doctor(site)
        finding = found[backend(VICTIM), REACH]
        assert (code, finding["severity"]) == (1, "PROBLEM")
        assert "directly: passes" in finding["observation"]
        assert f"on {bed.address(VICTIM)}: `ip address add {bed.vip}/32 dev lo`" in finding["remedy"]
        assert found[backend(HEALTHY), REACH]["severity"] == "OK"
    finally:
        carry_out(bed, VICTIM, f"`ip address add {bed.vip}/32 dev lo`")
    assert doctor(site)[1][backend(VICTIM), REACH]["severity"] == "OK"


def test_a_host_with_too_small_an_mtu_is_named(site: Lbd) -> None:
    """Every check passes there, and every full packet is lost."""
    set_mtu(site.bed, VICTIM, NARROW_BYTES)
    try:
        code, found = doctor(site)
        finding = found[backend(VICTIM), PATH]
        assert (code, finding["severity"]) == (1, "PROBLEM")
        assert "only 1500 of 1520 bytes arrive" in finding["observation"]
        assert found[backend(VICTIM), REACH]["severity"] == "OK"
        assert found[backend(HEALTHY), PATH]["severity"] == "OK"
    finally:
        set_mtu(site.bed, VICTIM, WIDE_BYTES)


def test_a_balancer_without_room_for_the_outer_header_is_a_warning(site: Lbd) -> None:
    """Clients are told what fits, so it works; and the command that is named gives the room."""
    set_mtu(site.bed, BALANCER, NARROW_BYTES)
    try:
        code, found = doctor(site)
        finding = found[f"interface {HOST_INTERFACE}", "MTU"]
        assert (code, finding["severity"]) == (0, "WARNING")
        assert "1480 for a client's packet" in finding["observation"]
        carry_out(site.bed, BALANCER, finding["remedy"])
        assert doctor(site)[1][f"interface {HOST_INTERFACE}", "MTU"]["severity"] == "OK"
    finally:
        set_mtu(site.bed, BALANCER, WIDE_BYTES)


def test_a_strict_reverse_path_filter_is_named(site: Lbd) -> None:
    """It drops the answers of checks through the tunnel: they come from the VIP, to which no route leads back."""
    setting = f"net.ipv4.conf.{HOST_INTERFACE}.rp_filter"
    before = site.bed.run(BALANCER, "sysctl", "-n", setting).stdout.strip()
    site.bed.run(BALANCER, "sysctl", "-w", f"{setting}=1")
    try:
        code, found = doctor(site)
        finding = found[f"interface {HOST_INTERFACE}", "reverse path filter"]
        assert (code, finding["severity"]) == (1, "PROBLEM")
        assert "rp_filter" in finding["observation"] + finding["remedy"]
        assert found[backend(HEALTHY), REACH]["severity"] == "PROBLEM"
    finally:
        site.bed.run(BALANCER, "sysctl", "-w", f"{setting}={before}")
    assert doctor(site)[1][backend(HEALTHY), REACH]["severity"] == "OK"


def test_without_lbd_the_data_plane_is_still_looked_at(site: Lbd) -> None:
    """It forwards on when lbd dies. Run where its interfaces are, as on an ordinary machine."""
    nobody = ("--target", str(site.bed.state_dir / "nobody.sock"))
    words = ("doctor", "--all", "-o", "json", "--bpf-dir", str(site.bpf_dir))
    done = site.bed.run(BALANCER, str(Path(site.argv[0]).with_name("lbctl")), *nobody, *words, check=False)
    found = {(each["subject"], each["check"]): each for each in json.loads(done.stdout)["findings"]}
    assert done.returncode == 5
    assert found["lbd", "running"]["observation"].startswith("lbd is not running on")
    assert found[f"interface {HOST_INTERFACE}", "XDP mode"]["observation"] == "native"
    assert found["machine", "bpffs"]["severity"] == "OK"
