# SPDX-License-Identifier: Apache-2.0
"""The reconciler's work without its loop: batches one operation at a time, scans in their parts, restarts, and time.

Time is not waited for. Clocks are compared nowhere but in differences, and what they are compared with stands in
three places: ``seen`` of the flow entries, ``refused_at`` of the rings, and what lbd remembers of moves (and of a scan
under way). To set all of these back by k seconds while no packet and no batch is on its way is therefore the same, for
both planes, as k seconds passing. Stamps stop at 0, which is as old as anything needs to be: every limit here is below
the time that the machine has been up.
"""

from __future__ import annotations

import errno
import mmap
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from packets.box import Box

from lb.core.allocation import Allocation
from lb.core.flows import Entry
from lb.core.layout import BACKEND, FLOW, RING_INFO
from lb.core.model import Config
from lb.core.operations import Operation, WriteSlots
from lb.core.planner import Observed, Plan, RingWork, Written, plan
from lb.daemon.flow_keeper import Findings, FlowKeeper, Scan
from lb.daemon.readings import due_rings
from lb.dataplane import libbpf

INDICES = 9
"""Backend indices looked at: 0 and those that a test may use. All 65,536 would take most of its time."""

_PIECES = 3
"""Into how many parts a ring's write is cut, with packets in between."""

Between = Callable[[], None]


class RefusedError(OSError):
    """The kernel's refusal, as a test wants it."""


def monotonic() -> int:
    """Seconds, as the program stamps them."""
    return int(time.monotonic())


class Control:
    """One life of the control plane after another, over the same maps."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.data_plane = box.data_plane
        self.maps = {name: libbpf.obj_get(box.bpf_dir / "maps" / name) for name in ("flows", "ring_infos", "backends")}
        self._backends = mmap.mmap(self.maps["backends"], mmap.PAGESIZE)
        self.reset()

    def close(self) -> None:
        """Let go of the maps."""
        self._backends.close()
        for fd in self.maps.values():
            os.close(fd)

    def epochs(self) -> list[int]:
        """Of the first ``INDICES`` backend indices."""
        return [self.epoch(index) for index in range(INDICES)]

    def epoch(self, index: int) -> int:
        """Of one backend index, as the program sees it."""
        start = index * BACKEND.size
        return int.from_bytes(self._backends[start : start + 4], "little")

    def reset(self) -> None:
        """As new, but for the epochs: no VIP, no flow, no refusal."""
        self._begin_life(Allocation())
        self.stored = Config(), Allocation()
        self._carry_out(self.plan(Config()).operations, lambda: None)
        self.data_plane.flows.delete([entry.key for entry in self.entries()])
        for ring in range(16):
            libbpf.map_update(self.maps["ring_infos"], ring.to_bytes(4, "little"), bytes(RING_INFO.size))
        self._begin_life(Allocation())
        self.keeper.refill()

    def _begin_life(self, allocation: Allocation) -> None:
        self._dirty = True
        self.keeper = FlowKeeper(self.data_plane)
        self.allocation = allocation
        self.written = Written(self.epochs())
        self.findings = Findings()
        self.scanning: Scan | None = None
        self.broken = False
        self.holding: frozenset[int] = frozenset()

    def plan(self, config: Config, held: frozenset[int] = frozenset(), *, first: bool = False) -> Plan:
        """After a fence, as always."""
        self._fence()
        flows, found = self.data_plane.flows, self.findings
        seen = Observed(
            now=monotonic(),
            hop=self.box.hop,
            slots=self.data_plane.slots,
            refused_at=flows.refused_at,
            settle_seconds=flows.settle_seconds,
            clear=found.clear,
            held=held,
            collected=found.collected,
            first=first,
        )
        return plan(config, self.allocation, self.written, seen)

    def due(self) -> frozenset[int]:
        """Rings with moves that may end, as ``Reconciler`` finds them."""
        return due_rings(self._last_plan(), self.data_plane.flows, monotonic())

    def hold(self, rings: frozenset[int], on: bool) -> None:
        """New flows of these rings that cannot be tracked are dropped; the end of it comes after a fence."""
        if rings and not on:
            self._fence()
        self.holding = rings if on else frozenset()
        for ring in rings:
            self.data_plane.flows.hold(ring, on)
            self._dirty = True

    def _fence(self) -> None:
        """If anything was written since the last one. No packet is in flight here: it is for the kernel's sake."""
        if self._dirty:
            self.data_plane.fence()
            self._dirty = False

    def commit(self, config: Config, planned: Plan) -> None:
        """What the store does before the maps are written."""
        self.stored = config, planned.allocation

    def write(self, config: Config, planned: Plan, between: Between, refuse_at: float = 1.0) -> None:
        """Carry a plan out; the kernel may refuse to go on at some point of it (a fraction). ``between``: packets."""
        try:
            self._carry_out(planned.operations, between, refuse_at)
        except RefusedError:
            planned = replace(planned, written=Written(self.epochs()))
            self.broken = True
        else:
            self.broken = False
        self.findings = Findings()
        self.box.config, self.allocation, self.written = config, planned.allocation, planned.written

    def crash(self, planned: Plan, between: Between, at: float) -> None:
        """Carry a part of a plan out, and no more."""
        pieces = list(_pieces(planned.operations))
        for operation in pieces[: int(at * len(pieces))]:
            self._apply(operation, between)

    def _carry_out(self, operations: Sequence[Operation], between: Between, refuse_at: float = 1.0) -> None:
        pieces = list(_pieces(operations))
        for number, operation in enumerate(pieces):
            if number >= refuse_at * len(pieces):
                raise RefusedError(errno.ENOMEM, "no")
            self._apply(operation, between)

    def _apply(self, operation: Operation, between: Between) -> None:
        self._dirty = True
        self.keeper.wrote((operation,))
        self.data_plane.apply([operation])
        between()

    def restart(self) -> None:
        """All that was only remembered is gone."""
        self._begin_life(self.stored[1])
        for ring in self.allocation.rings.values():
            self.data_plane.flows.mark_refused(ring, monotonic())

    def begin_scan(self) -> None:
        """Right after a fence."""
        self._fence()
        self.scanning = self.keeper.observe(self._last_plan(), monotonic(), {})

    def read_scan(self) -> None:
        """Read the table."""
        assert self.scanning is not None
        self.keeper.scan(self.scanning)

    def finish_scan(self) -> bool:
        """Collect; returns whether what was found takes a batch."""
        assert self.scanning is not None
        scan, self.scanning = self.scanning, None
        self.findings = self.keeper.finish(scan, self.allocation, 0.0, monotonic())
        waits = {number for number, work in self.written.rings.items() if work.waits}
        return bool(self.findings.clear or waits & self.findings.collected)

    def _last_plan(self) -> Plan:
        return Plan((), self.allocation, self.written, {})

    def entries(self) -> Iterator[Entry]:
        """The flow table."""
        for some in self.data_plane.flows.scan():
            yield from some

    def shift(self, seconds: int) -> None:
        """So many seconds pass, for both planes."""
        for e in list(self.entries()):
            value = FLOW.pack(e.epoch, e.backend, e.life, max(0, e.seen - seconds), e.slot, e.ring)
            libbpf.map_update(self.maps["flows"], e.key, value)
        flows = self.data_plane.flows
        for ring in self.allocation.rings.values():
            flows.mark_refused(ring, max(0, flows.refused_at(ring) - seconds))
        rings = {number: _earlier(work, seconds) for number, work in self.written.rings.items()}
        self.written = replace(self.written, rings=rings)
        if self.scanning is not None:
            observer = replace(self.scanning.observer, now=self.scanning.observer.now - seconds)
            self.scanning = replace(self.scanning, observer=observer)


def _earlier(work: RingWork, seconds: int) -> RingWork:
    moves = {slot: None if began is None else began - seconds for slot, began in work.moves.items()}
    return replace(work, moves=moves, timers=tuple(replace(t, due_at=t.due_at - seconds) for t in work.timers))


def _pieces(operations: Sequence[Operation]) -> Iterator[Operation]:
    """Operations, long ones cut into several."""
    for operation in operations:
        if isinstance(operation, WriteSlots):
            size = -(-len(operation.slots) // _PIECES)
            for start in range(0, len(operation.slots), size):
                end = start + size
                yield WriteSlots(operation.ring, operation.slots[start:end], operation.words[start:end])
        else:
            yield operation
