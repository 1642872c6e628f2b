# SPDX-License-Identifier: Apache-2.0
"""`lbd` in the balancer's namespace, and `lbctl` talking to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from testbed.background import Background
from testbed.bed import Testbed
from testbed.host import TestbedError, run, unmount_below
from testbed.topology import BALANCER, HOST_INTERFACE

_READY_SECONDS = 30.0
_LOG_CHARACTERS = 4000


class Lbd:
    """Use it in a ``with`` block: it starts, and at the end everything of it is gone, its configuration included."""

    def __init__(self, bed: Testbed, interfaces: Sequence[str] = (HOST_INTERFACE,), args: Sequence[str] = ()) -> None:
        self.bed = bed
        self.state_dir = bed.state_dir / "lbd"
        self.bpf_dir = bed.state_dir / "bpf"
        self.target = f"unix://{bed.state_dir / 'lbd.sock'}"
        self._interfaces = tuple(interfaces)
        self._args = tuple(args)
        self._starts = 0
        self._running: Background | None = None

    def __enter__(self) -> Lbd:
        try:
            self.start()
        except BaseException as error:
            self._close_after(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._close_after(error)

    def _close_after(self, error: BaseException) -> None:
        """What went wrong first is what matters."""
        try:
            self.close()
        except TestbedError as later:
            error.add_note(f"then: {later}")

    @property
    def argv(self) -> list[str]:
        """Its command line, to be run in the balancer's namespace."""
        interfaces = [word for interface in self._interfaces for word in ("--interface", interface)]
        folders = ["--state-dir", str(self.state_dir), "--bpf-dir", str(self.bpf_dir)]
        return [str(script("lbd")), *interfaces, *folders, "--listen", self.target, *self._args]

    def start(self, wait: bool = True) -> Background:
        """Start it; with ``wait``, until it is ready. Raises ``TestbedError`` with its log when it isn't."""
        self._starts += 1
        self._running = self.bed.start(BALANCER, f"lbd-{self._starts}", *self.argv)
        if wait:
            self._running.wait_for_line("ready", _READY_SECONDS)
        return self._running

    def stop(self) -> int:
        """SIGTERM and wait; returns the exit code. The data plane stays. Raises ``TestbedError``."""
        assert self._running is not None, "not started"
        return self._running.stop()

    def kill(self) -> None:
        """SIGKILL. The data plane stays."""
        assert self._running is not None, "not started"
        self._running.kill()

    @property
    def pid(self) -> int:
        """Process of the latest one."""
        assert self._running is not None, "not started"
        return self._running.process.pid

    @property
    def log(self) -> str:
        """What the latest one wrote to stderr so far."""
        return self._running.stderr if self._running else ""

    def lbctl(self, *args: str) -> Any:
        """Run `lbctl ARGS -o json`; returns the parsed answer, None when it is empty. Raises ``TestbedError``."""
        done = self.lbctl_run(*args, "-o", "json")
        if done.returncode != 0:
            error = TestbedError(f"lbctl {' '.join(args)}: exit code {done.returncode}: {done.stderr.strip()}")
            error.add_note(f"lbd's log ends with:\n{self.log[-_LOG_CHARACTERS:]}")
            raise error
        return json.loads(done.stdout) if done.stdout.strip() else None

    def lbctl_run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run `lbctl ARGS`, whatever comes of it."""
        return run([str(script("lbctl")), "--target", self.target, *args], check=False)

    def detach(self) -> None:
        """Remove the data plane. Raises ``TestbedError``."""
        done = self.bed.run(BALANCER, str(script("lbctl")), "detach", "--bpf-dir", str(self.bpf_dir), check=False)
        if done.returncode != 0:
            raise TestbedError(f"lbctl detach: exit code {done.returncode}: {done.stderr.strip()}")

    def close(self) -> None:
        """Stop, detach, unmount, forget the configuration; all of it is tried, then a ``TestbedError`` raised."""
        try:
            if self._running is not None and self._running.running:
                self._running.stop()
        finally:
            try:
                if self.bpf_dir.is_mount():
                    self.detach()
            finally:
                unmount_below(self.bpf_dir)
                shutil.rmtree(self.state_dir, ignore_errors=True)


def script(name: str) -> Path:
    """A console script of the venv that we run in."""
    return Path(sys.executable).parent / name
