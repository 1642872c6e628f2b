# SPDX-License-Identifier: Apache-2.0
"""The flow table as the control plane sees it: budgets, counters, whole scans, and removal by key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lb.core.flows import Entry, FlowCounts
from lb.core.layout import BUDGET, FLOW, FLOW_COUNTER, FLOW_KEY, RING_INFO
from lb.dataplane import libbpf
from lb.dataplane.map_set import MapSet
from lb.dataplane.maps import BUDGETS, FLOW_COUNTERS, FLOWS, RING_INFOS

_BATCH = 4_096
"""Entries read or deleted by one system call."""

_INFO_WORDS = RING_INFO.size // 4


class FlowTable:
    """Reads and writes the maps of tracked flows. Its methods block."""

    def __init__(self, maps: MapSet) -> None:
        self._maps = maps

    def refill(self, syn: int, old: int) -> None:
        """Set how many flows may be entered until the next refill."""
        with self._maps[BUDGETS.name].view as raw:
            BUDGET.pack_into(raw, 0, syn, old)

    def counts(self) -> FlowCounts:
        """What happened to the table since it was made."""
        size = FLOW_COUNTER.size * libbpf.possible_cpus()
        raw = libbpf.map_lookup(self._maps[FLOW_COUNTERS.name].fd, bytes(4), size)
        values = memoryview(raw).cast("Q")
        return FlowCounts(*(sum(values[i::4]) for i in range(4)))

    def settle(self, ring: int, seconds: int) -> None:
        """Set how long an established flow of a ring may be silent."""
        with self._maps[RING_INFOS.name].view as raw, raw.cast("I") as words:
            words[ring * _INFO_WORDS] = seconds

    def settle_seconds(self, ring: int) -> int:
        """How long an established flow of a ring may be silent."""
        with self._maps[RING_INFOS.name].view as raw, raw.cast("I") as words:
            return words[ring * _INFO_WORDS]

    def refused_at(self, ring: int) -> int:
        """CLOCK_MONOTONIC second of a ring's last refusal."""
        with self._maps[RING_INFOS.name].view as raw, raw.cast("I") as words:
            return words[ring * _INFO_WORDS + 1]

    def refusals(self, ring: int) -> int:
        """Flows of a ring that were refused so far; wraps at 32 bits."""
        with self._maps[RING_INFOS.name].view as raw, raw.cast("I") as words:
            return words[ring * _INFO_WORDS + 2]

    def mark_refused(self, ring: int, now: int) -> None:
        """Stamp a refusal, as after a restart: what was refused meanwhile is not known."""
        with self._maps[RING_INFOS.name].view as raw, raw.cast("I") as words:
            words[ring * _INFO_WORDS + 1] = now

    def hold(self, ring: int, on: bool) -> None:
        """Drop new flows of a ring that cannot be tracked, while its moves end."""
        with self._maps[RING_INFOS.name].view as raw, raw.cast("I") as words:
            words[ring * _INFO_WORDS + 3] = on

    def scan(self) -> Iterator[list[Entry]]:
        """Every entry, in pieces of whole buckets. Entries that come or go meanwhile may be missed or not."""
        for keys, values in libbpf.map_batches(self._maps[FLOWS.name].fd, FLOW_KEY.size, FLOW.size, _BATCH):
            yield [
                Entry(keys[offset : offset + FLOW_KEY.size], vip, *fields)
                for offset, (_, _, vip), fields in zip(
                    range(0, len(keys), FLOW_KEY.size),
                    FLOW_KEY.iter_unpack(keys),
                    FLOW.iter_unpack(values),
                    strict=True,
                )
            ]

    def delete(self, keys: Sequence[bytes]) -> None:
        """Remove entries by key; those that are gone already are passed over."""
        for start in range(0, len(keys), _BATCH):
            libbpf.map_delete_batch(self._maps[FLOWS.name].fd, keys[start : start + _BATCH])
