# SPDX-License-Identifier: Apache-2.0
"""The daemon as the API sees it, in memory: no data plane, and every next hop is resolved unless told otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from ipaddress import IPv4Address

from lb.core.audit import Caller
from lb.core.model import (
    RING_SIZE,
    Address,
    AdminState,
    Backend,
    BackendState,
    Config,
    Hop,
    NextHop,
    Protocol,
    RingState,
    Unresolved,
    View,
)
from lb.core.validate import check_edit
from lb.ports import Change, Counters, DaemonState, InterfaceState, XdpMode

RESOLVED = NextHop(
    "eth0", 2, 1500, bytes.fromhex("020000000001"), bytes.fromhex("020000000002"), IPv4Address("10.0.0.1")
)


class FakeController:
    """Implements ``ports.Controller``; what it answers beside the configuration is in its attributes.

    ``hops``: next hops that differ from ``RESOLVED``. ``rings``: by pool and protocol, those whose slots are not all
    stable. ``failure``: raised by every method while it is set.
    """

    def __init__(self, config: Config | None = None, local_addresses: Iterable[Address] = ()) -> None:
        self.local_addresses = frozenset(local_addresses)
        self.hops: dict[Address, Hop] = {}
        self.rings: dict[tuple[str, Protocol], RingState] = {}
        self.failure: Exception | None = None
        self.reported = Counters(vips={}, backends={}, verdicts={})
        self.daemon = DaemonState(
            ready=True,
            reason="",
            started_at=1_700_000_000.5,
            bpf_dir="/run/lb/bpf",
            interfaces=(InterfaceState("eth0", attached=True, mode=XdpMode.NATIVE, reason=""),),
        )
        self._revision = 0
        self._config = config or Config()
        self._lock = asyncio.Lock()

    def view(self) -> View:
        self._fail()
        return self._view(self._config, self._revision)

    async def mutate(self, change: Change, by: Caller, *, validate_only: bool = False) -> View:
        self._fail()
        async with self._lock:
            config = change(self._config)
            check_edit(self._config, config, self.local_addresses)
            if not validate_only:
                self._config = config
                self._revision += 1
            return self._view(config, self._revision)

    async def counters(self) -> Counters:
        self._fail()
        return self.reported

    async def state(self) -> DaemonState:
        self._fail()
        return self.daemon

    def _fail(self) -> None:
        if self.failure:
            raise self.failure

    def _view(self, config: Config, revision: int) -> View:
        states: dict[tuple[str, str], BackendState] = {}
        for pool in config.pools.values():
            total = sum(member.weight for member in pool.backends.values() if not self._why_not(member))
            for name, member in pool.backends.items():
                reason = self._why_not(member)
                slots = 0 if reason else RING_SIZE * member.weight // total
                states[pool.name, name] = BackendState(slots, reason, self.hops.get(member.address, RESOLVED))
        return View(revision, config, states, {pool: self._rings(config, pool) for pool in config.pools})

    def _rings(self, config: Config, pool: str) -> tuple[RingState, ...]:
        protocols = sorted({vip.protocol for vip in config.vips.values() if vip.pool == pool})
        return tuple(self.rings.get((pool, each), RingState(each, RING_SIZE, 0, 0)) for each in protocols)

    def _why_not(self, backend: Backend) -> str:
        """Why a backend is not in the ring; "" if it is."""
        hop = self.hops.get(backend.address, RESOLVED)
        if backend.admin_state is not AdminState.ENABLED:
            return f"admin state is {backend.admin_state.value}"
        if not backend.weight:
            return "weight is 0"
        return hop.reason if isinstance(hop, Unresolved) else ""
