# SPDX-License-Identifier: Apache-2.0
"""A process that runs on in a namespace, with its output in files."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from testbed.host import TestbedError, environment, wait_until

_READY_SECONDS = 15.0
_STOP_SECONDS = 10.0


class Background:
    """Output goes to ``NAME.out`` and ``NAME.err``, not into pipes: nobody has to read them, and it outlives us."""

    def __init__(self, name: str, argv: Sequence[str], logs: Path) -> None:
        self.name = name
        self._out = logs / f"{name}.out"
        self._err = logs / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment(), start_new_session=True
            )

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has logged so far."""
        return self._err.read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def wait_for_line(self, line: str, deadline_seconds: float = _READY_SECONDS) -> None:
        """Wait until it prints ``line``; raises ``TestbedError`` when it ends first or takes too long."""

        def printed() -> bool:
            alive = self.running  # asked first: what it printed before it ended is in the file then
            if line in self.stdout.splitlines():
                return True
            if not alive:
                raise TestbedError(f"{self.name} ended with {self.process.returncode}: {self.stderr.strip()}")
            return False

        try:
            wait_until(printed, deadline_seconds, f"{self.name} did not print {line!r}")
        except TestbedError as error:
            raise TestbedError(f"{error}\n{self.stderr.strip()}" if self.running else str(error)) from None

    def stop(self) -> int:
        """SIGTERM, then wait; returns the exit code. Raises ``TestbedError`` when it does not end."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TestbedError(f"{self.name} ignored SIGTERM for {_STOP_SECONDS:g} s\n{self.stderr.strip()}") from None

    def kill(self) -> None:
        """SIGKILL, then wait."""
        self.process.kill()
        self.process.wait()
