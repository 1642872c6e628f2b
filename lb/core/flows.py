# SPDX-License-Identifier: Apache-2.0
"""Entries of the flow table, and what a scan of it tells the reconciler."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lb.core.slots import COLLECT_SLACK_SECONDS, SCAN_SLACK_SECONDS, SLACK_SECONDS, Life, blocks, life_limit, live

RAISE_SECONDS = 10
"""A longer ``settle_seconds`` may be written for so long after a scan that found no entry which expires meanwhile."""


class Entry(NamedTuple):
    """One entry as read: ``key`` is the raw key; the rest as in ``struct flow`` and ``struct flow_key``.

    A named tuple, since a scan makes a million of them.
    """

    key: bytes
    vip: int
    epoch: int
    backend: int
    life: int
    seen: int
    slot: int
    ring: int


@dataclass(frozen=True, slots=True)
class FlowCounts:
    """Since the table was made: flows entered and refused, for SYNs and for flows older than the move."""

    inserted_syn: int = 0
    inserted_old: int = 0
    refused_syn: int = 0
    refused_old: int = 0

    @property
    def inserted(self) -> int:
        """Entries made so far."""
        return self.inserted_syn + self.inserted_old


@dataclass(slots=True)
class Census:
    """What one scan found.

    ``entries``: how many there were. ``open``, ``closing``: live entries by backend index, before and after the
    client's FIN; of a backend that drains, without those of clients that were silent for too long. ``blocked``: (ring,
    slot) pairs with an entry that keeps the slot TRACKED. ``dead``: keys that nothing will ever take for live again.
    ``orphans``: keys that no packet can reach, by VIP and ring index, one of which is not in use. ``expiring``: rings
    with an entry that a longer ``settle_seconds`` would bring back to life, now or within ``RAISE_SECONDS``.
    """

    entries: int = 0
    open: dict[int, int] = field(default_factory=dict)
    closing: dict[int, int] = field(default_factory=dict)
    blocked: set[tuple[int, int]] = field(default_factory=set)
    dead: list[bytes] = field(default_factory=list)
    orphans: dict[tuple[int, int], list[bytes]] = field(default_factory=dict)
    expiring: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Observer:
    """Against what a scan judges entries: taken after a fence that follows the last write.

    ``epochs``: by backend index. ``vips``: VIP indices in use. ``settle_seconds``: by ring in use. ``tracked``: words
    of the TRACKED slots, by ring and slot. ``drain_seconds``: by backend index, how long clients of a backend that
    drains may be silent to be waited for.
    """

    now: int
    epochs: Sequence[int]
    vips: Container[int]
    settle_seconds: Mapping[int, int]
    tracked: Mapping[int, Mapping[int, int]]
    drain_seconds: Mapping[int, int] = field(default_factory=dict)

    def judge(self, census: Census, entries: Iterable[Entry]) -> None:
        """Add a piece of a scan to the census."""
        for entry in entries:
            census.entries += 1
            settle = self.settle_seconds.get(entry.ring)
            if settle is None or entry.vip not in self.vips:
                census.orphans.setdefault((entry.vip, entry.ring), []).append(entry.key)
                continue
            epoch = self._epoch(entry)
            limit = life_limit(entry.life, settle)
            if limit == settle and not live(entry.epoch, epoch, entry.seen, self.now + RAISE_SECONDS, limit):
                census.expiring.add(entry.ring)
            if live(entry.epoch, epoch, entry.seen, self.now, limit, SCAN_SLACK_SECONDS):
                if self.now - entry.seen < self.drain_seconds.get(entry.backend, limit) + SCAN_SLACK_SECONDS:
                    held = census.closing if entry.life == Life.CLOSING else census.open
                    held[entry.backend] = held.get(entry.backend, 0) + 1
                word = self.tracked.get(entry.ring, {}).get(entry.slot)
                if word is not None and blocks(word, entry.backend, entry.life):
                    census.blocked.add((entry.ring, entry.slot))
            elif not live(entry.epoch, epoch, entry.seen, self.now, limit, COLLECT_SLACK_SECONDS):
                census.dead.append(entry.key)

    def _epoch(self, entry: Entry) -> int:
        """Of the entry's backend. The scan goes on while batches are written, and epochs only grow: an entry with a
        later one than that which we know was made meanwhile."""
        known = self.epochs[entry.backend]
        return entry.epoch if (entry.epoch - known) % (1 << 32) < 1 << 31 else known

    def collected(self, census: Census, age_seconds: float) -> frozenset[int]:
        """Rings whose ``settle_seconds`` may be raised, ``age_seconds`` after the scan: no entry comes back to life.

        Entries made since the scan began are not expired yet, as long as that was no longer ago than they last.
        """
        return frozenset(
            ring
            for ring, settle in self.settle_seconds.items()
            if ring not in census.expiring and age_seconds < min(RAISE_SECONDS, settle + SLACK_SECONDS) - 1
        )

    def clear(self, census: Census) -> Mapping[int, frozenset[int]]:
        """TRACKED slots, by ring, that nothing in the census keeps so."""
        return {
            ring: frozenset(slot for slot in words if (ring, slot) not in census.blocked)
            for ring, words in self.tracked.items()
        }
