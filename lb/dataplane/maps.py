# SPDX-License-Identifier: Apache-2.0
"""The one declaration of the maps, and the pinned maps themselves: made the first time, adopted afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lb.core.errors import UnavailableError
from lb.core.layout import (
    BACKEND,
    BUDGET,
    CONTROL,
    COUNTER,
    FLOW,
    FLOW_COUNTER,
    FLOW_KEY,
    FRAGMENT_KEY_SIZE,
    FRAGMENT_SIZE,
    ICMP_BUCKET_SIZE,
    RING_INFO,
    SLOT_PAIR_SIZE,
    VIP,
    VIP_COUNTER,
)
from lb.core.limits import FLOW_ENTRIES, FRAGMENT_ENTRIES, MAX_BACKENDS, MAX_RINGS, MAX_VIPS, VIP_SLOTS_LOG2
from lb.core.model import RING_SIZE
from lb.core.verdicts import Verdict
from lb.dataplane import libbpf

RING_WORDS = RING_SIZE + 1
"""Slot words in a ring's map: two to an element, so one more than there are slots."""

VERDICT_SLOTS = 64
"""Room for verdicts that later releases append."""

assert max(Verdict) < VERDICT_SLOTS


@dataclass(frozen=True, slots=True)
class MapSpec:
    """One map. ``inner``: the spec of an array of maps' elements."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    inner: MapSpec | None = None

    def create(self) -> int:
        """Create it; returns its fd."""
        with contextlib.ExitStack() as stack:
            inner_fd = 0
            if self.inner is not None:
                inner_fd = self.inner.create()
                stack.callback(os.close, inner_fd)
            return libbpf.map_create(
                self.type, self.name, self.key_size, self.value_size, self.max_entries, self.flags, inner_fd
            )

    def check(self, fd: int) -> None:
        """Raise ``UnavailableError`` when a pinned map has another layout."""
        info = libbpf.map_info(fd)
        found = (info.type, info.key_size, info.value_size, info.max_entries, info.flags)
        expected = (self.type, self.key_size, self.value_size, self.max_entries, self.flags)
        if found != expected:
            raise UnavailableError(f"pinned map {self.name} has layout {found}, this release has {expected}")


def _array(name: str, value_size: int, entries: int, flags: int = libbpf.F_MMAPABLE) -> MapSpec:
    return MapSpec(name, libbpf.MAP_ARRAY, 4, value_size, entries, flags)


def _percpu(name: str, value_size: int, entries: int) -> MapSpec:
    return MapSpec(name, libbpf.MAP_PERCPU_ARRAY, 4, value_size, entries)


def _array_of(name: str, inner: MapSpec, entries: int) -> MapSpec:
    return MapSpec(name, libbpf.MAP_ARRAY_OF_MAPS, 4, 4, entries, inner=inner)


META = _array("meta", 64, 1, 0)
RING = _array("ring", SLOT_PAIR_SIZE, RING_WORDS // 2)
EGRESS = MapSpec("egress", libbpf.MAP_DEVMAP_HASH, 4, 4, 1024)
VIP_COUNTERS = _percpu("vip_counters", VIP_COUNTER.size, MAX_VIPS + 1)
BACKEND_COUNTERS = _percpu("backend_counters", COUNTER.size, MAX_BACKENDS + 2)
VERDICT_COUNTERS = _percpu("verdict_counters", COUNTER.size, VERDICT_SLOTS)

FLOWS = MapSpec("flows", libbpf.MAP_HASH, FLOW_KEY.size, FLOW.size, FLOW_ENTRIES)
BUDGETS = _array("budgets", BUDGET.size, 1)
RING_INFOS = _array("ring_infos", RING_INFO.size, MAX_RINGS)
FLOW_COUNTERS = _percpu("flow_counters", FLOW_COUNTER.size, 1)

PERSISTENT = (
    META,
    _array("control", CONTROL.size, 1),
    _array("vips", VIP.size, 2 << VIP_SLOTS_LOG2),
    _array_of("rings", RING, MAX_RINGS),
    RING_INFOS,
    _array("backends", BACKEND.size, MAX_BACKENDS + 2),
    FLOWS,
    BUDGETS,
    FLOW_COUNTERS,
    MapSpec("fragments", libbpf.MAP_LRU_HASH, FRAGMENT_KEY_SIZE, FRAGMENT_SIZE, FRAGMENT_ENTRIES),
    _percpu("icmp_buckets", ICMP_BUCKET_SIZE, 1),
    VIP_COUNTERS,
    BACKEND_COUNTERS,
    VERDICT_COUNTERS,
)
"""Maps that outlive programs and daemons. The rings' inner maps are pinned beside them: ``ring-N``."""

SYMBOLS = (*(spec.name for spec in PERSISTENT if spec is not META), EGRESS.name, RING.name)
"""Maps that the C source names; the last one stands for the rings' inner maps."""


def layout_hash() -> bytes:
    """32 bytes that differ when any pinned map's layout does."""
    return hashlib.sha256(repr(PERSISTENT).encode()).digest()


@dataclass(frozen=True, slots=True)
class PinnedMap:
    """An open map and, for mmapable ones, its memory."""

    fd: int
    memory: mmap.mmap | None

    @property
    def view(self) -> memoryview:
        """Writable bytes of the whole map."""
        assert self.memory is not None
        return memoryview(self.memory)

    def close(self) -> None:
        """Close fd and memory."""
        if self.memory is not None:
            self.memory.close()
        os.close(self.fd)


def open_pinned(spec: MapSpec, path: Path) -> PinnedMap:
    """Adopt the map pinned at ``path``, or make and pin it."""
    try:
        fd = libbpf.obj_get(path)
    except FileNotFoundError:
        fd = spec.create()
        libbpf.obj_pin(fd, path)
    try:
        spec.check(fd)
        return PinnedMap(fd, _memory(spec, fd))
    except BaseException:
        os.close(fd)
        raise


def _memory(spec: MapSpec, fd: int) -> mmap.mmap | None:
    if not spec.flags & libbpf.F_MMAPABLE:
        return None
    size = spec.value_size * spec.max_entries
    return mmap.mmap(fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)


def _element_id(outer_fd: int, key: bytes) -> int:
    try:
        return int.from_bytes(libbpf.map_lookup(outer_fd, key, 4), "little")
    except FileNotFoundError:
        return 0


class MapSet:
    """All pinned maps of one bpf dir, by the names that the C source uses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: dict[str, PinnedMap] = {}

    def open(self) -> None:
        """Make or adopt every persistent map. Raises ``UnavailableError`` on another layout."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for spec in PERSISTENT:
            self._maps[spec.name] = open_pinned(spec, self._folder / spec.name)

    def inner(self, outer: str, spec: MapSpec, number: int) -> PinnedMap:
        """Element ``number`` of an array of maps; made, pinned and inserted when it is not there."""
        name = f"{spec.name}-{number}"
        if name not in self._maps:
            opened = open_pinned(spec, self._folder / name)
            self._maps[name] = opened
            key = number.to_bytes(4, "little")
            # Not only when it is new: a crash may have come between pin and insertion. An update of an array of maps
            # waits for a grace period, so it is made only where it is needed.
            if _element_id(self[outer].fd, key) != libbpf.map_info(opened.fd).id:
                libbpf.map_update(self[outer].fd, key, opened.fd.to_bytes(4, "little"))
        return self._maps[name]

    def __getitem__(self, name: str) -> PinnedMap:
        return self._maps[name]

    def fds(self) -> Mapping[str, int]:
        """Name to fd, for binding instructions."""
        return {name: opened.fd for name, opened in self._maps.items()}

    def close(self) -> None:
        """Close everything; the pins stay."""
        for opened in self._maps.values():
            opened.close()
        self._maps.clear()
