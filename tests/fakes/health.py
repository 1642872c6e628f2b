# SPDX-License-Identifier: Apache-2.0
"""Health checks in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lb.core.allocation import Allocation
from lb.core.health import UNCHECKED, Health, Status
from lb.core.health_readings import Readings
from lb.core.model import Backend, Config, Pool


@dataclass(frozen=True, slots=True)
class Verdicts(Readings):
    """As the test set them, by (pool, backend)."""

    by_name: Mapping[tuple[str, str], Health] = field(default_factory=dict)

    def health(self, pool: Pool, backend: Backend) -> Health:
        if pool.health_check is None:
            return UNCHECKED
        return self.by_name.get((pool.name, backend.name), Health(Status.UNKNOWN))


class FakeHealthChecks:
    """``verdicts``: by (pool, backend); UNKNOWN else. ``config``: the latest."""

    def __init__(self) -> None:
        self.verdicts: dict[tuple[str, str], Health] = {}
        self.config: Config | None = None
        self.changed: Callable[[], None] = lambda: None

    def on_change(self, callback: Callable[[], None]) -> None:
        self.changed = callback

    def update(self, config: Config, allocation: Allocation, epochs: Sequence[int]) -> None:
        assert all(epochs[index] >= 0 for index in allocation.backends.values())
        self.config = config

    def readings(self) -> Readings:
        return Verdicts(by_name=dict(self.verdicts))

    def tick(self) -> None:
        """Nothing goes on by itself here."""
