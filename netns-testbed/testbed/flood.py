# SPDX-License-Identifier: Apache-2.0
"""A SYN flood: packets from random addresses, put on a veth as live frames of BPF_PROG_TEST_RUN.

Run inside the namespace of the interface that sends: ``python -m testbed.flood IF MAC VIP PORT COUNT [--rate R]``.
MAC is the balancer's. The other end of the veth must run an XDP program. Prints {"sent": n, "seconds": s}; what arrived
is for the receiver to say. SIGTERM ends it early.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lb.core.errors import LbError
from lb.dataplane.compiler import compile_source
from lb.dataplane.libbpf import prog_load, prog_run
from lb.dataplane.source import Source

SOURCES = IPv4Network("198.18.0.0/15")
"""Where the packets seem to come from: nobody in the testbed has a route there, so the answers end at the backend."""
MAX_COUNT = 20_000_000

_SOURCE_MAC = bytes.fromhex("020000000099")
_FRAME_BYTES = 60
_LIVE_FRAMES = 1 << 1
_BATCH = 64
"""Frames that go out at once; the ring of a veth holds 256."""
_CHUNK = 16_384
"""Frames of one system call, which ends with a wait for the kernel's grace periods, some 40 ms."""


def compile_flood(mac: bytes, vip: IPv4Address, port: int) -> bytes:
    """Instructions of flood.c. Raises the compiler's ``LbError``."""
    words = memoryview(mac + _SOURCE_MAC).cast("H")
    defines = {
        "MAC_WORDS": ",".join(map(str, words)),
        "SOURCE": f"{int(SOURCES.network_address):#x}U",
        "SOURCE_MASK": f"{int(SOURCES.hostmask):#x}U",
        "VIP": f"{int(vip):#x}U",
        "PORT": str(port),
    }
    text = Path(__file__).with_name("flood.c").read_text()
    source = Source(f'#line 1 "flood.c"\n{text}', defines)
    return compile_source(source, ["flood"], [], cflags=["-Wextra", "-Werror"]).functions["flood"]


def flood(program: int, ifindex: int, count: int, rate: int) -> int:
    """Send ``count`` packets, ``rate`` a second (0: as fast as it goes), or fewer when SIGTERM comes.

    Returns how many, to within the last system call.
    """
    stopped = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    started = time.monotonic()
    sent = 0
    while sent < count and not stopped:
        some = min(_CHUNK, count - sent)
        with suppress(InterruptedError):  # by SIGTERM
            prog_run(program, bytes(_FRAME_BYTES), ifindex=ifindex, repeat=some, flags=_LIVE_FRAMES, batch=_BATCH)
        sent += some
        ahead = sent / rate - (time.monotonic() - started) if rate else 0
        if ahead > 0:
            time.sleep(ahead)
    return sent


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 and a sentence on stderr when it can't be done."""
    parser = argparse.ArgumentParser(prog="python -m testbed.flood", description="Send SYNs from random addresses.")
    parser.add_argument("interface")
    parser.add_argument("mac", type=lambda text: bytes.fromhex(text.replace(":", "")))
    parser.add_argument("vip", type=IPv4Address)
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int, help=f"at most {MAX_COUNT}")
    parser.add_argument("--rate", type=int, default=0, help="packets a second (default: as fast as it goes)")
    args = parser.parse_args(argv)
    if not 0 < args.count <= MAX_COUNT:
        parser.error(f"count: 1 to {MAX_COUNT}")
    try:
        ifindex = socket.if_nametoindex(args.interface)
        program = prog_load("flood", compile_flood(args.mac, args.vip, args.port))
        started = time.monotonic()
        print("ready", flush=True)
        sent = flood(program, ifindex, args.count, args.rate)
    except (OSError, LbError) as error:
        print(f"testbed.flood: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"sent": sent, "seconds": round(time.monotonic() - started, 3)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
