# SPDX-License-Identifier: Apache-2.0
"""What can be found out without lbd, on its machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lb.dataplane.links import Links
from lb.dataplane.pins import is_bpffs, linked_interfaces
from lb.observe.capabilities import missing_capabilities
from lb.observe.findings import problem, warning
from lb.observe.interfaces import examine_interface
from lb.observe.machine import examine_machine, examine_privileges
from lb.ports import Finding, InterfaceState


def examine_without_lbd(bpf_dir: Path, trouble: str) -> Iterator[Finding]:
    """Look at the machine, and at the interfaces that the data plane is still attached to.

    Args:
        bpf_dir: Where lbd pins the data plane.
        trouble: Why lbd can't be asked: "what is so: what to do".
    """
    observation, _, remedy = trouble.partition(": ")
    yield problem("lbd", "running", observation, remedy or "start it, or look at its log")
    yield from examine_machine(bpf_dir)
    missing = missing_capabilities()
    if missing:
        observation = f"lbctl cannot try what lbd needs without {', '.join(missing)}"
        yield warning("machine", "capabilities", observation, "run `lbctl doctor` as root")
    else:
        yield from examine_privileges()
    for state in _attached(bpf_dir):
        yield from examine_interface(state)


def _attached(bpf_dir: Path) -> Iterator[InterfaceState]:
    """Interfaces of this network namespace that run the pinned program: a data plane outlives its lbd."""
    try:
        if not is_bpffs(bpf_dir):
            return
        states = Links(bpf_dir, tuple(linked_interfaces(bpf_dir)), None).states()
    except OSError:  # not root
        return
    # What seems to be gone may be in lbd's network namespace.
    yield from (state for state in states if state.attached)
