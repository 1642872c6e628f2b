# SPDX-License-Identifier: Apache-2.0
"""The real data plane: pinned maps, the pinned program, and the operations that write them."""

from __future__ import annotations

import ctypes
import logging
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lb.core.errors import UnavailableError
from lb.core.layout import BACKEND, VIP, pack_backend
from lb.core.limits import MAX_BACKENDS, VIP_SLOTS_LOG2
from lb.core.model import RING_SIZE
from lb.core.operations import Operation, ResetCounters, SetEpoch, SetSettle, SwapVips, WriteBackend, WriteSlots
from lb.core.vip_table import VipTable, build_vip_table
from lb.dataplane import libbpf
from lb.dataplane.counters import CounterMaps
from lb.dataplane.flow_table import FlowTable
from lb.dataplane.generation import Generation
from lb.dataplane.links import Links
from lb.dataplane.map_set import MapSet
from lb.dataplane.pins import DirLock, prepare_bpf_dir
from lb.dataplane.program import Program
from lb.dataplane.self_check import SelfCheck
from lb.dataplane.source import Source, balancer_source
from lb.ports import Count, InterfaceState, VipCount, XdpMode

log = logging.getLogger("lb.dataplane")

_MEMBARRIER = 324
_MEMBARRIER_CMD_GLOBAL = 1
_EPOCH_WORDS = BACKEND.size // 4


class KernelDataPlane:
    """The data plane of one bpf dir. One owner at a time (``DirLock``)."""

    def __init__(
        self, bpf_dir: Path, interfaces: Sequence[str], mode: XdpMode | None = None, *, replace: bool = False
    ) -> None:
        """``replace``: go on with new maps where flows of those that are pinned would lose their backend."""
        self._bpf_dir = bpf_dir
        self._maps = MapSet()
        self._generation = Generation(bpf_dir, replace=replace)
        self._program = Program(bpf_dir, self._maps)
        self._links = Links(bpf_dir, tuple(interfaces), mode)
        self._counters = CounterMaps(self._maps)
        self._self_check: SelfCheck | None = None
        self.flows = FlowTable(self._maps)
        self._lock: DirLock | None = None

    def open(self) -> None:
        """Mount, lock, and make, adopt or carry over the maps. Raises ``UnavailableError``."""
        warning = prepare_bpf_dir(self._bpf_dir)
        if warning:
            log.warning("%s", warning)
        self._lock = DirLock(self._bpf_dir)
        try:
            self._generation.open(self._maps)
        except OSError as error:
            raise UnavailableError(f"cannot set up the BPF maps: {error.strerror or error}") from error

    def load(self, hash_key: bytes) -> None:
        """Compile and load the program; it runs once it is attached. Raises ``UnavailableError``."""
        multi_buffer = self._links.need_multi_buffer()
        flags = libbpf.F_XDP_HAS_FRAGS if multi_buffer else 0
        self.load_source(balancer_source(hash_key, multi_buffer=multi_buffer), flags)

    def load_source(self, source: Source, flags: int = 0) -> None:
        """Like ``load``, for any source of the program; ``flags`` of BPF_PROG_LOAD."""
        self._end_self_check()
        self._program.load(source, flags)

    def attach(self) -> None:
        """Pin the loaded program and have every interface run it. Raises ``UnavailableError``."""
        try:
            swapped = self._generation.swap(self._maps, self.fence)
            self._program.pin()
            self._links.attach(self._program.fd)
            if swapped:
                # What the program before refused stands in its own maps.
                for ring in self._maps.rings():
                    self.flows.mark_refused(ring, int(time.monotonic()))
                self._generation.finish()
        except OSError as error:
            raise UnavailableError(f"cannot attach the XDP program: {error.strerror or error}") from error

    def self_check(self) -> str:
        """What is wrong with the program that is attached, in words; "" when nothing is. Takes milliseconds.

        Packets go through a copy of it that counts and tracks apart.
        """
        if self._program.fd < 0:
            return "no program is loaded"
        try:
            wrong = self._links.strangers(libbpf.prog_id(self._program.fd))
            if wrong:
                return wrong
            if self._self_check is None:
                self._self_check = SelfCheck(self._program, self._maps)
            return self._self_check.run(self._links.ifindex())
        except OSError as error:
            return f"the kernel refuses the self-check: {error}"

    def _end_self_check(self) -> None:
        if self._self_check is not None:
            self._self_check.close()
            self._self_check = None

    def epochs(self) -> Sequence[int]:
        """Epochs of all backend indices, as the data plane sees them."""
        with self._maps["backends"].view as raw, raw.cast("I") as words:
            return words[::_EPOCH_WORDS].tolist()

    def slots(self, ring: int) -> array[int]:
        """Slot words of a ring; zeros when it was never written."""
        with self._maps.ring(ring).view as raw, raw.cast("I") as words:
            return array("I", words[:RING_SIZE])

    def has_ring(self, ring: int) -> bool:
        """Whether packets find the slot words of a ring."""
        return self._maps.has_ring(ring)

    def vip_table(self) -> VipTable:
        """The VIP table in force."""
        return self._maps.vip_table()

    def backends(self) -> bytes:
        """All backend entries, epochs included."""
        with self._maps["backends"].view as raw:
            return bytes(raw[: BACKEND.size * (MAX_BACKENDS + 2)])

    def apply(self, operations: Iterable[Operation]) -> None:
        """Carry out operations in order."""
        for operation in operations:
            match operation:
                case WriteBackend():
                    self._write_backend(operation)
                case SetEpoch(index, epoch):
                    with self._maps["backends"].view as raw, raw.cast("I") as words:
                        words[index * _EPOCH_WORDS] = epoch
                case SetSettle(ring, seconds):
                    self.flows.settle(ring, seconds)
                case WriteSlots():
                    self._write_slots(operation)
                case SwapVips():
                    self._swap_vips(operation)
                case ResetCounters(vips, backends):
                    self._counters.reset(vips, backends)

    def _write_backend(self, operation: WriteBackend) -> None:
        entry = operation.entry
        offset = operation.index * BACKEND.size
        with self._maps["backends"].view as raw:
            packed = pack_backend(entry, 0)
            # The epoch has a writer of its own: skip its four bytes.
            raw[offset + 4 : offset + BACKEND.size] = packed[4:]
        self._program.allow(entry.ifindex)

    def _write_slots(self, operation: WriteSlots) -> None:
        with self._maps.ring(operation.ring).view as raw, raw.cast("I") as words:
            if isinstance(operation.slots, range) and operation.slots.step == 1:
                # A whole ring, which no VIP can reach yet.
                words[operation.slots.start : operation.slots.stop] = memoryview(array("I", operation.words))
                return
            for slot, word in zip(operation.slots, operation.words, strict=True):
                words[slot] = word

    def _swap_vips(self, operation: SwapVips) -> None:
        table = build_vip_table(operation.entries)
        with self._maps["control"].view as raw, raw.cast("Q") as control:
            first = 0 if control[0] & 0xFFFFFFFF else 1 << VIP_SLOTS_LOG2
            offset = first * VIP.size
            with self._maps["vips"].view as both:
                both[offset : offset + len(table.elements)] = table.elements
            # One aligned store: place and size change together.
            control[0] = table.control(first)

    def fence(self) -> None:
        """Wait until every run of the program that saw older words has ended (8 to 16 ms)."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(_MEMBARRIER, _MEMBARRIER_CMD_GLOBAL, 0, 0) != 0:
            # Refused (nohz_full): setting an element of an array of maps waits for the same grace period.
            fd = self._maps.ring(0).fd
            libbpf.map_update(self._maps["rings"].fd, bytes(4), fd.to_bytes(4, "little"))

    def vip_count(self, index: int) -> VipCount:
        """Of a VIP index."""
        return self._counters.vip(index)

    def backend_count(self, index: int) -> Count:
        """Packets forwarded to a backend index."""
        return self._counters.backend(index)

    def verdict_counts(self) -> Mapping[int, Count]:
        """By verdict number."""
        return self._counters.verdicts()

    def interfaces(self) -> tuple[InterfaceState, ...]:
        """What is attached now."""
        return self._links.states()

    def close(self) -> None:
        """Let go of everything; the pinned program goes on forwarding."""
        self._end_self_check()
        self._maps.close()
        self._program.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
