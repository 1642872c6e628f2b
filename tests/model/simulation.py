# SPDX-License-Identifier: Apache-2.0
"""A balancer in a dictionary: a real weighted ring and the real evaluation of it, many flows, anything may happen.

Packets are whole here (the exploration interleaves them), but arrive between any two stores of a batch.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from lb.core.maglev import Member, build_ring
from lb.core.moves import evaluate, named, restore, stable_words
from lb.core.slots import (
    COLLECT_SLACK_SECONDS,
    NONE,
    SCAN_SLACK_SECONDS,
    Facts,
    Kind,
    Life,
    base,
    blocks,
    current,
    kind,
    life_limit,
    live,
    move_limit,
)
from model.steer import Entry, Packet, Read, Rules, run, steering

SIZE = 61
SETTLE = 150


@dataclass(slots=True)
class Backend:
    """What operator and checks say of an index."""

    weight: int
    is_enabled: bool = True
    is_draining: bool = False
    is_up: bool = True

    @property
    def accepts(self) -> bool:
        """Whether existing flows are served."""
        return self.is_enabled and self.is_up


@dataclass(slots=True)
class Flow:
    """A 5-tuple. ``backend``: NONE while the promise does not hold for it."""

    slot: int
    backend: int = NONE
    life: Life = Life.HALF_OPEN
    last: int = 0


@dataclass
class Balancer:
    """``room``: entries that the table takes; ``refusals``: share of inserts refused nonetheless.

    ``backends``, ``epochs``: by index; an index keeps its epoch for ever.
    """

    random: Random
    udp: bool
    rules: Rules
    room: int
    refusals: float
    now: int = 1000
    backends: dict[int, Backend] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)
    flows: list[Flow] = field(default_factory=list)
    moves: dict[int, int | None] = field(default_factory=dict)
    clear: set[int] = field(default_factory=set)
    refused_at: int = 0
    hold: bool = False

    def __post_init__(self) -> None:
        self.words = stable_words(array("H", bytes(2 * SIZE)))
        self.flows = [Flow(self.random.randrange(SIZE)) for _ in range(200)]
        self.dead: dict[int, Entry] = {}

    # -- the control plane

    def batch(self, timers: bool = False) -> None:
        """Bring epochs and words up to date, packets arriving all the while; a crash may cut it short."""
        for _ in self.stores(timers):
            if self.random.random() < 0.3:
                self.traffic(3)
            if self.random.random() < 0.0005:
                self.crash()
                return
        self.check()

    def stores(self, timers: bool) -> Iterator[None]:
        """One store of a batch after the other."""
        accepting = {index for index, backend in self.backends.items() if backend.accepts}
        draining = {i for i, backend in self.backends.items() if backend.is_draining or not backend.weight}
        ring = [(i, self.backends[i].weight) for i in sorted(accepting - draining)]
        order = build_ring([Member(str(index).encode(), weight) for index, weight in ring], SIZE)
        target = array("H", [ring[member][0] for member in order] if order else bytes(2 * SIZE))
        facts = Facts(self.now, accepting, move_limit(SETTLE), self.refused_at, timers=timers)
        found = evaluate(self.words, target, self.moves, facts, self.clear)
        self.clear = set()
        for index, epoch in self.epochs.items():
            if epoch % 2 != (index in accepting):
                self.epochs[index] += 1
                self._unprotect(index)
                yield
        for slot, word in zip(found.slots, found.words, strict=True):
            self.words[slot] = word
            yield
        self.moves = dict(found.moves)

    def _unprotect(self, index: int) -> None:
        if self.epochs[index] % 2 == 0:
            for flow in self.flows:
                if flow.backend == index:
                    flow.backend = NONE

    def crash(self) -> None:
        """A restart: what was in memory is gone; a batch that was cut short is mended with the epochs as they are."""
        self.moves = restore(self.words, self.now)
        self.refused_at = self.now
        self.clear, self.hold = set(), False
        wanted = self.backends
        self.backends = {
            index: Backend(1, is_draining=index not in wanted or wanted[index].is_draining)
            for index, epoch in self.epochs.items()
            if epoch % 2
        }
        for _ in self.stores(timers=False):
            pass
        self.backends = wanted

    def end_moves(self) -> None:
        """Row 4, with new flows held back that get no entry."""
        self.hold = True
        self.traffic(5)
        self.batch(timers=True)
        self.hold = False

    def scan(self) -> None:
        """Row 5: slots without an entry that blocks them; the next batch makes them STABLE."""
        blocked = {
            self.flows[key].slot
            for key, entry in self.entries.items()
            if self.is_live(entry, SCAN_SLACK_SECONDS)
            and blocks(self.words[self.flows[key].slot], entry.backend, entry.life)
        }
        self.clear = {slot for slot in self.moves if kind(self.words[slot]) is Kind.TRACKED} - blocked

    def collect(self) -> None:
        """Delete what nothing takes for live."""
        for key in [key for key, entry in self.entries.items() if not self.is_live(entry, COLLECT_SLACK_SECONDS)]:
            del self.entries[key]
            self.dead.pop(key, None)

    def add(self) -> None:
        """A new backend; an index that nothing names any more is used again, with its epoch."""
        free = [index for index in self.epochs if index not in self.backends and index not in named(self.words)]
        index = free[0] if free and self.random.random() < 0.7 else len(self.epochs) + 1
        self.epochs.setdefault(index, 0)
        self.backends[index] = Backend(self.random.choice([1, 1, 2, 5]))

    def is_live(self, entry: Entry, slack: int) -> bool:
        """By this clock and these epochs."""
        limit = life_limit(entry.life, SETTLE)
        return live(entry.epoch, self.epochs[entry.backend], entry.seen, self.now, limit, slack)

    # -- the data plane

    def traffic(self, packets: int) -> None:
        """Packets of random flows."""
        for _ in range(packets):
            key = self.random.randrange(len(self.flows))
            kinds = [Packet.UDP] if self.udp else [Packet.SYN, *[Packet.DATA] * 40, Packet.FIN, Packet.RST]
            self.packet(key, self.random.choice(kinds))

    def packet(self, key: int, packet: Packet) -> None:
        """One packet, and the promise for its flow."""
        flow = self.flows[key]
        if packet is Packet.SYN or self.now - flow.last >= life_limit(flow.life, SETTLE):
            flow.backend = NONE
        decision = run(steering(packet, self.now, self.rules), lambda request: self._read(request, key))
        if decision.insert or decision.write:
            self.entries[key] = decision.insert or decision.write  # type: ignore[assignment]
        if decision.refused:
            self.refused_at = self.now
        sent, held = decision.backend, self.hold and decision.refused
        if flow.backend != NONE:
            assert sent == flow.backend or (held and sent == NONE and self.udp), f"{packet.name} {flow} sent to {sent}"
        elif packet in (Packet.SYN, Packet.UDP) and sent != NONE and self.epochs[sent] % 2:
            flow.backend = sent
        flow.last = self.now
        if packet is Packet.SYN:
            flow.life = Life.HALF_OPEN
        elif packet in (Packet.FIN, Packet.RST):
            flow.life = Life.CLOSING
        elif flow.life == Life.HALF_OPEN:
            flow.life = Life.ESTABLISHED
        if packet is Packet.RST:
            flow.backend = NONE

    def _read(self, request: int, key: int) -> object:
        match request:
            case Read.WORD:
                return self.words[self.flows[key].slot]
            case Read.ENTRY:
                return self.entries.get(key)
            case Read.ROOM:
                return len(self.entries) < self.room and self.random.random() >= self.refusals
            case Read.HOLD:
                return self.hold
        return self.epochs[request - 16]

    # -- what must hold

    def check(self) -> None:
        """I1 to I4; I5 holds by construction, I6 since each batch is whole before the next."""
        alive = {key: entry for key, entry in self.entries.items() if self.is_live(entry, 2)}
        for key, entry in self.dead.items():
            assert key not in alive, "I4"
            assert self.entries[key] == entry, "I4"
        self.dead = {key: entry for key, entry in self.entries.items() if key not in alive}
        for slot, word in enumerate(self.words):
            if kind(word) is Kind.MOVING:
                assert self.epochs[base(word)] % 2, f"I2: slot {slot}"
        for key, flow in enumerate(self.flows):
            word = self.words[flow.slot]
            if kind(word) is Kind.STABLE:
                assert key not in alive or alive[key].backend == current(word), f"I1: {flow}"
            if flow.backend == NONE or self.now - flow.last >= life_limit(flow.life, SETTLE) or key in alive:
                continue
            assert flow.backend == (base(word) if kind(word) is Kind.MOVING else current(word)), f"I2, I3: {flow}"


def simulate(seed: int, steps: int, udp: bool, **mutations: bool) -> Balancer:
    """A random life of a pool; raises ``AssertionError`` when a promise or an invariant breaks."""
    random = Random(seed)
    rules = Rules(lambda life: life_limit(life, SETTLE), **mutations)
    box = Balancer(random, udp, rules, room=random.choice([20, 300, 300, 300]), refusals=random.choice([0, 0, 0.001]))
    for _ in range(4):
        box.add()
    for _ in range(steps):
        _step(box, random)
    return box


def _step(box: Balancer, random: Random) -> None:
    index = random.choice(list(box.backends))
    backend = box.backends[index]
    events = ["add", "remove", "drain", "weight", "flap"] if random.random() < 0.3 else ["time", "time", "tick"]
    match random.choice(events):
        case "add" if len(box.backends) < 8:
            box.add()
        case "remove" if len(box.backends) > 2 and not random.randrange(3):
            del box.backends[index]
        case "drain":
            backend.is_draining = not backend.is_draining and random.random() < 0.5
        case "weight":
            backend.weight = random.choice([0, 1, 2, 5])
        case "flap":
            backend.is_up = not backend.is_up or random.random() < 0.5
        case "time":
            box.now += random.choice([1, 7, 20, 40, 80])
            # Often: a SYN that meets an entry no longer live is a refusal, and each holds all moves back.
            box.collect()
        case "tick":
            box.scan()
            box.end_moves()
            if not random.randrange(50):
                box.crash()
    box.batch()
    box.traffic(100)
