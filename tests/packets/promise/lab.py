# SPDX-License-Identifier: Apache-2.0
"""Both planes and the book of promises: packets are sent, pools are changed, and each time the promises are checked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, ip_address
from random import Random

import pytest
from packets.box import HASH_KEY, Box, box
from packets.promise import check
from packets.promise.book import Book, Flow, Limits
from packets.promise.control import INDICES, Control, monotonic
from packets.promise.frames import Client, Kind, clients

from lb.core import allocation, hashing, maglev, members, planner
from lb.core.errors import LimitError
from lb.core.model import AdminState, Backend, Config, HashPolicy, Pool, Protocol, Settings, Unresolved, Vip
from lb.core.planner import Plan
from lb.dataplane import kernel, libbpf, maps
from lb.dataplane import source as dataplane_source
from lb.dataplane.pins import PROGRAM
from lb.dataplane.source import Source

TABLE_ENTRIES = 256
"""Of the flow table: small, so that it gets full."""

RING_SIZE = 509
"""Slots: few, so that flows share them, and a batch is quick. A prime, as Maglev needs."""

ADDRESS = IPv4Address("192.0.2.1")
VIPS = {
    "web": Vip("web", ADDRESS, 80, Protocol.TCP, "pool"),
    "alt": Vip("alt", ADDRESS, 443, Protocol.TCP, "pool", hash_policy=HashPolicy.SOURCE_AND_DESTINATION_PORT),
    "dns": Vip("dns", ADDRESS, 53, Protocol.UDP, "pool"),
}
CLIENTS = {"web": clients(VIPS["web"], 200), "alt": clients(VIPS["alt"], 60), "dns": clients(VIPS["dns"], 100)}
EVERYONE = [client for some in CLIENTS.values() for client in some]

SETTLE_SECONDS, UDP_SETTLE_SECONDS, DRAIN_IDLE_SECONDS = 130, 40, 100

_UPTIME_SECONDS = SETTLE_SECONDS + 10
"""Stamps stop at 0, see control.py: the machine has to be up for longer than any limit."""

_TCP_KINDS = (Kind.SYN, Kind.DATA, Kind.DATA, Kind.DATA, Kind.DATA, Kind.FIN, Kind.RST)


def backend(number: int, weight: int = 1, admin_state: AdminState = AdminState.ENABLED) -> Backend:
    """Member b{number} at 10.0.0.{number}."""
    return Backend(f"b{number}", ip_address(f"10.0.0.{number}"), weight, admin_state)


def config_of(members: list[Backend], vips: frozenset[str], settle_seconds: int) -> Config:
    """One pool with these members, under some of the VIPs."""
    udp = min(UDP_SETTLE_SECONDS, settle_seconds)
    pool = Pool("pool", "", {m.name: m for m in members}, settle_seconds, udp, DRAIN_IDLE_SECONDS)
    return Config(Settings(HASH_KEY), {"pool": pool}, {name: vip for name, vip in VIPS.items() if name in vips})


class Lab:
    """``between``: packets sent between two operations of a batch. ``mends``: a batch that the kernel cut short."""

    def __init__(self, made: Box) -> None:
        self.box = made
        self.control = Control(made)
        self.ifindex = made.ifindex["in0"]
        self.slots = {client: client.slot for client in EVERYONE}
        assert max(self.slots.values()) < RING_SIZE
        self.frames = {
            (client, kind): client.frame(kind)
            for client in EVERYONE
            for kind in ([Kind.UDP] if client.vip.protocol is Protocol.UDP else [k for k in Kind if k is not Kind.UDP])
        }
        self.between = 12
        self.mends = True
        self.program = dataplane_source.balancer_source(HASH_KEY).digest
        self.reset(0)

    def close(self) -> None:
        self.control.close()

    def reset(self, seed: int) -> None:
        """No flow, no VIP, no backend."""
        self.random = Random(seed)
        self.box.hops.clear()
        self.control.reset()
        self.book = Book(Limits(0, 0, 0))
        self.indices: dict[str, int] = {}
        self.stopping: frozenset[int] = frozenset()
        self.members: list[Backend] = []
        self.vips = frozenset(VIPS)
        self.settle_seconds = SETTLE_SECONDS
        self.memory = check.Memory(self.control.epochs())

    # -- packets

    def send(self, client: Client, kind: Kind) -> int:
        """One packet; returns the backend index that it went to, 0 = dropped."""
        before = time.monotonic()
        result = libbpf.prog_run(self.box.program, self.frames[client, kind], ifindex=self.ifindex)
        after = time.monotonic()
        index = 0
        if result.action == _XDP_TX:
            index = self.indices[str(IPv4Address(result.data[30:34]))]
        if not index and kind is Kind.UDP and self.control.holding:
            # A loss that a hold may cause, and no change of backend.
            return 0
        accepting = index != 0 and index not in self.stopping and self.control.epoch(index) % 2 == 1
        self.book.saw(client, kind, index, before, after, accepting)
        return index

    def traffic(self, packets: int) -> None:
        """Random packets of random clients, of the VIPs that there are."""
        everyone = [client for name in sorted(self.box.config.vips) for client in CLIENTS[name]]
        for client in self.random.choices(everyone, k=packets) if everyone else []:
            if client.vip.protocol is Protocol.UDP:
                self.send(client, Kind.UDP)
            elif client in self.book.flows:
                self.send(client, self.random.choice(_TCP_KINDS))
            else:
                self.send(client, Kind.SYN if self.random.random() < 0.8 else Kind.DATA)

    # -- changes

    def change(self, *, refuse_at: float = 1.0, crash_at: float | None = None) -> None:
        """Bring the maps to the present members and VIPs. The kernel may refuse midway, or the daemon die."""
        self._mend()
        config = config_of(self.members, self.vips, self.settle_seconds)
        try:
            planned = self.control.plan(config)
        except LimitError:
            self.members = list(self.box.config.pools["pool"].backends.values()) if self.box.config.pools else []
            self.vips = frozenset(self.box.config.vips)
            return
        self.control.commit(config, planned)
        self._announce(config, planned)
        if crash_at is not None:
            self.control.crash(planned, self._packets_between, crash_at)
            self.restart()
            return
        self.control.write(config, planned, self._packets_between, refuse_at)
        self._settled()

    def tick(self) -> None:
        """A round of the reconciler's loop, with the configuration as it is."""
        due = self.control.due()
        self.control.hold(due, True)
        self._mend()
        planned = self.control.plan(self.box.config, due)
        self._packets_between()
        self._write(self.box.config, planned)
        self.control.hold(due, False)
        self._settled()

    def _mend(self) -> None:
        """As ``Reconciler._mend``."""
        if self.control.broken and self.mends:
            self._write(self.box.config, self.control.plan(self.box.config, first=True))
            self._settled()

    def restart(self) -> None:
        """The daemon dies and comes back: two plans, as ``Reconciler.start`` makes them."""
        self.control.restart()
        config = self.control.stored[0]
        for first in (True, False):
            self._write(config, self.control.plan(config, first=first))
            self._settled()
        self.control.hold(frozenset(self.control.written.rings), False)

    def _write(self, config: Config, planned: Plan) -> None:
        self._announce(config, planned)
        self.control.write(config, planned, self._packets_between)

    def _announce(self, config: Config, planned: Plan) -> None:
        """A batch is about to be written: what it takes away is promised no more."""
        now = time.monotonic()
        self.indices |= {address: index for (_, _, address), index in planned.allocation.backends.items()}
        epochs = self.control.epochs()
        after = planned.written.epochs
        self.stopping = frozenset(i for i, epoch in enumerate(epochs) if epoch % 2 == 1 and after[i] != epoch)
        self.book.stopped(self.stopping)
        self.book.vips_gone(config.vips)
        self.book.change_limits(now, self._limits(config, planned))
        self._give_up_udp(int(now))

    def _give_up_udp(self, now: int) -> None:
        """Refusals hold a move of a UDP ring back for ten times its limit, and then no longer."""
        for work in self.control.written.rings.values():
            if work.state.protocol is Protocol.UDP:
                limit = min((timer.limit for timer in work.timers), default=0)
                late = {s for s, began in work.moves.items() if began is not None and now - began >= 10 * limit}
                self.book.drop(partial(self._is_udp_in, late))

    def _is_udp_in(self, slots: set[int], client: Client, flow: Flow) -> bool:  # noqa: ARG002
        return client.vip.protocol is Protocol.UDP and self.slots[client] in slots

    @staticmethod
    def _limits(config: Config, planned: Plan) -> Limits:
        """As the rings have them: a time that was raised holds once the expired entries are gone."""
        pool = config.pools.get("pool", Pool("pool"))
        indices = planned.allocation.backends
        draining = frozenset(
            indices["pool", b.name, str(b.address)]
            for b in pool.backends.values()
            if b.admin_state is not AdminState.ENABLED or not b.weight
        )
        settle = dict.fromkeys(Protocol, 0)
        for work in planned.written.rings.values():
            settle[work.state.protocol] = work.settle_seconds
        return Limits(settle[Protocol.TCP], settle[Protocol.UDP], pool.drain_idle_seconds, draining)

    def _packets_between(self) -> None:
        self.traffic(self.between)

    def _settled(self) -> None:
        self.stopping = frozenset()
        self.book.vips_gone(self.box.config.vips)
        if not self.control.broken:
            check.invariants(self)

    # -- time and scans

    def pass_time(self, seconds: int) -> None:
        """Nobody says anything for so long."""
        self.control.shift(seconds)
        self.book.shift(seconds)
        self.memory.shift(seconds)

    def scan(self, packets: int = 0) -> None:
        """A whole scan, with packets before it reads, before it collects, and before what it found is written."""
        self.control.begin_scan()
        self.traffic(packets)
        self.control.read_scan()
        self.traffic(packets)
        self.finish_scan()

    def finish_scan(self) -> None:
        """The second half of a scan: collect; a batch if any slot was found clear."""
        found_clear = self.control.finish_scan()
        self.memory.collected({entry.key for entry in self.control.entries()})
        if found_clear:
            self.tick()

    # -- programs

    def run_program(self, source: Source) -> None:
        """Have this program run on the same maps, if it does not yet."""
        if source.digest == self.program:
            return
        self.program = source.digest
        self.box.data_plane.load_source(source)
        self.box.data_plane.attach()
        os.close(self.box.program)
        self.box.program = libbpf.obj_get(self.box.bpf_dir / PROGRAM)

    def gone(self, number: int) -> None:
        """A backend's next hop is lost."""
        self.box.hops[ip_address(f"10.0.0.{number}")] = Unresolved("gone")

    def found(self, number: int) -> None:
        """It is back."""
        self.box.hops.pop(ip_address(f"10.0.0.{number}"), None)

    def member(self, number: int, change: Callable[[Backend], Backend]) -> None:
        """Change one member."""
        self.members = [change(m) if m.name == f"b{number}" else m for m in self.members]


_XDP_TX = 3


@contextmanager
def lab() -> Iterator[Lab]:
    """A lab with a small flow table, small rings and few backend indices."""
    while monotonic() < _UPTIME_SECONDS:
        time.sleep(1)
    flows = replace(maps.FLOWS, max_entries=TABLE_ENTRIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "PERSISTENT", tuple(flows if spec is maps.FLOWS else spec for spec in maps.PERSISTENT))
        for module in (hashing, members, planner, kernel, dataplane_source):
            patch.setattr(module, "RING_SIZE", RING_SIZE)
        patch.setattr(members, "build_ring", partial(maglev.build_ring, size=RING_SIZE))
        # Few numbers, so that they are used again.
        patch.setattr(allocation, "MAX_BACKENDS", INDICES - 1)
        patch.setattr(allocation, "MAX_RINGS", 8)
        patch.setattr(allocation, "MAX_VIPS", 8)
        members.pool_ring.cache_clear()
        with box() as made:
            built = Lab(made)
            try:
                yield built
            finally:
                built.close()
                # Its rings have another size.
                members.pool_ring.cache_clear()
