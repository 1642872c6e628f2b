# SPDX-License-Identifier: Apache-2.0
"""Where a row is measured: the real balancer with its real maps, in a network namespace of its own."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address

from packets.box import CLONE_NEWNET, HASH_KEY, MAC_OF_BOX, Box, box, mac_of

from bench.driver import Driver, Toolkit
from bench.tables import count_entries
from bench.workloads import Program, Workload, backends_of, config_for
from lb.core.model import NextHop
from lb.core.operations import WriteSlots
from lb.core.verdicts import Verdict
from lb.dataplane import libbpf
from lb.dataplane.maps import PERSISTENT
from lb.dataplane.pins import MAPS, PROGRAM
from lb.dataplane.source import balancer_source

XDP_TX = 3
INTERFACE = "in0"

MOVING_SLOTS = 10
"""One slot in so many is MOVING."""

HAS_FLOW_TABLE = any(spec.name == "flows" for spec in PERSISTENT)
"""Whether this build tracks flows: without it there is nothing to measure in MOVING and TRACK_ALL."""

_UNLIMITED = struct.pack("=qq", 1 << 62, 1 << 62)


class BenchError(Exception):
    """The benchmark would measure something else than it says."""


@dataclass(frozen=True, slots=True)
class Arena:
    """A balancer configured for a workload. ``programs``: fds; ``forwards``: whether this build wraps such packets."""

    box: Box
    netns: int
    programs: dict[Program, int] = field(default_factory=dict)
    forwards: bool = True

    def enter(self) -> None:
        """Move the calling thread into the arena's network namespace: interface indices are of that one."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(self.netns, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter the network namespace")

    @property
    def ifindex(self) -> int:
        """The balancer's interface."""
        return self.box.ifindex[INTERFACE]

    def forwarded(self) -> int:
        """Packets with the verdict FORWARDED so far."""
        return self.box.counts()[Verdict.FORWARDED]

    def flow_entries(self) -> int:
        """Entries in the flow table."""
        return count_entries(self.box.bpf_dir / MAPS / "flows")


@contextmanager
def arena(workload: Workload, tools: Toolkit, *, moving: bool) -> Iterator[Arena]:
    """Build one; on leaving, every trace is removed and the thread is back in its namespace."""
    with ExitStack() as stack:
        made = stack.enter_context(box())
        netns = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, netns)
        built = Arena(made, netns)
        # The box has to be taken down from inside, and by now the thread may be in another arena.
        stack.callback(built.enter)
        _configure(made, workload)
        _open_budgets(made)
        if moving:
            _move_slots(made)
        built.programs.update(_programs(made, tools, workload, moving=moving, stack=stack))
        wraps = _wraps(built, tools.drivers[workload.shape], workload)
        if not wraps and workload.shape.version == 4:
            raise BenchError(f"{workload.name}: the balancer does not forward")
        yield replace(built, forwards=wraps)


def _configure(made: Box, workload: Workload) -> None:
    config = config_for(workload, HASH_KEY)
    source = ip_address("10.0.0.1") if workload.shape.version == 4 else IPv6Address("2001:db8::1")
    for address in backends_of(config):
        made.hops[address] = NextHop(INTERFACE, made.ifindex[INTERFACE], 1600, mac_of(address), MAC_OF_BOX, source)
    made.configure(config)


def _open_budgets(made: Box) -> None:
    """Let the program track as many flows as the table holds: the planner's budgets protect it from floods."""
    if HAS_FLOW_TABLE:
        fd = libbpf.obj_get(made.bpf_dir / MAPS / "budgets")
        try:
            libbpf.map_update(fd, bytes(4), _UNLIMITED)
        finally:
            os.close(fd)


def _move_slots(made: Box) -> None:
    """MOVING(c, b) for every tenth slot, b being another backend."""
    for ring in made.allocation.rings.values():
        words = made.data_plane.slots(ring)
        slots = range(0, len(words), MOVING_SLOTS)
        backends = sorted({word & 0xFFFF for word in words})
        following = dict(zip(backends, backends[1:] + backends[:1], strict=True))
        moved = [(words[slot] & 0xFFFF) | following[words[slot] & 0xFFFF] << 16 for slot in slots]
        made.data_plane.apply([WriteSlots(ring, slots, moved)])


def _programs(made: Box, tools: Toolkit, workload: Workload, *, moving: bool, stack: ExitStack) -> dict[Program, int]:
    if moving:
        return {Program.MOVING: made.program}
    programs = {
        Program.EMPTY: tools.empty,
        Program.FLOOR: tools.floor4 if workload.shape.version == 4 else tools.floor6,
        Program.STABLE: made.program,
    }
    if HAS_FLOW_TABLE and Program.TRACK_ALL in workload.programs:
        source = balancer_source(HASH_KEY)
        made.data_plane.load_source(replace(source, defines={**source.defines, "TRACK_ALL": "1"}))
        made.data_plane.attach()
        programs[Program.TRACK_ALL] = libbpf.obj_get(made.bpf_dir / PROGRAM)
        stack.callback(os.close, programs[Program.TRACK_ALL])
    return programs


def _wraps(built: Arena, driver: Driver, workload: Workload) -> bool:
    """Whether a packet of the workload comes back in an outer header: one family may not be in this build."""
    program = built.programs.get(Program.STABLE, built.programs.get(Program.MOVING))
    driver.aim(workload, 1, program)
    result = driver.run(built.ifindex, 1)
    return result.action == XDP_TX and len(result.data) == driver.frame_bytes + workload.shape.outer_bytes
