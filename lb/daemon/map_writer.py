# SPDX-License-Identifier: Apache-2.0
"""Batches of operations: planned, fenced, written, and mended when the kernel cut one short."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from lb.core.allocation import Allocation
from lb.core.errors import LbError, UnavailableError
from lb.core.events import Body, ConfigChanged
from lb.core.model import Config
from lb.core.planner import Observed, Plan, Written, plan
from lb.daemon.drains import Drains
from lb.daemon.flow_keeper import Findings, FlowKeeper
from lb.daemon.notices import Notices
from lb.ports import DataPlane, HealthChecks, NextHops

log = logging.getLogger("lb.reconciler")


class MapWriter:
    """Writes the maps; called by who holds ``lock``.

    ``plan``: in force, None before the first one was carried out. ``config``, ``revision``: that it was made for.
    ``hash_key``: of the program that runs. ``failure``: why the maps are not as the configuration says, "" when they
    are. ``findings``: of the last scan, until the next batch. ``keeper``, ``drains``, ``notices``, ``health``: hear of
    every batch.
    """

    def __init__(
        self, data_plane: DataPlane, next_hops: NextHops, health: HealthChecks, emit: Callable[[Body], None]
    ) -> None:
        self.data_plane = data_plane
        self.health = health
        self.lock = asyncio.Lock()
        self.keeper = FlowKeeper(data_plane)
        self.drains = Drains(emit)
        self.notices = Notices(emit)
        self.plan: Plan | None = None
        self.config = Config()
        self.revision = 0
        self.hash_key = bytes(16)
        self.failure = "starting"
        self.findings = Findings()
        self._next_hops = next_hops
        self._emit = emit
        self._held: frozenset[int] = frozenset()
        self._dirty = True

    def first_plan(self, config: Config, allocation: Allocation) -> Plan:
        """Plan for what the daemon before left in the maps."""
        seconds = now()
        for ring in allocation.rings.values():
            # What was refused while nobody looked is not known: moves wait their full time.
            self.data_plane.flows.mark_refused(ring, seconds)
        written = Written(self.data_plane.epochs())
        return plan(config, allocation, written, self._observed(first=True))

    async def replan(self, config: Config, held: frozenset[int] = frozenset(), *, first: bool = False) -> Plan:
        """Plan for a configuration, after a fence; ``held``, ``first``: see ``Observed``."""
        assert self.plan is not None
        await asyncio.to_thread(self.fence)
        observed = self._observed(held, first=first)
        return await asyncio.to_thread(plan, config, self.plan.allocation, self.plan.written, observed)

    def _observed(self, held: frozenset[int] = frozenset(), *, first: bool = False) -> Observed:
        flows, found = self.data_plane.flows, self.findings
        return Observed(
            now=now(),
            hop=self._next_hops.hop,
            slots=self.data_plane.slots,
            refused_at=flows.refused_at,
            settle_seconds=flows.settle_seconds,
            clear=found.clear,
            held=held,
            collected=found.collected,
            first=first,
            health=self.health.readings().health,
        )

    def fence(self) -> None:
        """Before a batch, if anything was written since the last fence: packets that saw older words have left."""
        if self._dirty:
            self.data_plane.fence()
            self._dirty = False

    async def write(
        self, config: Config, planned: Plan, revision: int, announcement: ConfigChanged | None = None
    ) -> None:
        """Carry a plan out, for a configuration of this revision.

        ``announcement``: of a new revision; comes before what else there is to tell of it. Raises ``UnavailableError``
        when it failed; the plan is in force all the same.
        """
        before, failure = self.plan, ""
        try:
            await asyncio.to_thread(self._carry_out, config, planned)
        except (OSError, LbError) as error:
            log.error("the kernel refused a change of the maps: %s; trying again", error)
            failure = f"the maps are behind the configuration: {error}"
        except Exception as error:
            log.exception("a change of the maps failed, which is a bug in lbd; trying again")
            failure = f"the maps are behind the configuration: internal error: {error!r}"
        if failure:
            # Stored but not (wholly) in the maps: forget what was written, so that the next round writes it all.
            planned = replace(planned, written=Written(await asyncio.to_thread(self.data_plane.epochs)))
        self.config, self.plan, self.revision, self.failure = config, planned, revision, failure
        if announcement is not None:
            self._emit(announcement)
        self.health.update(config, planned.allocation, planned.written.epochs)
        self.drains.update(config, planned.allocation)
        self.notices.planned(before, planned)
        if failure:
            raise UnavailableError(failure)

    async def mend(self) -> None:
        """Clear away the remains of a batch that the kernel cut short, before any backend may begin to accept.

        A slot may still name an old backend whose flows have gone on to the new one: see ``Observed.first``. Raises
        ``UnavailableError`` while the kernel goes on refusing.
        """
        if self.failure:
            await self.write(self.config, await self.replan(self.config, first=True), self.revision)

    def _carry_out(self, config: Config, planned: Plan) -> None:
        # Also when the kernel refuses: what a scan said of words holds for those words only.
        self.findings = Findings()
        if planned.operations:
            self._dirty = True
            self.keeper.wrote(planned.operations)
            self.data_plane.apply(planned.operations)
        if config.settings.hash_key != self.hash_key:
            # The key is compiled into the program.
            self._dirty = True
            self.data_plane.load(config.settings.hash_key)
            self.data_plane.attach()
            self.hash_key = config.settings.hash_key

    def report(self, error: OSError) -> None:
        """The kernel refused upkeep: say so, stop being ready, and have the next tick write everything anew."""
        log.error("the kernel refused upkeep of the maps: %s; trying again", error)
        self.failure = f"the maps are not kept up: {error}"

    async def round(self, due: frozenset[int] = frozenset()) -> None:
        """Plan and write anew. Moves of the rings in ``due`` may end.

        A flow that is refused after we looked, and before its slot's new word is seen, would be on the old backend with
        no entry that says so. So new flows that are refused are dropped from a fence before to a fence after.
        """
        self._held |= due
        try:
            await asyncio.to_thread(self.hold, due, True)
            await self.mend()
            await self.write(self.config, await self.replan(self.config, due), self.revision)
        except UnavailableError as error:
            log.error("%s", error)
        finally:
            # Those of a round before as well, if the kernel refused the fence then.
            await asyncio.to_thread(self.hold, self._held, False)
            self._held = frozenset()

    def hold(self, rings: frozenset[int], on: bool) -> None:
        """Have new flows that cannot be tracked dropped, or no longer."""
        if rings and not on:
            self.fence()
        for ring in rings:
            self.data_plane.flows.hold(ring, on)
            self._dirty = True


def now() -> int:
    """Seconds of the clock that the data plane stamps with."""
    return int(time.monotonic())
