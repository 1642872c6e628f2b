# SPDX-License-Identifier: Apache-2.0
"""What of a map goes over into another one of the same name and another layout."""

from __future__ import annotations

import logging

from lb.core.layout import FLOW
from lb.dataplane import libbpf
from lb.dataplane.map_set import PinnedMap
from lb.dataplane.maps import (
    BACKEND_COUNTERS,
    FLOW_COUNTERS,
    FLOWS,
    RING,
    RING_INFOS,
    VERDICT_COUNTERS,
    VIP_COUNTERS,
    MapSpec,
)

log = logging.getLogger("lb.dataplane")

_FIRST_WORD_BYTES = 4
_BATCH = 4_096
_COUNTERS = {spec.name for spec in (VIP_COUNTERS, BACKEND_COUNTERS, VERDICT_COUNTERS, FLOW_COUNTERS)}


def carries_slots(old: MapSpec) -> bool:
    """Whether a ring's slot words can be read, and stand for the same slots."""
    return bool(old.flags & libbpf.F_MMAPABLE) and RING.has_elements_of(old) and old.max_entries == RING.max_entries


def carry(old: PinnedMap, new: PinnedMap) -> None:
    """Fill a new map; what the planner or a packet writes anew is left empty, and so are flows: see ``copy_flows``."""
    name = new.spec.name
    if name in (RING.name, RING_INFOS.name, "backends"):
        _carry_elements(old, new)
    elif name in _COUNTERS:
        _carry_counters(old, new)


def _carry_elements(old: PinnedMap, new: PinnedMap) -> None:
    """Whole elements, of which only the end may be new; else their first words: epochs, and settle times.

    Those are what existing flows hang on; the rest is written before a packet sees it, for every backend that has a
    next hop.
    """
    here, there = old.spec, new.spec
    same = here.meaning == there.meaning and here.value_size <= there.value_size
    width = here.value_size if same else _FIRST_WORD_BYTES
    with old.view as source, new.view as target:
        if width == there.value_size:
            size = width * min(here.max_entries, there.max_entries)
            target[:size] = source[:size]
            return
        for number in range(min(here.max_entries, there.max_entries)):
            start = number * there.value_size
            target[start : start + width] = source[number * here.value_size :][:width]


def _carry_counters(old: PinnedMap, new: PinnedMap) -> None:
    if not new.spec.has_elements_of(old.spec):
        log.warning("%s begin at zero: this release counts otherwise", new.spec.name)
        return
    size = new.spec.value_size * libbpf.possible_cpus()
    for number in range(min(old.spec.max_entries, new.spec.max_entries)):
        key = number.to_bytes(4, "little")
        value = libbpf.map_lookup(old.fd, key, size)
        if any(value):
            libbpf.map_update(new.fd, key, value)


def count_flows(flows: PinnedMap) -> int:
    """Entries of a flow table, of whatever layout."""
    spec = flows.spec
    if spec.type != libbpf.MAP_HASH:
        return 0
    batches = libbpf.map_batches(flows.fd, spec.key_size, spec.value_size, _BATCH)
    return sum(len(keys) // spec.key_size for keys, _ in batches)


def copy_flows(old: PinnedMap, new: PinnedMap, seen_since: int = 0) -> int:
    """Copy entries of which a packet was seen at that second of CLOCK_MONOTONIC or later, over those that are there.

    ``new`` must not be in use by a program: an entry that is replaced is free for another flow at once, and a packet
    under way may still write to it.

    Returns:
        How many found no room.
    """
    lost = 0
    for keys, values in libbpf.map_batches(old.fd, FLOWS.key_size, FLOWS.value_size, _BATCH):
        if seen_since:
            keys, values = _seen_since(keys, values, seen_since)  # noqa: PLW2901 - the rest of the batch is of no use
        count = len(keys) // FLOWS.key_size
        if count:
            lost += count - libbpf.map_update_batch(new.fd, keys, values, count)
    return lost


def _seen_since(keys: bytes, values: bytes, second: int) -> tuple[bytes, bytes]:
    wanted = [number for number, (_, _, _, seen, *_) in enumerate(FLOW.iter_unpack(values)) if seen >= second]
    return _pick(keys, FLOWS.key_size, wanted), _pick(values, FLOWS.value_size, wanted)


def _pick(elements: bytes, size: int, wanted: list[int]) -> bytes:
    return b"".join(elements[number * size : (number + 1) * size] for number in wanted)
