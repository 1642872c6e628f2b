# SPDX-License-Identifier: Apache-2.0
"""DESIGN §4.2's table "Packets", written a second time: what the data plane does with one packet of a flow.

``steering`` is a generator: it yields each thing that it reads, in order, is sent the value, and returns the decision.
So one text serves the model, which lets the control plane act between any two reads, and the comparison with the real
program (``steer``), which does not.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator
from dataclasses import dataclass

from lb.core.slots import NONE, TRACKED, Life, base, current, live


class Packet(enum.IntEnum):
    """What matters of a packet. QUOTED: a flow's packet inside an ICMP error, read-only."""

    SYN = 0
    DATA = 1
    FIN = 2
    RST = 3
    UDP = 4
    QUOTED = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """A flow entry of this packet's slot and ring; one of another slot or ring has ``epoch`` 0, so it is not live."""

    backend: int
    epoch: int
    life: int
    seen: int


class Read(enum.IntEnum):
    """What the program asks for, besides epochs (their backend's index, from 16 on: ``epoch_of``)."""

    WORD = 0
    ENTRY = 1
    ROOM = 2
    """Is there budget and a free element for an insert? Answered by making it."""
    HOLD = 3
    """Is row 4 about to end moves of this ring?"""


def epoch_of(backend: int) -> int:
    """Request for a backend's epoch."""
    return 16 + backend


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the packet goes (``NONE``: dropped) and what becomes of the table.

    ``insert``: a new entry; ``write``: the live entry's new content, in place. ``refused``: stamp ``refused_at``.
    """

    backend: int
    insert: Entry | None = None
    write: Entry | None = None
    refused: bool = False


Request = int
Answer = object
Steering = Generator[Request, object, Decision]


@dataclass(frozen=True, slots=True)
class Rules:
    """Parameters and, for mutations, replaced parts. ``limits``: seconds by life."""

    limits: Callable[[int], int]
    slack: int = 2
    hold: bool = True
    touch_all: bool = False
    """Mutation: TRACKED slots write entries that name their own backend, too."""
    obey_live: bool = False
    """Mutation: a SYN follows a live entry."""
    ignore_base: bool = False
    """Mutation: flows without an entry go to ``cur``."""


def steering(packet: Packet, now: int, rules: Rules) -> Steering:
    """One packet. SYN means: no ACK, FIN or RST with it."""
    word = yield Read.WORD
    assert isinstance(word, int)
    cur, old = current(word), base(word)
    new = packet is Packet.SYN
    if new and cur == NONE:
        return Decision(NONE)
    if old == cur:
        return Decision(cur)
    epochs: dict[int, int] = {NONE: 0}

    def accepts(backend: int) -> Generator[Request, object, bool]:
        if backend not in epochs:
            epoch = yield epoch_of(backend)
            assert isinstance(epoch, int)
            epochs[backend] = epoch
        return epochs[backend] % 2 == 1

    entry = yield Read.ENTRY
    assert entry is None or isinstance(entry, Entry)
    if entry is not None and (yield from accepts(entry.backend)):
        limit = rules.limits(entry.life)
        if live(entry.epoch, epochs[entry.backend], entry.seen, now, limit, rules.slack):
            if packet is Packet.QUOTED:
                return Decision(entry.backend)
            if new and not rules.obey_live:
                target = cur if (yield from accepts(cur)) else entry.backend
                return Decision(target, write=Entry(target, epochs[target], Life.HALF_OPEN, now))
            if old == TRACKED and entry.backend == cur and not rules.touch_all:
                # It goes there anyway. A FIN must not make the entry CLOSING between a scan and STABLE (row 5).
                return Decision(cur)
            life = _next_life(packet, entry.life)
            return Decision(entry.backend, write=Entry(entry.backend, entry.epoch, life, now))
    if old == TRACKED:
        return Decision(cur)

    fallback = old if (not rules.ignore_base and (yield from accepts(old))) else cur
    if packet in (Packet.QUOTED, Packet.RST):
        return Decision(fallback)
    target = cur if new else fallback
    if entry is None and (yield from accepts(target)) and (yield Read.ROOM):
        return Decision(target, insert=Entry(target, epochs[target], _first_life(packet), now))
    if rules.hold and packet in (Packet.SYN, Packet.UDP) and (yield Read.HOLD):
        # The slot may be TRACKED(cur) before this flow's next packet, and no entry says that it went to `base`.
        return Decision(NONE, refused=True)
    return Decision(fallback, refused=True)


def _first_life(packet: Packet) -> Life:
    return {Packet.SYN: Life.HALF_OPEN, Packet.FIN: Life.CLOSING}.get(packet, Life.ESTABLISHED)


def _next_life(packet: Packet, life: int) -> Life:
    if packet in (Packet.FIN, Packet.RST):
        return Life.CLOSING
    return Life.ESTABLISHED if life == Life.HALF_OPEN else Life(life)


def run(steps: Steering, read: Callable[[Request], object]) -> Decision:
    """Answer every request at once, by ``read``."""
    try:
        request = next(steps)
        while True:
            request = steps.send(read(request))
    except StopIteration as end:
        decision = end.value
        assert isinstance(decision, Decision)
        return decision
