# SPDX-License-Identifier: Apache-2.0
"""XDP programs on the ends of veth pairs, attached over netlink, so that they stay when the process has gone.

Run inside the namespace: ``python -m testbed.xdp pass IF...`` and ``python -m testbed.xdp decap IF ADDRESS``.

* ``pass`` lets everything through. A veth that sends with XDP_TX delivers nothing unless its peer runs a program too.
* ``decap`` is xdp/decap.c, for backends whose kernel has no ipip device.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import socket
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address

from lb.core.errors import LbError
from lb.dataplane.compiler import compile_source
from lb.dataplane.libbpf import XDP_FLAGS_DRV_MODE, library, prog_load
from lb.dataplane.source import Source, join_includes, source_dir

_UPDATE_IF_NOEXIST = 1
_PASS = bytes.fromhex("b7000000020000009500000000000000")
"""``r0 = XDP_PASS; exit``."""


def attach(interface: str, name: str, instructions: bytes) -> None:
    """Load a program and attach it to an interface of this namespace, in the driver. Raises ``OSError``."""
    program = prog_load(name, instructions)
    flags = ctypes.c_uint32(_UPDATE_IF_NOEXIST | XDP_FLAGS_DRV_MODE)
    result = library().bpf_xdp_attach(socket.if_nametoindex(interface), program, flags, None)
    if result < 0:
        raise OSError(-result, f"XDP program on {interface}: {os.strerror(-result)}")


def compile_decap(address: IPv4Address) -> bytes:
    """Instructions of xdp/decap.c for a host with that address. Raises the compiler's ``LbError``."""
    as_be32 = int.from_bytes(address.packed, sys.byteorder)
    source = Source(join_includes(source_dir() / "decap.c"), {"DECAP_ADDRESS": f"{as_be32:#x}U"})
    return compile_source(source, ["decap"], [], cflags=["-Wextra", "-Werror"]).functions["decap"]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 and a sentence on stderr when it can't be done."""
    parser = argparse.ArgumentParser(prog="python -m testbed.xdp", description="Attach an XDP program to a veth.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pass").add_argument("interfaces", nargs="+")
    decap = commands.add_parser("decap")
    decap.add_argument("interface")
    decap.add_argument("address", type=IPv4Address)
    args = parser.parse_args(argv)
    try:
        if args.command == "pass":
            for interface in args.interfaces:
                attach(interface, "pass", _PASS)
        else:
            attach(args.interface, "decap", compile_decap(args.address))
    except (OSError, LbError) as error:
        print(f"testbed.xdp: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
