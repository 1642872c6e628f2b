# SPDX-License-Identifier: Apache-2.0
"""Has backends probed as the configuration wants it, and tells the reconciler what that means."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from lb.core.allocation import Allocation
from lb.core.checks import Outcome, Target
from lb.core.events import Body, HealthChanged
from lb.core.health import Health, Status
from lb.core.health_pool import Change, PoolVerdicts
from lb.core.health_readings import Readings
from lb.core.health_register import Register
from lb.core.model import Config, Pool
from lb.ports import Prober

log = logging.getLogger("lb.health")


class HealthMonitor:
    """Configuration in, verdicts out. All of it runs in the event loop, without waiting.

    Args:
        prober: Sends the probes.
        emit: Takes the events.
        tunnel_problem: Why no probe can go through the tunnel; "" = they can.
        monotonic: CLOCK_MONOTONIC seconds.
        utc: Seconds since the epoch.
    """

    def __init__(
        self,
        prober: Prober,
        emit: Callable[[Body], None],
        *,
        tunnel_problem: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        utc: Callable[[], float] = time.time,
    ) -> None:
        self._prober = prober
        self._on_change: Callable[[], None] = _ignore
        self._emit = emit
        self._tunnel_problem = tunnel_problem
        self._monotonic = monotonic
        self._utc = utc
        self._register = Register(tunnel_problem)
        self._pools: dict[str, PoolVerdicts] = {}

    def on_change(self, callback: Callable[[], None]) -> None:
        """See ``ports.HealthChecks``."""
        self._on_change = callback

    async def start(self) -> None:
        """Be ready for ``update``. Raises ``UnavailableError``."""
        self._prober.on_outcome(self._observe)
        await self._prober.start()
        if self._tunnel_problem:
            log.warning(
                "health checks go to the backends' own addresses: the tunnel cannot be used: %s", self._tunnel_problem
            )

    async def stop(self) -> None:
        """Stop probing; idempotent."""
        await self._prober.stop()

    def update(self, config: Config, allocation: Allocation, epochs: Sequence[int]) -> None:
        """Check the members of this configuration from now on; see ``ports.HealthChecks``."""
        version = self._register.version
        changes: list[Change] = []
        for name in sorted(self._register.update(config, allocation)):
            changes += self._update_pool(config.pools.get(name, Pool(name)), allocation, epochs)
        if version != self._register.version:
            self._prober.watch(tuple(self._register.wanted))
        self._tell(changes)

    def readings(self) -> Readings:
        """All as it is now, copied: a plan is worked out in another thread, while probes go on."""
        members = {name: dict(verdicts.shown) for name, verdicts in self._pools.items()}
        return Readings(members, dict(self._register.problems))

    def tick(self) -> None:
        """Slow starts and holds go on; see ``ports.HealthChecks``."""
        now = self._monotonic()
        changes: list[Change] = []
        for verdicts in self._pools.values():
            changes += verdicts.advance(now)
        self._tell(changes)

    def _update_pool(self, pool: Pool, allocation: Allocation, epochs: Sequence[int]) -> list[Change]:
        keys = self._register.members.get(pool.name)
        if keys is None:
            return self._forget(pool)
        check, slow_start_seconds = pool.health_check, pool.slow_start_seconds
        assert check is not None
        members = {
            (name, backend, address): epochs[allocation.backends[name, backend, str(address)]] % 2 == 1
            for name, backend, address in keys
        }
        verdicts = self._pools.setdefault(pool.name, PoolVerdicts(check, slow_start_seconds))
        return verdicts.update(check, slow_start_seconds, members, self._monotonic(), self._utc())

    def _forget(self, pool: Pool) -> list[Change]:
        """Its members are not probed any more: UNKNOWN where they can't be, else as if they never had been."""
        verdicts = self._pools.pop(pool.name, None)
        problem = self._register.problems.get(pool.name)
        if verdicts is None or problem is None:
            return []
        unknown = Health(Status.UNKNOWN, reason=problem)
        return [(key, before, unknown) for key, before in verdicts.shown.items() if key[1] in pool.backends]

    def _observe(self, target: Target, outcome: Outcome) -> None:
        """A probe ended; one that nobody wants any more tells nothing."""
        utc = self._utc()
        changes: list[Change] = []
        for key in self._register.wanted.get(target, ()):
            changes += self._pools[key[0]].observe(key, outcome, utc)
        self._tell(changes)

    def _tell(self, changes: list[Change]) -> None:
        for (pool, backend, _), before, after in changes:
            if after.status is before.status:
                continue
            reason = "" if after.status is Status.UP else after.reason
            if after.status is Status.UP:
                log.info("backend %s/%s is UP", pool, backend)
            else:
                log.warning("backend %s/%s is %s: %s", pool, backend, after.status.value, reason)
            self._emit(HealthChanged(pool, backend, after.status, reason))
        if changes:
            self._on_change()


def _ignore() -> None:
    """Until somebody wants to know."""
