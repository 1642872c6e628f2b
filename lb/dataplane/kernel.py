# SPDX-License-Identifier: Apache-2.0
"""The real data plane: pinned maps, the pinned program, and the operations that write them."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lb.core.errors import UnavailableError
from lb.core.layout import BACKEND, VIP, pack_backend
from lb.core.limits import VIP_SLOTS_LOG2
from lb.core.model import RING_SIZE
from lb.core.operations import Operation, ResetCounters, SetEpoch, SetSettle, SwapVips, WriteBackend, WriteSlots
from lb.core.verdicts import Verdict
from lb.core.vip_table import build_vip_table
from lb.dataplane import libbpf
from lb.dataplane.compiler import compile_source
from lb.dataplane.flow_table import FlowTable
from lb.dataplane.links import Links, needs_multi_buffer
from lb.dataplane.maps import (
    BACKEND_COUNTERS,
    EGRESS,
    RING,
    SYMBOLS,
    VERDICT_COUNTERS,
    VIP_COUNTERS,
    MapSet,
    MapSpec,
    layout_hash,
)
from lb.dataplane.pins import MAPS, PROGRAM, DirLock, prepare_bpf_dir
from lb.dataplane.source import Source, balancer_source
from lb.ports import Count, InterfaceState, VipCount, XdpMode

log = logging.getLogger("lb.dataplane")

_MAGIC = b"lb maps\0"
_META_SIZE = 64
_MEMBARRIER = 324
_MEMBARRIER_CMD_GLOBAL = 1
_EPOCH_WORDS = BACKEND.size // 4


class KernelDataPlane:
    """The data plane of one bpf dir. One owner at a time (``DirLock``)."""

    def __init__(self, bpf_dir: Path, interfaces: Sequence[str], mode: XdpMode | None = None) -> None:
        self._bpf_dir = bpf_dir
        self._maps = MapSet(bpf_dir / MAPS)
        self._interfaces = tuple(interfaces)
        self._links = Links(bpf_dir, self._interfaces, mode)
        self.flows = FlowTable(self._maps)
        self._lock: DirLock | None = None
        self._egress_fd = -1
        self._program_fd = -1

    def open(self) -> None:
        """Mount, lock, and make or adopt the maps. Raises ``UnavailableError``."""
        warning = prepare_bpf_dir(self._bpf_dir)
        if warning:
            log.warning("%s", warning)
        self._lock = DirLock(self._bpf_dir)
        try:
            self._maps.open()
            self._check_meta()
        except OSError as error:
            raise UnavailableError(f"cannot set up the BPF maps: {error.strerror or error}") from error

    def _check_meta(self) -> None:
        meta = self._maps["meta"]
        found = libbpf.map_lookup(meta.fd, bytes(4), _META_SIZE)
        expected = (_MAGIC + layout_hash()).ljust(_META_SIZE, b"\0")
        if found == bytes(_META_SIZE):
            libbpf.map_update(meta.fd, bytes(4), expected)
        elif found != expected:
            raise UnavailableError(
                f"the maps pinned under {self._bpf_dir} are of another release: `lbctl detach` removes them, "
                "and the flows that they hold with them"
            )

    def load(self, hash_key: bytes) -> None:
        """Compile and load the program; it runs once it is attached. Raises ``UnavailableError``."""
        multi_buffer = needs_multi_buffer(self._interfaces)
        flags = libbpf.F_XDP_HAS_FRAGS if multi_buffer else 0
        self.load_source(balancer_source(hash_key, multi_buffer=multi_buffer), flags)

    def load_source(self, source: Source, flags: int = 0) -> None:
        """Like ``load``, for any source of the program; ``flags`` of BPF_PROG_LOAD."""
        compiled = compile_source(source, [PROGRAM], SYMBOLS)
        try:
            # Made anew with each program: a devmap remembers its first program's flags.
            self._egress_fd = EGRESS.create()
            self._carry_egress_over()
            code = compiled.bind(PROGRAM, {**self._maps.fds(), EGRESS.name: self._egress_fd})
            self._program_fd = libbpf.prog_load(PROGRAM, code, flags)
        except OSError as error:
            raise UnavailableError(f"cannot load the XDP program: {error.strerror or error}") from error

    def _carry_egress_over(self) -> None:
        """Interfaces that the program before could send to: a backend without a next hop just now keeps its flows."""
        try:
            before = libbpf.obj_get(self._bpf_dir / MAPS / EGRESS.name)
        except FileNotFoundError:
            return
        try:
            for key in list(libbpf.map_keys(before, EGRESS.key_size)):
                # The interface may have gone meanwhile.
                with contextlib.suppress(OSError):
                    libbpf.map_update(self._egress_fd, key, key)
        finally:
            os.close(before)

    def attach(self) -> None:
        """Pin the loaded program and have every interface run it. Raises ``UnavailableError``."""
        try:
            libbpf.obj_pin(self._egress_fd, self._bpf_dir / MAPS / EGRESS.name)
            libbpf.obj_pin(self._program_fd, self._bpf_dir / PROGRAM)
            self._links.attach(self._program_fd)
        except OSError as error:
            raise UnavailableError(f"cannot attach the XDP program: {error.strerror or error}") from error

    def epochs(self) -> Sequence[int]:
        """Epochs of all backend indices, as the data plane sees them."""
        with self._maps["backends"].view as raw, raw.cast("I") as words:
            return words[::_EPOCH_WORDS].tolist()

    def slots(self, ring: int) -> array[int]:
        """Slot words of a ring; zeros when it was never written."""
        with self._maps.inner("rings", RING, ring).view as raw, raw.cast("I") as words:
            return array("I", words[:RING_SIZE])

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
                    self._reset(VIP_COUNTERS, vips)
                    self._reset(BACKEND_COUNTERS, backends)

    def _write_backend(self, operation: WriteBackend) -> None:
        entry = operation.entry
        offset = operation.index * BACKEND.size
        with self._maps["backends"].view as raw:
            packed = pack_backend(entry, 0)
            # The epoch has a writer of its own: skip its four bytes.
            raw[offset + 4 : offset + BACKEND.size] = packed[4:]
        key = entry.ifindex.to_bytes(4, "little")
        libbpf.map_update(self._egress_fd, key, key)

    def _write_slots(self, operation: WriteSlots) -> None:
        with self._maps.inner("rings", RING, operation.ring).view as raw, raw.cast("I") as words:
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

    def _reset(self, spec: MapSpec, indices: Iterable[int]) -> None:
        zero = bytes(_percpu_size(spec))
        for index in indices:
            libbpf.map_update(self._maps[spec.name].fd, index.to_bytes(4, "little"), zero)

    def fence(self) -> None:
        """Wait until every run of the program that saw older words has ended (8 to 16 ms)."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(_MEMBARRIER, _MEMBARRIER_CMD_GLOBAL, 0, 0) != 0:
            # Refused (nohz_full): setting an element of an array of maps waits for the same grace period.
            fd = self._maps.inner("rings", RING, 0).fd
            libbpf.map_update(self._maps["rings"].fd, bytes(4), fd.to_bytes(4, "little"))

    def vip_count(self, index: int) -> VipCount:
        """Of a VIP index."""
        sums = self._sum(VIP_COUNTERS, index, 6)
        return VipCount(Count(sums[0], sums[1]), Count(sums[2], sums[3]), sums[4])

    def backend_count(self, index: int) -> Count:
        """Packets forwarded to a backend index."""
        return Count(*self._sum(BACKEND_COUNTERS, index, 2))

    def verdict_counts(self) -> Mapping[int, Count]:
        """By verdict number."""
        return {int(verdict): Count(*self._sum(VERDICT_COUNTERS, verdict, 2)) for verdict in Verdict}

    def _sum(self, spec: MapSpec, index: int, words: int) -> list[int]:
        raw = libbpf.map_lookup(self._maps[spec.name].fd, index.to_bytes(4, "little"), _percpu_size(spec))
        values = memoryview(raw).cast("Q")
        return [sum(values[word::words]) for word in range(words)]

    def interfaces(self) -> tuple[InterfaceState, ...]:
        """What is attached now."""
        return self._links.states()

    def close(self) -> None:
        """Let go of everything; the pinned program goes on forwarding."""
        self._maps.close()
        for fd in (self._egress_fd, self._program_fd):
            if fd >= 0:
                os.close(fd)
        self._egress_fd = self._program_fd = -1
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _percpu_size(spec: MapSpec) -> int:
    # Each CPU's value is padded to 8 bytes; ours are multiples of it.
    return spec.value_size * libbpf.possible_cpus()
