# SPDX-License-Identifier: Apache-2.0
"""The invariants of DESIGN §4.2, read from the real maps after a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packets.promise.control import monotonic

from lb.core.flows import Entry
from lb.core.slots import Kind, base, current, kind, life_limit, live

if TYPE_CHECKING:
    from packets.promise.lab import Lab


@dataclass(slots=True)
class Memory:
    """What the last check saw. ``dead``: entries that were not live, by key."""

    epochs: Sequence[int]
    dead: dict[bytes, Entry] = field(default_factory=dict)

    def shift(self, seconds: int) -> None:
        """So many seconds pass."""
        self.dead = {key: e._replace(seen=max(0, e.seen - seconds)) for key, e in self.dead.items()}

    def collected(self, remaining: Container[bytes]) -> None:
        """The collector has been: the keys that it took may be entered anew."""
        self.dead = {key: entry for key, entry in self.dead.items() if key in remaining}


def invariants(lab: Lab) -> None:
    """I1 to I5, and for every protected flow: a packet now would go where it is (the promise, I2 and I3)."""
    control = lab.control
    now = monotonic()
    epochs = control.epochs()
    _epochs_only_grow(lab.memory.epochs, epochs)
    lab.memory.epochs = epochs
    entries = {entry.key: entry for entry in control.entries()}
    settle = {number: work.settle_seconds for number, work in control.written.rings.items()}
    alive = {
        key: entry
        for key, entry in entries.items()
        if entry.ring in settle
        and live(entry.epoch, epochs[entry.backend], entry.seen, now, life_limit(entry.life, settle[entry.ring]))
    }
    _the_dead_stay_dead(lab.memory, entries, alive)
    words = {number: control.data_plane.slots(number) for number in settle}
    for number, work in control.written.rings.items():
        _words_are_sound(words[number], work.moves, epochs)
    for found in alive.values():
        word = words[found.ring][found.slot]
        assert kind(word) is not Kind.STABLE or found.backend == current(word), f"I1: {word:08x}, {found}"
    lab.book.expire(now + 1)
    for client, flow in lab.book.flows.items():
        vip = control.allocation.vips[client.vip.name]
        number = control.allocation.rings[client.vip.pool, client.vip.protocol]
        word = words[number][lab.slots[client]]
        entry = alive.get(client.key(vip))
        if entry is not None:
            assert (entry.ring, entry.slot) == (number, lab.slots[client]), "a live entry of another slot"
        if kind(word) is Kind.STABLE:
            sent = current(word)
        elif entry is not None:
            sent = entry.backend
        else:
            sent = base(word) if kind(word) is Kind.MOVING else current(word)
        assert sent == flow.backend, f"{client} is on {flow.backend}, but {word:08x} and {entry} say {sent}"


def _epochs_only_grow(before: Sequence[int], after: Sequence[int]) -> None:
    assert all(old <= new for old, new in zip(before, after, strict=True)), "I5"


def _the_dead_stay_dead(memory: Memory, entries: Mapping[bytes, Entry], alive: Mapping[bytes, Entry]) -> None:
    for key, entry in memory.dead.items():
        found = entries.get(key)
        assert found == entry, f"I4: written: {entry} {found}"
        assert key not in alive, f"I4: live again: {entry}"
    memory.dead = {key: entry for key, entry in entries.items() if key not in alive}


def _words_are_sound(words: Sequence[int], moves: Mapping[int, int | None], epochs: Sequence[int]) -> None:
    counted = Counter(words)
    unsettled = 0
    for word, count in counted.items():
        unsettled += count * (kind(word) is not Kind.STABLE)
        assert current(word) == 0 or epochs[current(word)] % 2 == 1, f"{word:08x}: new flows go to who does not accept"
        if kind(word) is Kind.MOVING:
            assert epochs[base(word)] % 2 == 1, f"I2: {word:08x}: the old backend does not accept"
    assert unsettled == len(moves), "lbd remembers other moves than there are"
