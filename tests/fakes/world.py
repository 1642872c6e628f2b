# SPDX-License-Identifier: Apache-2.0
"""A small world to plan for: one pool, backends b1, b2, ..., and a data plane that remembers what was written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import TypeVar

from fakes.data_plane import FakeDataPlane
from fakes.next_hops import hop_to
from lb.core.allocation import Allocation
from lb.core.health import UNCHECKED, Health
from lb.core.model import Address, AdminState, Backend, Config, Hop, Pool, Protocol, Vip
from lb.core.operations import Operation
from lb.core.planner import Observed, Plan, Written, plan
from lb.core.slots import Kind, kind

VIP = ip_address("192.0.2.1")
WEB = Vip("web", VIP, 80, Protocol.TCP, "pool")
DNS = Vip("dns", VIP, 53, Protocol.UDP, "pool")

Op = TypeVar("Op", bound=Operation)


def backend(number: int, weight: int = 1, state: AdminState = AdminState.ENABLED) -> Backend:
    """b{number} at 10.0.0.{number}."""
    return Backend(f"b{number}", ip_address(f"10.0.0.{number}"), weight, state)


def config(*members: Backend, vips: Collection[Vip] = (WEB,), settle_seconds: int = 7500) -> Config:
    """One pool."""
    pool = Pool("pool", backends={member.name: member for member in members}, settle_seconds=settle_seconds)
    return Config(pools={"pool": pool}, vips={vip.name: vip for vip in vips})


class World:
    """A data plane without packets, and what lbd remembers of it. ``health``: by backend name; else it is UP."""

    def __init__(self) -> None:
        self.data_plane = FakeDataPlane()
        self.allocation = Allocation()
        self.written = Written(self.data_plane.epochs())
        self.hops: dict[Address, Hop] = {}
        self.health: dict[str, Health] = {}
        self.now = 1000

    def plan(
        self,
        wanted: Config,
        *,
        clear: Mapping[int, frozenset[int]] | None = None,
        held: frozenset[int] = frozenset(),
        collected: frozenset[int] = frozenset(),
        first: bool = False,
    ) -> Plan:
        """Plan, write, remember."""
        flows = self.data_plane.flows
        observed = Observed(
            self.now,
            lambda address: self.hops.get(address, hop_to(address)),
            self.data_plane.slots,
            flows.refused_at,
            flows.settle_seconds,
            clear or {},
            held,
            collected,
            first,
            lambda _pool, member: self.health.get(member.name, UNCHECKED),
        )
        planned = plan(wanted, self.allocation, self.written, observed)
        self.data_plane.apply(planned.operations)
        self.allocation, self.written = planned.allocation, planned.written
        return planned

    def forget(self) -> None:
        """lbd starts again."""
        self.written = Written(self.data_plane.epochs())

    def kinds(self, ring: int = 0) -> set[Kind]:
        """States of the ring's slots."""
        return {kind(word) for word in self.data_plane.slots(ring)}


def only(planned: Plan, wanted: type[Op]) -> list[Op]:
    """Operations of one kind."""
    return [operation for operation in planned.operations if isinstance(operation, wanted)]
