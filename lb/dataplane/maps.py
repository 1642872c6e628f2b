# SPDX-License-Identifier: Apache-2.0
"""The one declaration of the maps."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass

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


_KERNEL_NAME_CHARACTERS = 15


@dataclass(frozen=True, slots=True)
class MapSpec:
    """One map. ``inner``: the spec of an array of maps' elements.

    ``meaning``: to be raised by a release in which the same bytes say something else. A value that only grows at its
    end keeps its meaning: zeros there have to mean what was so before.
    """

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    inner: MapSpec | None = None
    meaning: int = 0

    @property
    def kernel_name(self) -> str:
        """What the kernel calls it; the meaning is told by this name, so that it stays with the map."""
        suffix = f".{self.meaning}" if self.meaning else ""
        return self.name[: _KERNEL_NAME_CHARACTERS - len(suffix)] + suffix

    def create(self) -> int:
        """Create it; returns its fd."""
        with contextlib.ExitStack() as stack:
            inner_fd = 0
            if self.inner is not None:
                inner_fd = self.inner.create()
                stack.callback(os.close, inner_fd)
            return libbpf.map_create(
                self.type, self.kernel_name, self.key_size, self.value_size, self.max_entries, self.flags, inner_fd
            )

    @property
    def layout(self) -> tuple[object, ...]:
        """What has to be the same of a pinned map for it to be used as it is."""
        return self.type, self.key_size, self.value_size, self.max_entries, self.flags, self.meaning

    def has_elements_of(self, other: MapSpec) -> bool:
        """Whether an element of the other is one of this map, byte by byte."""
        mine = self.type, self.key_size, self.value_size, self.meaning
        return mine == (other.type, other.key_size, other.value_size, other.meaning)


def spec_of(name: str, info: libbpf.MapInfo) -> MapSpec:
    """Spec of a map that is there, whichever release made it; ``name``: of its pin."""
    _, dot, meaning = info.name.rpartition(".")
    return MapSpec(
        name,
        info.type,
        info.key_size,
        info.value_size,
        info.max_entries,
        info.flags,
        meaning=int(meaning) if dot and meaning.isdecimal() else 0,
    )


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

TOGETHER = (
    # Slots name backends, VIPs name rings, the control word names a place among the VIPs: a program reads either all
    # of these as they were before a change of layout, or all of them as they were after.
    frozenset({"control", "vips", "rings", "ring_infos", "backends"}),
    # A table that is given up gets no more entries, because its budgets end.
    frozenset({"flows", "budgets"}),
)
"""Maps that are made anew together, when the layout of one of them changes."""

SYMBOLS = (*(spec.name for spec in PERSISTENT if spec is not META), EGRESS.name, RING.name)
"""Maps that the C source names; the last one stands for the rings' inner maps."""


def spec_named(name: str) -> MapSpec | None:
    """Spec of the map pinned under a name; None when this release has none of that name."""
    if ring_number(name) is not None:
        return RING
    return next((spec for spec in PERSISTENT if spec.name == name), None)


def ring_name(number: int) -> str:
    """Name of the pin of a ring's slot words."""
    return f"{RING.name}-{number}"


def ring_number(name: str) -> int | None:
    """Inverse of ``ring_name``; None for other names."""
    prefix, dash, number = name.partition("-")
    return int(number) if prefix == RING.name and dash and number.isdecimal() else None


def layout_hash() -> bytes:
    """32 bytes that differ when any pinned map's layout or meaning does."""
    return hashlib.sha256(repr(PERSISTENT).encode()).digest()
