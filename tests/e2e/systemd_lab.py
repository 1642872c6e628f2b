# SPDX-License-Identifier: Apache-2.0
"""A real systemd that runs lb's units, as process 1 of a container made of namespaces; nothing of it is left behind."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from testbed import BALANCER, Background, Testbed, TestbedError, wait_until
from testbed.host import run

PROJECT = Path(__file__).resolve().parents[2]
PACKAGING = PROJECT / "lb" / "packaging"
INIT = Path(__file__).with_name("systemd-init.sh")
SYSTEMD = Path("/lib/systemd/systemd")
START_SECONDS = 60.0
LOG = "/run/lbd.log"
"""Where lbd's output goes, inside: there is no journal."""

_NAMESPACES = ("--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--cgroup", "--uts", "--ipc")

_OPTIONS = ("--system", "--unit=lbd.service", "--log-target=null", "--show-status=no", "--dump-core=no")
_TARGETS = ("sysinit", "basic", "network", "local-fs", "local-fs-pre", "shutdown", "umount", "multi-user")
"""What units refer to; here nothing belongs to them."""


@dataclass(frozen=True, slots=True)
class Systemd:
    """``pid``: of its process 1, as seen from here."""

    pid: int

    def run(self, *argv: str, check: bool = True) -> CompletedProcess[str]:
        """Run a command inside."""
        return run(["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--", *argv], check=check)

    def lbctl(self, *argv: str) -> str:
        """Run lbctl inside; returns what it prints."""
        return self.run("/opt/lb/bin/lbctl", *argv).stdout

    def show(self, name: str, unit: str = "lbd.service") -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).stdout.strip()

    def wait_until_active(self) -> None:
        """lbd has said that it is ready. Before systemd listens, asking fails."""

        def is_active() -> bool:
            return self.run("systemctl", "is-active", "lbd", check=False).stdout == "active\n"

        try:
            wait_until(is_active, START_SECONDS, "lbd.service did not become active")
        except TestbedError as error:
            for words in (("systemctl", "status", "--no-pager", "--full", "lbd", "run-lb-bpf.mount"), ("cat", LOG)):
                error.add_note(self.run(*words, check=False).stdout)
            raise

    def path(self, path: str) -> Path:
        """A file inside, to be opened from here."""
        return Path(f"/proc/{self.pid}/root{path}")


@contextmanager
def systemd(bed: Testbed, etc: Mapping[str, str], units: Mapping[str, str]) -> Iterator[Systemd]:
    """Boot it in the balancer's network namespace; lbd is being started then.

    Args:
        bed: Where.
        etc: Path below /etc to text, to be added there.
        units: The same for units. Besides these and lb's own there are none: not one service of the host's.
    """
    assert SYSTEMD.exists(), f"{SYSTEMD} is missing: `apt-get install systemd`; it is run in a container only"
    scratch = bed.state_dir / "systemd"
    (scratch / "room").mkdir(parents=True)
    targets = {f"{name}.target": "[Unit]\nDefaultDependencies=no\n" for name in _TARGETS}
    for folder, files in {"etc": etc, "units": {**targets, **units}}.items():
        for name, text in files.items():
            path = scratch / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    with _cgroup(f"{bed.prefix}-systemd") as cgroup:
        init = ["sh", str(INIT), str(PROJECT), sys.prefix, str(scratch), str(SYSTEMD), *_OPTIONS]
        join = f'echo $$ >{cgroup}/cgroup.procs && exec "$@"'
        container = bed.start(BALANCER, "systemd", "sh", "-c", join, "sh", "unshare", *_NAMESPACES, *init)
        try:
            yield Systemd(_process_1(container))
        finally:
            container.kill()


def _process_1(container: Background) -> int:
    """The child of `unshare`, once it has become systemd."""
    children = Path(f"/proc/{container.process.pid}/task/{container.process.pid}/children")
    found: list[int] = []

    def is_up() -> bool:
        assert container.running, container.stderr
        found[:] = [int(pid) for pid in children.read_text().split()]
        return bool(found) and Path(f"/proc/{found[0]}/comm").read_text() == "systemd\n"

    wait_until(is_up, START_SECONDS, "systemd did not start")
    return found[0]


@contextmanager
def _cgroup(name: str) -> Iterator[Path]:
    """A cgroup (v2) of its own below ours: systemd takes the root of what it sees for its own."""
    found = re.search(r"^(?:\S+ ){4}(\S+) .* - cgroup2 ", Path("/proc/self/mountinfo").read_text(), re.MULTILINE)
    assert found, "no cgroup2 is mounted: systemd needs one, `mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified`"
    ours = re.search(r"^0::(/.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    assert ours
    made = Path(found[1]) / ours[1].lstrip("/") / name
    made.mkdir()
    try:
        yield made
    finally:
        wait_until(lambda: _is_removed(made), START_SECONDS, f"processes in {made} do not end")


def _is_removed(cgroup: Path) -> bool:
    """Remove it, if all processes in it have ended."""
    try:
        for folder, _, _ in os.walk(cgroup, topdown=False):
            Path(folder).rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
    return not cgroup.exists()
