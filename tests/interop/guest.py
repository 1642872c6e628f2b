# SPDX-License-Identifier: Apache-2.0
"""A QEMU guest, spoken to over its serial console."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.host import TestbedError

_BOOT_SECONDS = 60.0
_COMMAND_SECONDS = 20.0
_QUOTED_LINES = 30


def qemu_command(kernel: Path, initramfs: Path, tap: str, mac: str) -> list[str]:
    """The emulator's command line: one CPU, one NIC on a tap device, the serial console on stdin and stdout."""
    return [
        *("qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initramfs)),
        *("-append", "console=ttyS0 loglevel=1 panic=-1 mitigations=off"),
        *("-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no"),
        # romfile: no network boot, so no package with its ROM.
        *("-device", f"virtio-net-pci,netdev=net,mac={mac},romfile="),
    ]


class Guest:
    """A process whose stdin takes one shell command per line, and whose stdout answers as guest-init.sh does."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin
        assert process.stdout
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout.fileno()
        self._unread = b""
        self._said: list[str] = []

    def wait_until_ready(self) -> None:
        """Wait for the end of the boot. Raises ``TestbedError``."""
        self._lines_until("@ready", "boot", _BOOT_SECONDS)

    def run(self, command: str) -> str:
        """Run a command in the guest; returns what it printed. Raises ``TestbedError`` when it fails."""
        assert "\n" not in command
        try:
            self._stdin.write(command.encode() + b"\n")
        except BrokenPipeError:
            raise TestbedError(self._failure(f"ended before: {command}")) from None
        lines = self._lines_until("@exit ", command, _COMMAND_SECONDS)
        if lines.pop() != "@exit 0":
            raise TestbedError(self._failure(f"failed: {command}"))
        return "\n".join(lines)

    def _lines_until(self, mark: str, what: str, deadline_seconds: float) -> list[str]:
        """Lines up to and with the one that starts with ``mark``."""
        deadline = time.monotonic() + deadline_seconds
        lines: list[str] = []
        while not lines or not lines[-1].startswith(mark):
            lines.append(self._line(what, deadline))
        return lines

    def _line(self, what: str, deadline: float) -> str:
        while b"\n" not in self._unread:
            if not select.select([self._stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TestbedError(self._failure(f"no end in time: {what}"))
            chunk = os.read(self._stdout, 65536)
            if not chunk:
                raise TestbedError(self._failure(f"ended during: {what}"))
            self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        text = line.decode(errors="replace").rstrip("\r")
        self._said.append(text)
        return text

    def _failure(self, what: str) -> str:
        rest = self._unread.decode(errors="replace").splitlines()
        return "\n".join([f"guest: {what}", *(f"    {line}" for line in [*self._said, *rest][-_QUOTED_LINES:])])


@contextmanager
def started(argv: list[str]) -> Iterator[Guest]:
    """A guest; killed at the end of the block, whatever happens."""
    # A session of its own: Ctrl-C reaches us, and we end it. Should somebody kill us, the kernel does.
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *argv],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            yield Guest(process)
        finally:
            process.kill()
