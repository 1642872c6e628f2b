# SPDX-License-Identifier: Apache-2.0
"""``python -m testbed up|down|demo``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from rich.console import Console

from testbed.bed import Testbed
from testbed.demo import run_demo
from testbed.guide import guide
from testbed.host import TestbedError
from testbed.signals import Interrupted, interruptible

PLAY_PREFIX = "lb-testbed"
DEMO_PREFIX = "lb-demo"

_ROOT = "root is needed to make network namespaces and to load XDP programs: run it as root, or with sudo"


def up(args: argparse.Namespace) -> int:
    """Build a testbed and leave it up."""
    try:
        bed = Testbed(args.backends, args.routed, args.prefix)
    except ValueError as error:
        raise TestbedError(str(error)) from None
    with interruptible():
        bed.up()
    bed.release()
    print(guide(bed), end="")
    return 0


def down(args: argparse.Namespace) -> int:
    """Remove every trace of a testbed."""
    bed = Testbed(name_prefix=args.prefix)
    found = bed.left_behind()
    bed.close()
    print(f"testbed {args.prefix} removed" if found else f"testbed {args.prefix} is not there: nothing to remove")
    return 0


def demo(args: argparse.Namespace) -> int:
    """The last line says how it went."""
    with interruptible():
        result = run_demo(Testbed(name_prefix=args.prefix), Console())
    if result.problems:
        raise TestbedError("; ".join(result.problems))
    print(f"demo ok: {result.requests} requests, {result.backends} backends, {result.failed} failed")
    return 0


_COMMANDS = {"up": (up, PLAY_PREFIX), "down": (down, PLAY_PREFIX), "demo": (demo, DEMO_PREFIX)}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 when it worked, 1 when it did not, 2 for wrong usage, 128 + N after signal N."""
    parser = argparse.ArgumentParser(prog="python -m testbed", description="Clients, balancer and backends on one box.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (function, prefix) in _COMMANDS.items():
        command = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        command.add_argument("--prefix", default=prefix, help=f"of the namespaces' names (default {prefix})")
        if name == "up":
            command.add_argument("--backends", type=int, default=3, help="how many (default 3)")
            command.add_argument("--routed", action="store_true", help="put a router between balancer and the rest")
    args = parser.parse_args(argv)
    run, _ = _COMMANDS[args.command]
    try:
        if os.geteuid() != 0:
            raise TestbedError(_ROOT)
        return run(args)
    except (TestbedError, OSError) as error:
        _report_failure(args.command, str(error))
        return 1
    except Interrupted as interrupted:
        _report_failure(args.command, str(interrupted))
        return 128 + interrupted.number


def _report_failure(command: str, why: str) -> None:
    if command == "demo":
        print(f"demo failed: {' '.join(why.split())}")  # one line, the last on stdout: that is its contract
    else:
        print(f"testbed {command}: {why}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
