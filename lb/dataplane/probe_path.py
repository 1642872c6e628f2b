# SPDX-License-Identifier: Apache-2.0
"""The program that wraps what marked sockets send (xdp/probe.c): compiled, bound to the map of backends, pinned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lb.core.errors import UnavailableError
from lb.dataplane import libbpf, probe_filter
from lb.dataplane.compiler import compile_source
from lb.dataplane.pins import MAPS, NEW_MAPS
from lb.dataplane.probe_filter import PROBE
from lb.dataplane.source import probe_source

_BACKENDS = "backends"


def install(bpf_dir: Path, interfaces: Sequence[str]) -> int:
    """Have exactly these interfaces wrap probes, by the backends of the data plane under ``bpf_dir``.

    A program that is there from before is swapped atomically. Blocks for as long as the compiler takes. Returns the
    program's id. Raises ``UnavailableError``.
    """
    compiled = compile_source(probe_source(), [PROBE], [_BACKENDS])
    try:
        backends = _backends(bpf_dir)
        try:
            code = compiled.bind(PROBE, {_BACKENDS: backends})
            program = libbpf.prog_load(PROBE, code, program_type=libbpf.PROG_TYPE_SCHED_CLS)
        finally:
            os.close(backends)
        try:
            libbpf.obj_pin(program, bpf_dir / PROBE)
            probe_filter.put(interfaces, program)
            return libbpf.prog_id(program)
        finally:
            os.close(program)
    except OSError as error:
        raise UnavailableError(
            f"cannot load the program of health checks through the tunnel: {error.strerror or error}"
        ) from error


def _backends(bpf_dir: Path) -> int:
    """The data plane's map; that of a new generation, where one is about to take over."""
    try:
        return libbpf.obj_get(bpf_dir / NEW_MAPS / _BACKENDS)
    except FileNotFoundError:
        return libbpf.obj_get(bpf_dir / MAPS / _BACKENDS)
