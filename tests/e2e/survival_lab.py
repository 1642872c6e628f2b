# SPDX-License-Identifier: Apache-2.0
"""A pool under load: an operator who changes it through one channel, and flows that must not notice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import grpc
from testbed import BALANCER, CLIENT, ECHO_PORT, SWITCH, Background, Lbd, Testbed, wait_until
from testbed.connections import Report
from testbed.host import python_module

from lb.core.model import RING_SIZE
from lb.v1 import (
    backend_pb2,
    backend_pb2_grpc,
    pool_pb2,
    pool_pb2_grpc,
    stats_pb2,
    stats_pb2_grpc,
    vip_pb2,
    vip_pb2_grpc,
)

POOL = "pools/web"
SETTLE_SECONDS = 2
"""Short, so that every state that a slot can have is gone through within a test."""
QUIET_SECONDS = 60.0
"""A move's end, its entries' end, the collector and a scan, which after a flood are far apart; with much to spare."""

_VIPS = {"tcp": vip_pb2.Vip.TCP, "udp": vip_pb2.Vip.UDP}
_CALL_SECONDS = 20.0
_LOOK_SECONDS = 0.1
"""Between two looks: `lbd` has better things to do."""
_START_SECONDS = 30.0


@dataclass
class Operator:
    """Changes the pool, and keeps in mind what was seen on the way."""

    bed: Testbed
    channel: grpc.Channel
    changes: list[tuple[float, str]] = field(default_factory=list)
    most_moving: int = 0
    most_tracked: int = 0
    most_entries: int = 0

    def __post_init__(self) -> None:
        self._pools = pool_pb2_grpc.PoolServiceStub(self.channel)
        self._backends = backend_pb2_grpc.BackendServiceStub(self.channel)
        self._vips = vip_pb2_grpc.VipServiceStub(self.channel)
        self._stats = stats_pb2_grpc.StatsServiceStub(self.channel)

    def set_up(self, members: tuple[str, ...]) -> None:
        """The pool, and the VIP's echo port in TCP and UDP."""
        pool = pool_pb2.Pool(
            backends=[backend_pb2.Backend(name=name, address=self.bed.address(name)) for name in members],
            settle_seconds=SETTLE_SECONDS,
            udp_settle_seconds=SETTLE_SECONDS,
            drain_idle_seconds=SETTLE_SECONDS,
        )
        self._pools.CreatePool(pool_pb2.CreatePoolRequest(pool_id="web", pool=pool), timeout=_CALL_SECONDS)
        for name, protocol in _VIPS.items():
            vip = vip_pb2.Vip(address=self.bed.vip, port=ECHO_PORT, protocol=protocol, pool=POOL)
            self._vips.CreateVip(vip_pb2.CreateVipRequest(vip_id=name, vip=vip), timeout=_CALL_SECONDS)

    def tear_down(self) -> None:
        """VIP and pool, whatever became of it."""
        for name in _VIPS:
            self._vips.DeleteVip(vip_pb2.DeleteVipRequest(name=f"vips/{name}"), timeout=_CALL_SECONDS)
        self._pools.DeletePool(pool_pb2.DeletePoolRequest(name=POOL), timeout=_CALL_SECONDS)

    def create(self, name: str) -> None:
        """A new member."""
        backend = backend_pb2.Backend(address=self.bed.address(name))
        request = backend_pb2.CreateBackendRequest(parent=POOL, backend_id=name, backend=backend)
        made = self._backends.CreateBackend(request, timeout=_CALL_SECONDS)
        assert made.status.in_ring, made.status.reason
        self._changed(f"create {name}")

    def delete(self, name: str) -> None:
        """A member goes."""
        request = backend_pb2.DeleteBackendRequest(name=f"{POOL}/backends/{name}")
        self._backends.DeleteBackend(request, timeout=_CALL_SECONDS)
        self._changed(f"delete {name}")

    def weigh(self, name: str, weight: int) -> None:
        """A member's share."""
        self._update(name, "weight", backend_pb2.Backend(weight=weight))

    def admit(self, name: str, state: backend_pb2.Backend.AdminState) -> None:
        """ENABLED, DRAINING or DISABLED."""
        self._update(name, "admin_state", backend_pb2.Backend(admin_state=state))

    def _update(self, name: str, path: str, backend: backend_pb2.Backend) -> None:
        backend.name = f"{POOL}/backends/{name}"
        request = backend_pb2.UpdateBackendRequest(backend=backend)
        request.update_mask.paths.append(path)
        self._backends.UpdateBackend(request, timeout=_CALL_SECONDS)
        self._changed(f"{name} {path} {getattr(backend, path)}")

    def _changed(self, what: str) -> None:
        self.changes.append((time.monotonic(), what))
        self.look()

    def look(self) -> list[pool_pb2.RingStatus]:
        """Slots of both rings by state; every slot is in one."""
        request = pool_pb2.GetPoolRequest(name=POOL)
        rings = list(self._pools.GetPool(request, timeout=_CALL_SECONDS).rings)
        for ring in rings:
            assert ring.stable_slots + ring.moving_slots + ring.tracked_slots == RING_SIZE
        self.most_moving = max(self.most_moving, *(ring.moving_slots for ring in rings))
        self.most_tracked = max(self.most_tracked, *(ring.tracked_slots for ring in rings))
        self.most_entries = max(self.most_entries, self.table().entries)
        return rings

    def table(self) -> stats_pb2.FlowTableStats:
        """What is in the flow table, and what happened to it."""
        found = self.stats().flow_table
        assert found.entries <= found.capacity
        return found

    def stats(self) -> stats_pb2.Stats:
        """All counters."""
        return self._stats.GetStats(stats_pb2.GetStatsRequest(), timeout=_CALL_SECONDS)

    def wait_for_tracked_slots(self) -> None:
        """Until moves that began earlier have ended."""
        self.watch_until(lambda: any(ring.tracked_slots for ring in self.look()), "no slot became TRACKED")

    def wait_for_quiet(self) -> None:
        """Until every slot is STABLE and nothing is tracked any more."""
        self.watch_until(
            lambda: all(ring.stable_slots == RING_SIZE for ring in self.look()) and not self.table().entries,
            "slots did not become STABLE, or the flow table did not run empty",
        )

    def watch_until(self, condition: Callable[[], object], message: str) -> None:
        """Look from time to time until the condition holds."""
        deadline = time.monotonic() + QUIET_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"{message}: {self.look()}, {self.table()}"
            time.sleep(_LOOK_SECONDS)


@contextmanager
def operator(bed: Testbed, lbd: Lbd, members: tuple[str, ...]) -> Iterator[Operator]:
    """Connected to `lbd`, with a pool that serves."""
    with grpc.insecure_channel(lbd.target) as channel:
        made = Operator(bed, channel)
        made.set_up(members)
        try:
            yield made
        finally:
            made.tear_down()


@dataclass(frozen=True, slots=True)
class Flows:
    """A process that keeps flows busy."""

    process: Background

    def wait_until_broken(self, count: int) -> None:
        """Until so many flows have ended that should not."""
        wait_until(lambda: f"broken {count}" in self.process.stdout.splitlines(), QUIET_SECONDS, f"not {count} broken")

    def stop(self) -> Report:
        """Close all; returns what became of them."""
        assert self.process.stop() == 0, self.process.stderr
        return Report.parse(self.process.stdout.splitlines()[-1])


_numbers = count(1)


@contextmanager
def flows(bed: Testbed, kind: str, number: int, *options: str) -> Iterator[Flows]:
    """``number`` flows from the client to the VIP, each of them answered once."""
    arguments = [kind, bed.vip, str(ECHO_PORT), str(number), *options]
    with _started(bed, CLIENT, "testbed.connections", *arguments) as process:
        yield Flows(process)


@contextmanager
def flood(bed: Testbed, packets: int, rate: int) -> Iterator[Background]:
    """SYNs from random addresses, ``rate`` a second, out of the switch's port at the balancer."""
    arguments = [BALANCER, bed.mac(BALANCER), bed.vip, str(ECHO_PORT), str(packets), "--rate", str(rate)]
    with _started(bed, SWITCH, "testbed.flood", *arguments) as process:
        yield process


@contextmanager
def _started(bed: Testbed, node: str, module: str, *arguments: str) -> Iterator[Background]:
    process = bed.start(node, f"{module}-{next(_numbers)}", *python_module(module, *arguments))
    try:
        process.wait_for_line("ready", _START_SECONDS)
        yield process
    finally:
        if process.running:
            process.kill()
