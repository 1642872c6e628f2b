# SPDX-License-Identifier: Apache-2.0
"""Attach an XDP program to an interface of this namespace, or of a real backend; it stays when the process has gone.

``python -m testbed.xdp pass IF...`` lets everything through. A veth that sends with XDP_TX delivers nothing unless its
peer runs a program too. ``python -m testbed.xdp decap IF ADDRESS...`` is xdp/decap.c; see xdp/DECAP.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from ipaddress import ip_address

from lb.core.errors import LbError
from testbed.programs import PASS, attach, compile_decap


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testbed.xdp", description="Attach an XDP program to an interface.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pass").add_argument("interfaces", nargs="+")
    decap = commands.add_parser("decap", description="Unwrap what balancers send to this host.")
    decap.add_argument("interface")
    decap.add_argument("addresses", type=ip_address, nargs="+", metavar="ADDRESS", help="of this host, one a family")
    decap.add_argument("--generic", action="store_true", help="for drivers without XDP; slower")
    decap.add_argument("--jumbo", action="store_true", help="for drivers that spread a frame over several buffers")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 and a sentence on stderr when it can't be done."""
    args = _parser().parse_args(argv)
    try:
        if args.command == "pass":
            for interface in args.interfaces:
                attach(interface, "pass", PASS)
        else:
            code = compile_decap(args.addresses, multi_buffer=args.jumbo)
            attach(args.interface, "decap", code, generic=args.generic, multi_buffer=args.jumbo)
    except (OSError, LbError, ValueError) as error:
        print(f"testbed.xdp: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
