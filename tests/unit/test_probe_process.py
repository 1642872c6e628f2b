# SPDX-License-Identifier: Apache-2.0
"""The prober's process and lbd: either may die, hang or be busy, and the other does what is right."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from e2e.next_hops_lab import until, wait_now
from unit.probe_lab import LOOPBACK, silent_port, target

from lb.core.checks import CheckKind, Outcome, Target
from lb.core.errors import UnavailableError
from lb.probe import process as process_module
from lb.probe.prober import ProcessProber
from lb.probe.process import Broken, Process

LBD = """
import asyncio, sys
from ipaddress import ip_address
from lb.core.checks import CheckKind, HealthCheck, Target
from lb.probe.prober import ProcessProber

async def main():
    prober = ProcessProber()
    prober.on_outcome(lambda _, outcome: print("outcome", outcome.error, flush=True))
    await prober.start()
    print("pid", prober.pid, flush=True)
    address = ip_address("127.0.0.1")
    prober.watch([Target(HealthCheck(CheckKind.TCP), address, address, int(sys.argv[1]))])
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Watching:
    """A prober that probes one target each tenth of a second."""

    def __init__(self, port: int) -> None:
        self.prober = ProcessProber()
        self.target = target(CheckKind.TCP, port, interval_ms=100)
        self.outcomes: list[Outcome] = []
        self.prober.on_outcome(self._take)

    def _take(self, asked: Target, outcome: Outcome) -> None:
        assert asked == self.target
        self.outcomes.append(outcome)

    @property
    def pid(self) -> int:
        assert self.prober.pid is not None
        return self.prober.pid

    async def more(self, count: int = 1) -> None:
        """Until that many outcomes more were told."""
        wanted = len(self.outcomes) + count
        await until(lambda: len(self.outcomes) >= wanted)


@contextlib.asynccontextmanager
async def watching(port: int) -> AsyncIterator[Watching]:
    made = Watching(port)
    await made.prober.start()
    try:
        made.prober.watch([made.target])
        yield made
    finally:
        await made.prober.stop()


@pytest.fixture
def port() -> Iterator[int]:
    """Where probes pass."""
    with silent_port() as made:
        yield made


@pytest.fixture
def lbd(port: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process with a prober that has told one outcome, and the prober's pid."""
    command = [sys.executable, "-c", LBD, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            word, pid = parent.stdout.readline().split()
            assert word == "pid"
            assert parent.stdout.readline().split() == ["outcome"]
            yield parent, int(pid)
        finally:
            parent.kill()


def has_ended(pid: int) -> bool:
    """Gone, or waiting for its new parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def receive_for_ever(process: Process) -> None:
    """With little patience."""
    while True:
        await process.receive(0.2)


# --- the prober dies


async def test_a_prober_that_died_is_replaced_and_told_all_again(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; no outcome is made up for the time without it."""
    with caplog.at_level(logging.INFO, "lb.probe"):
        async with watching(port) as made:
            for _ in range(2):
                await made.more()
                pid = made.pid
                os.kill(pid, signal.SIGKILL)
                await until(lambda: made.prober.pid is not None and made.pid != pid)  # noqa: B023 - awaited at once
                await made.more(2)
    assert {outcome.error for outcome in made.outcomes} == {""}
    assert "the prober ended (killed by SIGKILL): no health checks until another one runs" in caplog.text
    assert "the prober runs again" in caplog.text


async def test_a_prober_that_cannot_be_started_again_is_tried_less_and_less_often(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken installation must not keep a core busy; when it is mended, checks go on."""
    async with watching(port) as made:
        await made.more()
        made.prober._command = ("/nonexistent",)  # as if it had been removed
        os.kill(made.pid, signal.SIGKILL)
        await until(lambda: "starting it in 0.4 s" in caplog.text)
        assert "the prober cannot be started: [Errno 2] No such file or directory: '/nonexistent'" in caplog.text
        assert made.prober.pid is None
        made.prober._command = process_module.COMMAND
        await made.more()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("/nonexistent",), "cannot be started"),
        ((sys.executable, "-c", "raise SystemExit(3)"), r"ended \(exit status 3\): it may have said why on stderr"),
        ((sys.executable, "-c", "import os, sys; os.write(int(sys.argv[1]), b'hello\\n')"), "not keep to the protocol"),
    ],
)
async def test_a_prober_that_does_not_start_is_said_in_words(command: tuple[str, ...], words: str) -> None:
    """The daemon ends with them."""
    prober = ProcessProber(command)
    with pytest.raises(UnavailableError, match=f"health checks cannot be made: the prober .*{words}"):
        await prober.start()
    await prober.stop()


async def test_a_prober_that_hangs_is_found_out_and_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would find no backend DOWN any more."""
    monkeypatch.setattr(process_module, "END_SECONDS", 0.05)
    process = await Process.start()
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(Broken, match="says nothing for"):
        await receive_for_ever(process)
    assert await process.end() == "killed by SIGKILL"


async def test_a_prober_that_was_asked_to_ends_in_order() -> None:
    process = await Process.start()
    assert await process.end() == "exit status 0"


async def test_signals_that_are_meant_for_lbd_do_not_end_its_prober(port: int) -> None:
    """Ctrl-C and `systemctl stop` reach all processes: it ends after lbd, which else would start another one."""
    async with watching(port) as made:
        await made.more()
        pid = made.pid
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
        await made.more(2)
        assert made.pid == pid


# --- lbd dies or is busy


def test_when_lbd_is_killed_its_prober_ends(lbd: tuple[subprocess.Popen[str], int]) -> None:
    parent, pid = lbd
    parent.kill()
    wait_now(lambda: has_ended(pid))


def test_when_lbd_is_killed_a_prober_that_hangs_ends_too(lbd: tuple[subprocess.Popen[str], int]) -> None:
    """The kernel sees to it."""
    parent, pid = lbd
    os.kill(pid, signal.SIGSTOP)
    parent.kill()
    wait_now(lambda: has_ended(pid))


def test_a_prober_whose_lbd_died_before_it_was_ready_ends() -> None:
    """Then the kernel would not kill it any more."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        somebody_else = str(os.getppid())
        command = [*process_module.COMMAND, str(theirs.fileno()), somebody_else]
        assert subprocess.run(command, pass_fds=[theirs.fileno()], timeout=30, check=False).returncode == 0


def test_the_prober_says_nothing_on_lbds_stdout(lbd: tuple[subprocess.Popen[str], int]) -> None:
    """Which has one line, "ready"."""
    _, pid = lbd
    assert str(Path(f"/proc/{pid}/fd/1").readlink()) == "/dev/null"


async def test_an_lbd_that_is_busy_neither_delays_probes_nor_makes_them_fail() -> None:
    """Here its event loop does not run while five probes come."""
    with socket.create_server((LOOPBACK, 0)) as server:
        server.settimeout(10)
        async with watching(server.getsockname()[1]) as made:
            await made.more()
            told = len(made.outcomes)
            for _ in range(told + 5):
                server.accept()[0].close()
            assert len(made.outcomes) == told
            await made.more(4)
    assert {outcome.error for outcome in made.outcomes} == {""}


async def test_what_could_not_be_probed_is_in_lbds_log(caplog: pytest.LogCaptureFixture) -> None:
    """And is no failure of the backend."""
    prober = ProcessProber()
    outcomes: list[Outcome] = []
    prober.on_outcome(lambda _, outcome: outcomes.append(outcome))
    await prober.start()
    assert prober.pid is not None
    resource.prlimit(prober.pid, resource.RLIMIT_NOFILE, (0, 0))  # it may not open another file
    with silent_port() as port:
        prober.watch([target(CheckKind.TCP, port, interval_ms=100)])
        await until(lambda: "cannot probe TCP 127.0.0.1 port" in caplog.text)
    await prober.stop()
    assert "too many open files: raise the limit (LimitNOFILE)" in caplog.text
    assert outcomes == []
