# SPDX-License-Identifier: Apache-2.0
"""What the planner asks of the data plane: operations that are carried out in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lb.core.layout import BackendEntry
from lb.core.vip_table import VipEntry


@dataclass(frozen=True, slots=True)
class WriteBackend:
    """Set all fields of a backend but its epoch."""

    index: int
    entry: BackendEntry


@dataclass(frozen=True, slots=True)
class SetEpoch:
    """Store a backend's epoch, alone: odd = accepting."""

    index: int
    epoch: int


@dataclass(frozen=True, slots=True)
class WriteSlots:
    """Store slot words one by one, ``slots[i]`` gets ``words[i]``; makes the ring when it is not there.

    ``slots`` is a ``range`` when no packet can reach the ring yet: it may then be written at one go.
    """

    ring: int
    slots: Sequence[int]
    words: Sequence[int]


@dataclass(frozen=True, slots=True)
class SetSettle:
    """Set how long an established flow of a ring may be silent, in seconds."""

    ring: int
    seconds: int


@dataclass(frozen=True, slots=True)
class SwapVips:
    """Put a new VIP table in force, whole."""

    entries: tuple[VipEntry, ...]


@dataclass(frozen=True, slots=True)
class ResetCounters:
    """Zero the counters of VIPs and backends whose numbers are about to be used again."""

    vips: tuple[int, ...]
    backends: tuple[int, ...]


Operation = WriteBackend | SetEpoch | SetSettle | WriteSlots | SwapVips | ResetCounters
