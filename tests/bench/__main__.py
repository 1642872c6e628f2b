# SPDX-License-Identifier: Apache-2.0
"""``PYTHONPATH=netns-testbed:tests python -m bench [--json FILE] [--quick]``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from testbed.signals import Interrupted, interruptible

from bench.arena import BenchError
from bench.machine import describe
from bench.report import console, print_report, to_json
from bench.run import FULL, QUICK, bench
from lb.core.errors import LbError


def main() -> int:
    """Exit code 0 when everything was measured, whatever the times; 1 with a sentence when it could not be."""
    parser = argparse.ArgumentParser(prog="bench", description="What a packet costs, compared within one run.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("--quick", action="store_true", help="fewer repeats: to try a change, not to quote")
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("bench: needs root: it makes network namespaces and loads BPF programs", file=sys.stderr)
        return 1
    settings = QUICK if args.quick else FULL
    try:
        machine = describe()
        with interruptible():
            results = bench(settings, lambda text: print(f"bench: {text}", file=sys.stderr))
        if args.json:
            args.json.write_text(json.dumps(to_json(machine, settings, results), indent=2) + "\n")
    except (BenchError, LbError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print(f"bench: {interrupted}; all is removed", file=sys.stderr)
        return 128 + interrupted.number
    print_report(console(), machine, settings, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
