# SPDX-License-Identifier: Apache-2.0
"""Compiles every C source with warnings as errors: `python -m lb.dataplane.lint`, part of `make lint`."""

from __future__ import annotations

import sys

from lb.dataplane.compiler import CompileError, compile_source
from lb.dataplane.maps import SYMBOLS
from lb.dataplane.pins import PROGRAM
from lb.dataplane.probe_filter import PROBE
from lb.dataplane.source import Source, balancer_source, join_includes, probe_source, source_dir

_STRICT = ("-Wextra", "-Werror", "-Wshadow")
_MAPS = {PROGRAM: SYMBOLS, PROBE: ["backends"]}


def main() -> int:
    sources = {PROGRAM: balancer_source(bytes(16)), PROBE: probe_source()}
    decap = source_dir() / "decap.c"
    addresses = {"DECAP_IPV4": "1U", "DECAP_IPV6_HIGH": "1ULL", "DECAP_IPV6_LOW": "1ULL"}
    sources["decap"] = Source(join_includes(decap), addresses)
    for function, source in sources.items():
        try:
            compile_source(source, [function], _MAPS.get(function, []), cflags=_STRICT)
        except CompileError as error:
            print(error.message, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
