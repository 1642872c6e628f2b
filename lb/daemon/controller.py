# SPDX-License-Identifier: Apache-2.0
"""The daemon as the API sees it: ``ports.Controller``."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from lb.core.audit import Caller, Record
from lb.core.errors import LbError
from lb.core.model import Config, View
from lb.daemon.events import EventHub
from lb.daemon.reconciler import Guard, Reconciler
from lb.ports import (
    Applied,
    Change,
    Counters,
    DaemonState,
    DataPlane,
    Finding,
    Store,
    Subscription,
    Verification,
)

log = logging.getLogger("lb.daemon")

Diagnose = Callable[[View], Awaitable[Sequence[Finding]]]


class LocalController:
    """Brings reconciler, store, events and diagnosis together."""

    def __init__(
        self,
        reconciler: Reconciler,
        store: Store,
        data_plane: DataPlane,
        hub: EventHub,
        diagnose: Diagnose,
        bpf_dir: str,
    ) -> None:
        self._reconciler = reconciler
        self._store = store
        self._data_plane = data_plane
        self._hub = hub
        self._diagnose = diagnose
        self._bpf_dir = bpf_dir
        self._started_at = time.time()

    def view(self) -> View:
        """Latest consistent snapshot."""
        return self._reconciler.view()

    async def mutate(self, change: Change, by: Caller, *, validate_only: bool = False) -> View:
        """Apply one edit; see ``ports.Controller``."""
        return (await self._reconciler.apply(change, by, Guard(validate_only=validate_only))).view

    async def apply(
        self,
        change: Change,
        by: Caller,
        *,
        base_revision: int = 0,
        max_move_percent: float = 100.0,
        validate_only: bool = False,
        note: str = "",
    ) -> Applied:
        """Apply one edit and say what it does to flows; see ``ports.Controller``."""
        guard = Guard(base_revision, max_move_percent, validate_only, note, measured=True)
        return await self._reconciler.apply(change, by, guard)

    async def history(self, before: int, limit: int) -> Sequence[Record]:
        """See ``ports.Store.history``."""
        return await asyncio.to_thread(self._store.history, before, limit)

    async def at(self, revision: int) -> Config:
        """See ``ports.Store.at``."""
        return await asyncio.to_thread(self._store.at, revision)

    async def denied(self, by: Caller, note: str) -> None:
        """Record a call that was denied."""
        log.warning("denied: %s from %s: %s: %s", by.who, by.origin, by.method, note)
        try:
            await asyncio.to_thread(self._store.deny, by, note)
        except LbError as error:
            log.error("the denied call is not in the history: %s", error.message)

    def subscribe(self, start_revision: int = 0) -> Subscription:
        """See ``ports.Controller``."""
        return self._hub.subscribe(start_revision)

    async def verify(self) -> Verification:
        """See ``ports.Controller``."""
        return await self._reconciler.verify()

    async def diagnose(self) -> Sequence[Finding]:
        """See ``ports.Controller``."""
        return await self._diagnose(self.view())

    async def counters(self) -> Counters:
        """Read the data plane's counters."""
        return await self._reconciler.counters()

    async def state(self) -> DaemonState:
        """Look at the data plane now."""
        interfaces = await asyncio.to_thread(self._data_plane.interfaces)
        reasons = [f"{found.interface}: {found.reason}" for found in interfaces if not found.attached]
        if self._reconciler.failure:
            reasons.insert(0, self._reconciler.failure)
        return DaemonState(not reasons, "; ".join(reasons), self._started_at, self._bpf_dir, interfaces)
