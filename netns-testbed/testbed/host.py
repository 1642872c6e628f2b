# SPDX-License-Identifier: Apache-2.0
"""The host's side: commands, network namespaces, the processes in them, mounts. Nothing here knows the topology."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE

from testbed.signals import signals_held

NETNS = Path("/run/netns")
PACKAGE_ROOT = Path(__file__).resolve().parent.parent

_POLL_SECONDS = 0.01
_COMMAND_SECONDS = 60.0
_DEATH_SECONDS = 5.0
_CLONE_NEWNET = 0x40000000
_NOT_FOUND = 127
"""What nsenter and sh answer for a program that is not there."""
_REMEDY = "`.ci/setup nginx-light` installs what the testbed needs"


class TestbedError(Exception):
    """The testbed can't do it; the message says why and what to do."""

    __test__ = False  # the name is no test class's


def wait_until(condition: Callable[[], object], deadline_seconds: float, message: str) -> None:
    """Poll until ``condition()`` is true; raises ``TestbedError`` with ``message`` when it isn't in time."""
    deadline = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TestbedError(f"{message} (waited {deadline_seconds:g} s)")
        time.sleep(_POLL_SECONDS)


def run(
    argv: Sequence[str], *, check: bool = True, stdin: str | None = None, timeout_seconds: float = _COMMAND_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and keep its output.

    Raises ``TestbedError`` when it is not installed, when it runs out of time, or, with ``check``, when it fails.
    A Ctrl-C at the terminal does not reach it: it reaches us, and we tidy up.
    """
    command = " ".join(argv)
    with ExitStack() as stack:
        try:
            with signals_held():  # an interrupt finds it either not started, or in the care of the stack
                process = stack.enter_context(
                    subprocess.Popen(
                        argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, env=environment(), process_group=0
                    )
                )
                stack.callback(process.kill)  # does nothing once it has ended
            output, errors = process.communicate(stdin, timeout_seconds)
        except FileNotFoundError:
            raise TestbedError(f"{argv[0]} is not installed; {_REMEDY}") from None
        except subprocess.TimeoutExpired:
            raise TestbedError(f"no end after {timeout_seconds:g} s: {command}") from None
    done = subprocess.CompletedProcess(argv, process.returncode, output, errors)
    if check and done.returncode != 0:
        remedy = f"; {_REMEDY}" if done.returncode == _NOT_FOUND else ""
        output = done.stderr.strip() or done.stdout.strip()
        raise TestbedError(f"exit code {done.returncode}: {command}: {output}{remedy}")
    return done


def environment() -> dict[str, str]:
    """Ours, and this package importable."""
    path = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{PACKAGE_ROOT}{os.pathsep}{path}" if path else str(PACKAGE_ROOT)}


def inside(namespace: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs ``argv`` in a network namespace.

    Not `ip netns exec`: that also gives it a private mount namespace, where a bpffs would be seen by nobody else.
    """
    return ["nsenter", f"--net={NETNS / namespace}", "--", *argv]


def python_module(module: str, *args: str) -> list[str]:
    """The command line that runs a module of this package."""
    return [sys.executable, "-m", module, *args]


@contextmanager
def entered(namespace: str) -> Iterator[None]:
    """This thread is in the network namespace for the length of the block; sockets made there belong there for good."""
    # Python has os.setns from 3.12 on.
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(fd: int) -> None:
        if libc.setns(fd, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")

    with Path("/proc/thread-self/ns/net").open("rb") as here, (NETNS / namespace).open("rb") as there:
        enter(there.fileno())
        try:
            yield
        finally:
            enter(here.fileno())


def kill_all_in(namespaces: Iterable[str]) -> None:
    """Kill every process in these namespaces and wait until they are gone.

    The kernel knows who is in a namespace, also who started there before its starter could write down a pid, and also
    when the pid has gone to somebody else since.
    """
    present = [namespace for namespace in namespaces if (NETNS / namespace).exists()]

    def nobody_left() -> bool:
        pids = [pid for namespace in present for pid in pids_in(namespace)]
        for pid in pids:
            kill(pid, signal.SIGKILL)
        return not pids

    wait_until(nobody_left, _DEATH_SECONDS, f"processes in {', '.join(present)} survive SIGKILL")


def pids_in(namespace: str) -> list[int]:
    """Processes whose network namespace this is."""
    return [int(pid) for pid in run(["ip", "netns", "pids", namespace]).stdout.split()]


def kill(pid: int, number: int) -> None:
    """Send a signal; nothing happens when the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def mounts_below(folder: Path) -> list[Path]:
    """Mount points in ``folder``, the innermost first."""
    points = [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((point for point in points if point.is_relative_to(folder)), reverse=True)


def unmount_below(folder: Path) -> None:
    """Unmount everything in ``folder``; the pins in a bpffs, and what they hold, go with it."""
    for point in mounts_below(folder):
        run(["umount", str(point)])


def claim(prefix: str) -> socket.socket:
    """Keep other processes from building or removing the same testbed while the returned socket is open.

    The name is in the abstract namespace: the kernel forgets it when we die, and no file is left.
    Raises ``TestbedError`` when somebody has it.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(f"\0lb-testbed/{prefix}")
    except OSError:
        lock.close()
        remedy = "wait for it, or choose another --prefix"
        raise TestbedError(f"another process is using testbed {prefix!r}: {remedy}") from None
    return lock
