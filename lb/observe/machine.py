# SPDX-License-Identifier: Apache-2.0
"""Findings about the machine itself. Need no running daemon."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lb.observe.bpffs import examine_bpffs
from lb.observe.capabilities import missing_capabilities
from lb.observe.clock import examine_clock
from lb.observe.findings import ok, problem
from lb.observe.kernel import examine_kernel
from lb.observe.programs import Load, examine_compiler, examine_programs, load
from lb.ports import Finding


def examine_machine(bpf_dir: Path, root: Path = Path("/")) -> Iterator[Finding]:
    """Look at what anybody may look at. Blocks for milliseconds.

    Args:
        bpf_dir: Where lbd pins, or will pin, the data plane.
        root: Where /proc, /boot and /lib are.
    """
    yield from examine_kernel(root, os.uname().release)
    yield examine_compiler()
    yield examine_bpffs(bpf_dir, root / "proc")
    yield examine_clock()


def examine_privileges(load: Load = load, proc: Path = Path("/proc")) -> Iterator[Finding]:
    """What this process may do, and what the kernel takes of it; for lbd, or who has its privileges."""
    yield from examine_programs(load)
    missing = missing_capabilities(proc)
    if not missing:
        yield ok("machine", "capabilities", "all that are needed")
        return
    remedy = "run as root, with all of them in CapabilityBoundingSet= of its unit"
    yield problem("machine", "capabilities", f"missing {', '.join(missing)}", remedy)
