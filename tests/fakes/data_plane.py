# SPDX-License-Identifier: Apache-2.0
"""The data plane in memory: no packets, but all that lbd writes and reads. Passes the contract of the real one."""

from __future__ import annotations

import errno
import threading
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lb.core.errors import UnavailableError
from lb.core.flows import Entry, FlowCounts
from lb.core.layout import BACKEND, BackendEntry, pack_backend
from lb.core.limits import MAX_BACKENDS
from lb.core.model import RING_SIZE
from lb.core.operations import Operation, ResetCounters, SetEpoch, SetSettle, SwapVips, WriteBackend, WriteSlots
from lb.core.verdicts import Verdict
from lb.core.vip_table import VipEntry, VipTable, build_vip_table
from lb.ports import Count, InterfaceState, VipCount, XdpMode


class FakeFlowTable:
    """``entries``: by key. ``budget``: (new flows, old flows).

    ``rounds``, ``collections``: how often ``refill`` and ``delete`` were called.
    """

    def __init__(self, calls: list[str | Operation]) -> None:
        self.calls = calls
        self.entries: dict[bytes, Entry] = {}
        self.budget = (0, 0)
        self.counted = FlowCounts()
        self.rounds = 0
        self.collections = 0
        self.settled: dict[int, int] = {}
        self.refused_count: dict[int, int] = {}
        self.reading = threading.Event()
        """Set once a scan has begun to read."""
        self.may_read = threading.Event()
        """A scan waits for this."""
        self.may_read.set()
        self._refused_at: dict[int, int] = {}

    def refill(self, syn: int, old: int) -> None:
        self.budget = (syn, old)
        self.rounds += 1

    def counts(self) -> FlowCounts:
        return self.counted

    def settle_seconds(self, ring: int) -> int:
        return self.settled.get(ring, 0)

    def refused_at(self, ring: int) -> int:
        return self._refused_at.get(ring, 0)

    def refusals(self, ring: int) -> int:
        return self.refused_count.get(ring, 0)

    def hold(self, ring: int, on: bool) -> None:
        self.calls.append(f"hold {ring}" if on else f"let go {ring}")

    def mark_refused(self, ring: int, now: int) -> None:
        self._refused_at[ring] = now

    def scan(self) -> Iterator[list[Entry]]:
        self.reading.set()
        assert self.may_read.wait(10), "nobody let the scan go on"
        yield list(self.entries.values())

    def delete(self, keys: Sequence[bytes]) -> None:
        for key in keys:
            self.entries.pop(key, None)
        self.collections += 1


class FakeDataPlane:
    """What was written is in the attributes.

    ``calls``: in order, the names of methods and the operations. ``refuse_at``: the kernel refuses the operation with
    this number of every ``apply``, None = takes all. ``may_apply``: ``apply`` waits for it. ``unfenced``: (ring, slot)
    written since the last fence. ``lost_rings``: whose slots packets do not find. ``wrong``: what the self-check says.
    """

    def __init__(self, interfaces: Sequence[str] = ("eth0",)) -> None:
        self.calls: list[str | Operation] = []
        self.flows = FakeFlowTable(self.calls)
        self.entries: dict[int, BackendEntry] = {}
        self.vips: tuple[VipEntry, ...] = ()
        self.vip_counts: dict[int, VipCount] = {}
        self.backend_counts: dict[int, Count] = {}
        self.unfenced: set[tuple[int, int]] = set()
        self.lost_rings: set[int] = set()
        self.refuse_at: int | None = None
        self.load_failure = ""
        self.wrong = ""
        self.applying = threading.Event()
        """Set once an ``apply`` has been called."""
        self.may_apply = threading.Event()
        self.may_apply.set()
        self._epochs = [0] * (MAX_BACKENDS + 2)
        self._rings: dict[int, array[int]] = {}
        self._interfaces = tuple(interfaces)
        self._attached = False

    def load(self, hash_key: bytes) -> None:
        assert len(hash_key) == 16
        self.calls.append("load")
        if self.load_failure:
            raise UnavailableError(self.load_failure)

    def attach(self) -> None:
        self.calls.append("attach")
        self._attached = True

    def epochs(self) -> Sequence[int]:
        return list(self._epochs)

    def slots(self, ring: int) -> array[int]:
        return array("I", self._rings.get(ring, bytes(4 * RING_SIZE)))

    def has_ring(self, ring: int) -> bool:
        return ring in self._rings and ring not in self.lost_rings

    def vip_table(self) -> VipTable:
        return build_vip_table(self.vips)

    def backends(self) -> bytes:
        raw = bytearray(BACKEND.size * (MAX_BACKENDS + 2))
        for index, epoch in enumerate(self._epochs):
            entry = self.entries.get(index)
            packed = epoch.to_bytes(4, "little") if entry is None else pack_backend(entry, epoch)
            raw[index * BACKEND.size : index * BACKEND.size + len(packed)] = packed
        return bytes(raw)

    def apply(self, operations: Iterable[Operation]) -> None:
        self.applying.set()
        assert self.may_apply.wait(10), "nobody let the batch go on"
        for number, operation in enumerate(operations):
            if number == self.refuse_at:
                raise OSError(errno.ENOMEM, "update map: Cannot allocate memory")
            self.calls.append(operation)
            self._apply(operation)

    def _apply(self, operation: Operation) -> None:
        match operation:
            case WriteBackend(index, entry):
                self.entries[index] = entry
            case SetEpoch(index, epoch):
                self._epochs[index] = epoch
            case SetSettle(ring, seconds):
                self.flows.settled[ring] = seconds
            case WriteSlots(ring, slots, words):
                held = self._rings.setdefault(ring, array("I", bytes(4 * RING_SIZE)))
                for slot, word in zip(slots, words, strict=True):
                    held[slot] = word
                    self.unfenced.add((ring, slot))
            case SwapVips(entries):
                self.vips = entries
            case ResetCounters(vips, backends):
                for index in vips:
                    self.vip_counts.pop(index, None)
                for index in backends:
                    self.backend_counts.pop(index, None)

    def fence(self) -> None:
        self.calls.append("fence")
        self.unfenced.clear()

    def vip_count(self, index: int) -> VipCount:
        return self.vip_counts.get(index, VipCount())

    def backend_count(self, index: int) -> Count:
        return self.backend_counts.get(index, Count())

    def verdict_counts(self) -> Mapping[int, Count]:
        return {int(verdict): Count() for verdict in Verdict}

    def self_check(self) -> str:
        return self.wrong

    def interfaces(self) -> tuple[InterfaceState, ...]:
        mode = XdpMode.NATIVE if self._attached else None
        reason = "" if self._attached else "no program is attached"
        return tuple(InterfaceState(name, self._attached, mode, reason) for name in self._interfaces)
