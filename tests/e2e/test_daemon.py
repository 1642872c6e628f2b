# SPDX-License-Identifier: Apache-2.0
"""`lbd` as an operator meets it: its contracts, its restarts, its refusals."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from testbed import Lbd, Testbed, wait_until
from testbed.lbd import script
from testbed.topology import BALANCER, HOST_INTERFACE

from lb.core.model import RING_SIZE
from lb.dataplane import libbpf

pytestmark = pytest.mark.root

VIP = "192.0.2.1"


@pytest.fixture
def served(lbd: Lbd, flat_bed: Testbed) -> Lbd:
    """A balancer with one VIP and the testbed's backends."""
    configure(lbd, flat_bed)
    return lbd


def configure(lbd: Lbd, bed: Testbed) -> None:
    """Pool web with all backends, VIP web on port 80."""
    lbd.lbctl("pool", "create", "web")
    for name in bed.backends:
        lbd.lbctl("backend", "create", f"web/{name}", "--address", bed.address(name))
    lbd.lbctl("vip", "create", "web", "--address", VIP, "--port", "80", "--protocol", "tcp", "--pool", "web")


def served_by(bed: Testbed, requests: int = 60) -> dict[str, int]:
    """HTTP requests by the backend that answered; none may fail."""
    answers = bed.http(f"http://{VIP}/", requests)
    assert answers.failed == 0
    return answers.served


def run_lbd(bed: Testbed, *args: str) -> subprocess.CompletedProcess[str]:
    """One that is expected to end by itself."""
    return bed.run(BALANCER, str(script("lbd")), *args, check=False)


def private_dirs(folder: Path) -> list[str]:
    """Flags that keep a second daemon out of the first one's way."""
    return ["--state-dir", f"{folder}/state", "--bpf-dir", f"{folder}/bpf", "--listen", f"unix://{folder}/lbd.sock"]


def test_pins_and_socket_are_where_the_contract_says(served: Lbd) -> None:
    """bpftool, tests and other people's programs look there."""
    pins = {path.name for path in served.bpf_dir.iterdir()}
    assert {"balancer", f"link-{HOST_INTERFACE}", "maps"} <= pins
    maps = {path.name for path in (served.bpf_dir / "maps").iterdir()}
    assert {"vips", "rings", "backends", "flows", "meta", "control", "ring-0", "egress"} <= maps
    path = Path(served.target.removeprefix("unix://"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_every_backend_serves(served: Lbd, flat_bed: Testbed) -> None:
    """Real TCP through the real program."""
    assert set(served_by(flat_bed)) == set(flat_bed.backends)
    assert served.lbctl("status")["ready"] is True


def test_configuration_hash_key_and_flows_survive_a_restart(flat_bed: Testbed) -> None:
    """A restart is routine: nothing that was set is lost, and no slot moves."""
    with Lbd(flat_bed) as lbd:
        configure(lbd, flat_bed)
        before = lbd.lbctl("export"), lbd.lbctl("backend", "list")
        ring = (lbd.bpf_dir / "maps" / "ring-0").stat().st_ino
        assert lbd.stop() == 0
        assert set(served_by(flat_bed)) == set(flat_bed.backends)
        lbd.start()
        assert (lbd.lbctl("export"), lbd.lbctl("backend", "list")) == before
        assert (lbd.bpf_dir / "maps" / "ring-0").stat().st_ino == ring
        assert re.fullmatch("[0-9a-f]{32}", before[0]["settings"]["hashKey"])
        lbd.kill()
        assert served_by(flat_bed)
        lbd.start()
        assert lbd.lbctl("export") == before[0]


def program_id(lbd: Lbd) -> int:
    """Of the pinned program."""
    fd = libbpf.obj_get(lbd.bpf_dir / "balancer")
    try:
        return libbpf.prog_id(fd)
    finally:
        os.close(fd)


def test_another_hash_key_runs_as_soon_as_the_change_is_answered(
    served: Lbd, flat_bed: Testbed, tmp_path: Path
) -> None:
    """It is compiled in; balancers of a fleet are given one key, and must not agree after a restart only."""
    before = program_id(served)
    file = tmp_path / "key.yaml"
    file.write_text(f"settings: {{hash_key: {'ab' * 16}}}\n")
    served.lbctl("apply", "-f", str(file), "--yes")
    assert program_id(served) != before
    assert served.lbctl("status")["ready"] is True
    assert served.lbctl_run("verify").returncode == 0
    assert set(served_by(flat_bed)) == set(flat_bed.backends)


def test_detach_takes_the_program_off_and_works_without_the_daemon(flat_bed: Testbed) -> None:
    """`ip link set ... xdp off` cannot: README says so."""
    with Lbd(flat_bed) as lbd:
        configure(lbd, flat_bed)
        link = ["ip", "-details", "link", "show", HOST_INTERFACE]
        assert "prog/xdp" in flat_bed.run(BALANCER, *link).stdout
        off = flat_bed.run(BALANCER, "ip", "link", "set", HOST_INTERFACE, "xdp", "off", check=False)
        assert off.returncode != 0
        lbd.stop()
        lbd.detach()
        assert "prog/xdp" not in flat_bed.run(BALANCER, *link).stdout
        assert not [path for path in lbd.bpf_dir.iterdir() if not path.name.endswith(".debug")]
        again = flat_bed.run(
            BALANCER, str(script("lbctl")), "detach", "--interface", HOST_INTERFACE, "--bpf-dir", str(lbd.bpf_dir),
            check=False,
        )  # fmt: skip
        assert again.returncode == 3
        assert "no data plane is attached" in again.stderr


def test_status_tells_that_the_data_plane_was_detached(flat_bed: Testbed) -> None:
    """A balancer that forwards nothing must not look healthy."""
    with Lbd(flat_bed) as lbd:
        assert lbd.lbctl_run("status").returncode == 0
        lbd.detach()
        done = lbd.lbctl_run("status")
        assert done.returncode == 1
        assert "detached" in done.stdout + done.stderr


def test_one_daemon_per_bpf_dir(served: Lbd, flat_bed: Testbed, tmp_path: Path) -> None:
    """Two writers of one set of maps would undo each other's work."""
    args = ["--interface", HOST_INTERFACE, *private_dirs(tmp_path), "--bpf-dir", str(served.bpf_dir)]
    done = run_lbd(flat_bed, *args)
    assert done.returncode == 1
    assert "another lbd owns" in done.stderr
    assert "--bpf-dir" in done.stderr


def test_a_missing_interface_is_named(flat_bed: Testbed, tmp_path: Path) -> None:
    """And those that exist are listed."""
    try:
        done = run_lbd(flat_bed, "--interface", "eth99", *private_dirs(tmp_path))
    finally:
        subprocess.run(["umount", str(tmp_path / "bpf")], check=False)
    assert done.returncode == 1
    assert "eth99" in done.stderr
    assert HOST_INTERFACE in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--state-dir", "/proc/no/such", ["/proc/no/such", "--state-dir"]),
        ("--bpf-dir", "/proc/no/such", ["/proc/no/such", "--bpf-dir"]),
        ("--listen", "tcp://0.0.0.0:1", ["tcp://0.0.0.0:1", "unix:///"]),
    ],
)
def test_an_impossible_place_is_named(
    flat_bed: Testbed, tmp_path: Path, flag: str, value: str, words: list[str]
) -> None:
    """One sentence with the remedy, and nothing left attached."""
    try:
        done = run_lbd(flat_bed, "--interface", HOST_INTERFACE, *private_dirs(tmp_path), flag, value)
    finally:
        subprocess.run(["umount", str(tmp_path / "bpf")], check=False, stderr=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pools:\n  - name: web\n    backend: []\n", [":3:", "backend", "backends"]),
        ("vips:\n  - {name: web, address: 192.0.2.1, port: 80, protocol: TCP, pool: nix}\n", [":2:", "nix"]),
        ("pools:\n  - name: web\n    backends:\n      - {name: b, address: '10.0.0.1:80'}\n", [":4:", "ports"]),
    ],
)
def test_a_wrong_file_names_line_field_and_remedy(
    flat_bed: Testbed, tmp_path: Path, text: str, words: list[str]
) -> None:
    """And nothing is started, attached or stored."""
    path = tmp_path / "lb.yaml"
    path.write_text(text)
    try:
        done = run_lbd(flat_bed, "--interface", HOST_INTERFACE, "--config", str(path), *private_dirs(tmp_path))
    finally:
        subprocess.run(["umount", str(tmp_path / "bpf")], check=False, stderr=subprocess.DEVNULL)
    assert done.returncode == 1
    assert str(path) in done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_a_configuration_file_is_laid_over_what_is_stored(flat_bed: Testbed, tmp_path: Path) -> None:
    """For objects in the file the file wins; others stay."""
    path = tmp_path / "lb.yaml"
    path.write_text(f"pools: [{{name: web, description: from the file}}]\n"
                    f"vips: [{{name: web, address: {VIP}, port: 80, protocol: TCP, pool: web}}]\n")  # fmt: skip
    with Lbd(flat_bed) as lbd:
        lbd.lbctl("pool", "create", "other")
        lbd.stop()
        with_file = Lbd(flat_bed, args=["--config", str(path)])
        with with_file:
            pools = {pool["name"]: pool["description"] for pool in with_file.lbctl("pool", "list")["pools"]}
            assert pools == {"pools/web": "from the file", "pools/other": ""}


def test_without_root_it_says_so(tmp_path: Path) -> None:
    """One sentence, no traceback."""
    # The clone may lie where nobody else may read: so the child imports first and gives its privileges up then.
    code = "import os, sys; from lb.daemon.main import main; os.setgid(65534); os.setuid(65534); main(sys.argv[1:])"
    args = ["--interface", "lo", *private_dirs(tmp_path)]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "lacks CAP_NET_ADMIN" in done.stderr
    assert "run it as root" in done.stderr
    assert "Traceback" not in done.stderr


def test_deleting_a_vip_and_the_last_backend_take_effect_at_once(flat_bed: Testbed) -> None:
    """The next packet passes to the kernel; without backends it is dropped, with its reason counted."""
    with Lbd(flat_bed) as lbd:
        configure(lbd, flat_bed)
        assert served_by(flat_bed)
        for name in flat_bed.backends:
            lbd.lbctl("backend", "delete", f"web/{name}")
        assert flat_bed.http(f"http://{VIP}/", 3).failed == 3
        assert verdict(lbd, "DROP_NO_BACKEND") >= 3
        passed = verdict(lbd, "PASS_NOT_VIP")
        lbd.lbctl("vip", "delete", "web")
        assert flat_bed.http(f"http://{VIP}/", 3).failed == 3
        assert verdict(lbd, "PASS_NOT_VIP") >= passed + 3


def verdict(lbd: Lbd, name: str) -> int:
    """Packets counted under a verdict."""
    return next(int(row["count"]["packets"]) for row in lbd.lbctl("stats")["verdicts"] if row["verdict"] == name)


def test_a_backend_enters_the_ring_when_its_next_hop_is_known(flat_bed: Testbed) -> None:
    """Unresolved with the reason in words at first; as soon as the host answers, it takes flows."""
    late = "10.0.0.200"
    with Lbd(flat_bed) as lbd:
        lbd.lbctl("pool", "create", "web")
        made = lbd.lbctl("backend", "create", "web/late", "--address", late)
        assert made["status"]["inRing"] is False
        assert made["status"]["nextHop"]["state"] == "UNRESOLVED"
        assert "does not answer ARP" in made["status"]["reason"]
        host = flat_bed.backends[0]
        flat_bed.run(host, "ip", "address", "add", f"{late}/24", "dev", HOST_INTERFACE)
        try:
            wait_until(lambda: lbd.lbctl("backend", "get", "web/late")["status"]["inRing"], 15, "never in the ring")
        finally:
            flat_bed.run(host, "ip", "address", "del", f"{late}/24", "dev", HOST_INTERFACE)


def test_weights_change_the_shares_as_computed(served: Lbd, flat_bed: Testbed) -> None:
    """`lbctl backend update --weight` is a promise about slots."""
    first, *others = flat_bed.backends
    served.lbctl("backend", "update", f"web/{first}", "--weight", "3")
    try:
        slots = {item["name"]: item["status"]["slots"] for item in served.lbctl("backend", "list", "web")["backends"]}
        assert sum(slots.values()) == RING_SIZE
        for name, weight in {first: 3, **dict.fromkeys(others, 1)}.items():
            share = RING_SIZE * weight / (3 + len(others))
            assert abs(slots[f"pools/web/backends/{name}"] - share) <= 2
    finally:
        served.lbctl("backend", "update", f"web/{first}", "--weight", "1")


def test_a_vip_that_is_an_address_of_the_box_needs_force(served: Lbd, flat_bed: Testbed) -> None:
    """Otherwise its own ssh would be balanced away."""
    box = flat_bed.address(BALANCER)
    args = ["vip", "create", "own", "--address", box, "--port", "2222", "--protocol", "tcp", "--pool", "web"]
    refused = served.lbctl_run(*args)
    assert refused.returncode == 4
    assert "--force" in refused.stderr
    assert served.lbctl_run("vip", "get", "own").returncode == 3
    served.lbctl(*args, "--force")
    served.lbctl("vip", "delete", "own")
