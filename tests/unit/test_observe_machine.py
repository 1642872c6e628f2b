# SPDX-License-Identifier: Apache-2.0
"""What the doctor says about a machine, from made-up /proc trees; nothing here depends on the machine of the test."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lb.core.errors import UnavailableError
from lb.dataplane import libbpf
from lb.observe.bpffs import examine_bpffs
from lb.observe.capabilities import NEEDED
from lb.observe.clock import clock_state, examine_clock
from lb.observe.kernel import examine_kernel
from lb.observe.local import examine_without_lbd
from lb.observe.machine import examine_machine, examine_privileges
from lb.observe.programs import examine_compiler, load
from lb.ports import Finding, Severity

OK, WARNING, PROBLEM = Severity.OK, Severity.WARNING, Severity.PROBLEM
RELEASE = "6.1.0-18-amd64"
OPTIONS = ("BPF_SYSCALL", "BPF_JIT", "NET_SCH_INGRESS", "NET_CLS_ACT", "NET_CLS_BPF", "IP_MULTIPLE_TABLES")
ALL_CAPABILITIES = sum(1 << bit for bit in NEEDED.values())
BPF_DIR = Path("/run/lb/bpf")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def kernel(root: Path, release: str = RELEASE) -> dict[str, Finding]:
    """Findings by check."""
    return {finding.check: finding for finding in examine_kernel(root, release)}


@pytest.mark.parametrize(
    ("release", "severity"),
    [
        ("5.15.0-91-generic", OK),
        ("6.1.0", OK),
        ("10.0", OK),
        ("5.14.21", PROBLEM),
        ("4.19.0", PROBLEM),
        ("odd", PROBLEM),
    ],
)
def test_kernels_are_told_by_their_number(tmp_path: Path, release: str, severity: Severity) -> None:
    """5.9 is older than 5.15, though it does not sort so."""
    found = kernel(tmp_path, release)["kernel"]
    assert (found.severity, found.observation) == (severity, release)
    assert ("run Linux 5.15 or newer" in found.remedy) == (severity is PROBLEM)


@pytest.mark.parametrize(
    ("missing", "severity", "words"),
    [
        ((), OK, ""),
        (("BPF_SYSCALL",), PROBLEM, "missing CONFIG_BPF_SYSCALL"),
        (("NET_CLS_BPF", "IP_MULTIPLE_TABLES"), WARNING, "missing CONFIG_NET_CLS_BPF, CONFIG_IP_MULTIPLE_TABLES"),
    ],
)
@pytest.mark.parametrize("place", ["proc/config.gz", f"boot/config-{RELEASE}", f"lib/modules/{RELEASE}/config"])
def test_what_a_kernel_lacks_is_read_from_its_configuration(
    tmp_path: Path, place: str, missing: tuple[str, ...], severity: Severity, words: str
) -> None:
    """Wherever a distribution keeps it. A module is as good as built in."""
    text = "".join(
        f"# CONFIG_{name} is not set\n" if name in missing else f"CONFIG_{name}={'my'[i % 2]}\n"
        for i, name in enumerate(OPTIONS)
    )
    write(tmp_path / place, "")
    (tmp_path / place).write_bytes(gzip.compress(text.encode()) if place.endswith("gz") else text.encode())
    found = kernel(tmp_path)["kernel options"]
    assert found.severity is severity
    assert words in found.observation
    assert bool(found.remedy) == bool(missing)


def test_a_kernel_that_hides_its_configuration_is_not_judged_by_it(tmp_path: Path) -> None:
    """The programs that it takes say enough."""
    assert "kernel options" not in kernel(tmp_path)


@pytest.mark.parametrize(
    ("enabled", "harden", "severity", "words"),
    [
        ("1", "0", OK, "on"),
        ("2", "1", OK, "on"),
        ("0", "0", PROBLEM, "sysctl -w net.core.bpf_jit_enable=1"),
        ("1", "2", WARNING, "sysctl -w net.core.bpf_jit_harden=1"),
        (None, None, OK, "not shown"),
    ],
)
def test_the_jit_compiler_must_be_on(
    tmp_path: Path, enabled: str | None, harden: str | None, severity: Severity, words: str
) -> None:
    """An interpreted program is several times slower, and nothing else tells."""
    for name, value in (("enable", enabled), ("harden", harden)):
        if value is not None:
            write(tmp_path / f"proc/sys/net/core/bpf_jit_{name}", f"{value}\n")
    found = kernel(tmp_path)["BPF JIT"]
    assert found.severity is severity
    assert words in found.observation + found.remedy


def refusing(number: int) -> Callable[[int], None]:
    """A kernel that takes no tc program."""

    def refuse(kind: int) -> None:
        if kind != libbpf.PROG_TYPE_XDP:
            raise OSError(number, os.strerror(number))

    return refuse


def status(root: Path, capabilities: int) -> Path:
    """A /proc whose process may do so much."""
    write(root / "self/status", f"Name:\tlbd\nCapEff:\t{capabilities:016x}\nCapBnd:\t{0:016x}\n")
    return root


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EPERM, "run as root, or with CAP_BPF"), (errno.EINVAL, "CONFIG_BPF_SYSCALL")]
)
def test_a_program_that_the_kernel_refuses_is_found(tmp_path: Path, number: int, words: str) -> None:
    """Without tc programs there is no tunnel for the checks; XDP goes on without."""
    xdp, tc, _ = examine_privileges(refusing(number), status(tmp_path, ALL_CAPABILITIES))
    assert (xdp.severity, xdp.check) == (OK, "XDP program")
    assert (tc.severity, tc.check) == (WARNING, "tc program")
    assert words in tc.remedy
    assert "health checks go to the backends' own addresses" in tc.observation


def test_without_libbpf_nothing_can_be_tried(tmp_path: Path) -> None:
    def missing(_kind: int) -> None:
        raise UnavailableError("libbpf.so.1 is missing: `apt-get install libbpf1`")

    found = [each for each in examine_privileges(missing, status(tmp_path, 0)) if each.subject == "machine"]
    assert [(each.severity, each.check) for each in found] == [(PROBLEM, "libbpf"), (PROBLEM, "capabilities")]
    assert "apt-get install libbpf1" in found[0].remedy


@pytest.mark.root
def test_this_kernel_takes_both_kinds_of_programs() -> None:
    """The trial programs are right, and are let go: the real thing would not start here otherwise."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    load(libbpf.PROG_TYPE_XDP)
    assert {found.severity for found in examine_privileges()} == {OK}
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("lacking", [(), ("CAP_BPF",), tuple(NEEDED)])
def test_missing_capabilities_are_named(tmp_path: Path, lacking: tuple[str, ...]) -> None:
    have = ALL_CAPABILITIES - sum(1 << NEEDED[name] for name in lacking)
    *_, found = examine_privileges(lambda _kind: None, status(tmp_path, have))
    assert found.severity is (PROBLEM if lacking else OK)
    assert all(name in found.observation for name in lacking)
    assert ("CapabilityBoundingSet=" in found.remedy) == bool(lacking)


def test_the_compiler_is_looked_for() -> None:
    """PyPI has another bcc: the remedy names the right one."""
    assert examine_compiler(lambda _name: object()).severity is OK
    found = examine_compiler(lambda _name: None)
    assert (found.severity, "apt-get install python3-bpfcc" in found.remedy) == (PROBLEM, True)


MOUNTS = "22 1 0:21 / / rw - ext4 /dev/vda rw\n"
OURS = "90 22 0:77 / /run/lb/bpf rw,nosuid shared:9 - bpf bpf rw,mode=700\n"
COVERED = "91 90 0:78 / /run/lb/bpf rw - tmpfs tmpfs rw\n"


@pytest.mark.parametrize(
    ("ours", "hosts", "severity", "words"),
    [
        (MOUNTS + OURS, MOUNTS + OURS, OK, "mounted on /run/lb/bpf"),
        (MOUNTS + OURS, None, OK, "mounted on /run/lb/bpf"),
        (MOUNTS + OURS, MOUNTS, WARNING, "mount -t bpf bpf /run/lb/bpf` in the host's mount namespace"),
        (MOUNTS + OURS, MOUNTS + OURS.replace("0:77", "0:99"), WARNING, "private to a mount namespace"),
        (MOUNTS, MOUNTS, WARNING, "none is mounted on /run/lb/bpf"),
        (MOUNTS + OURS + COVERED, MOUNTS + OURS, WARNING, "none is mounted"),
        (MOUNTS + OURS.replace("/run/lb/bpf ", "/sys/fs/bpf "), MOUNTS, WARNING, "none is mounted"),
    ],
)
def test_a_bpffs_must_outlive_lbd(tmp_path: Path, ours: str, hosts: str | None, severity: Severity, words: str) -> None:
    """Pins in a private mount namespace, as hardened units have one, go with it, and the data plane with them."""
    write(tmp_path / "self/mountinfo", ours)
    if hosts is not None:
        write(tmp_path / "1/mountinfo", hosts)
    found = examine_bpffs(BPF_DIR, tmp_path)
    assert found.severity is severity
    assert words in found.observation + found.remedy


def test_a_mount_point_may_have_blanks_and_be_above(tmp_path: Path) -> None:
    """The kernel writes them in octal."""
    write(tmp_path / "self/mountinfo", MOUNTS + OURS.replace("/run/lb/bpf ", r"/mnt/my\040bpf "))
    assert examine_bpffs(Path("/mnt/my bpf/lb"), tmp_path).severity is OK


def test_a_clock_that_nothing_keeps_in_step_is_a_warning() -> None:
    def forbidden() -> int:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    assert examine_clock(lambda: 0).severity is OK
    found = examine_clock(lambda: 5)
    assert (found.severity, "timedatectl set-ntp true" in found.remedy) == (WARNING, True)
    assert "may not be asked" in examine_clock(forbidden).observation
    assert clock_state() in range(6)


def test_every_finding_that_is_not_ok_has_a_remedy() -> None:
    """Of the machine of this test, whatever it is like."""
    found = [*examine_machine(BPF_DIR), *examine_without_lbd(BPF_DIR, "lbd is not running: start it")]
    assert {each.check for each in found} >= {"kernel", "BPF JIT", "BPF compiler", "bpffs", "clock", "capabilities"}
    assert [each for each in found if bool(each.remedy) != (each.severity is not OK)] == []


def test_without_lbd_that_is_the_first_problem(tmp_path: Path) -> None:
    first, *_ = examine_without_lbd(tmp_path, "lbd is not running on unix:///x.sock: start it")
    assert first == Finding(PROBLEM, "lbd", "running", "lbd is not running on unix:///x.sock", "start it")


def test_without_privileges_the_kernel_is_not_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is lbctl that may not try what lbd may."""
    monkeypatch.setattr("lb.observe.local.missing_capabilities", lambda: ("CAP_BPF",))
    found = {each.check: each for each in examine_without_lbd(tmp_path, "lbd is not running: start it")}
    assert found["capabilities"].severity is WARNING
    assert "run `lbctl doctor` as root" in found["capabilities"].remedy
    assert "XDP program" not in found
