# SPDX-License-Identifier: Apache-2.0
"""The prober's process: ``python -m lb.probe.worker FD PID``, a socket to lbd and lbd's process.

It ends when lbd does, whatever way that is: the socket ends, and the kernel kills it in case it does not notice.
Whatever it has to say goes through the socket; what Python or a library prints, to stderr.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import socket
import sys

from lb.probe.outbox import Outbox
from lb.probe.protocol import MAX_LINE_BYTES, decode_change
from lb.probe.rounds import Rounds
from lb.probe.schedule import Schedule

MAX_PROBES = 4_096
"""At a time: 1,000 a second that all hang for 4 seconds."""

_FILES_PER_PROBE = 4
"""The most that one needs (gRPC)."""

_OTHER_FILES = 64
_PR_SET_PDEATHSIG = 1


def main() -> None:
    fd, parent = map(int, sys.argv[1:])
    _die_with(parent)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        # They are meant for lbd, also when a terminal or systemd sends them to all of its processes: it ends this one.
        signal.signal(number, signal.SIG_IGN)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    asyncio.run(_serve(socket.socket(fileno=fd), _raise_limit()))


def _die_with(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit(0)  # it died before


def _raise_limit() -> int:
    """Returns how many probes may be on their way at a time, after having raised the limit on open files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(1, min(MAX_PROBES, (hard - _OTHER_FILES) // _FILES_PER_PROBE))


async def _serve(lbd: socket.socket, limit: int) -> None:
    reader, writer = await asyncio.open_connection(sock=lbd, limit=MAX_LINE_BYTES)
    outbox = Outbox(writer.transport)
    rounds = Rounds()
    schedule = Schedule(rounds, limit, outbox.outcome, outbox.warn)
    try:
        async for line in reader:
            change = decode_change(line)
            schedule.remove(change.removed)
            schedule.add(change.added)
    except ConnectionError:
        pass  # lbd died
    finally:
        schedule.stop()
        rounds.stop()
        outbox.stop()


if __name__ == "__main__":
    main()
