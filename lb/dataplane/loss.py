# SPDX-License-Identifier: Apache-2.0
"""What existing flows lose when pinned maps can't be carried over into those of this release."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from lb.core.model import RING_SIZE
from lb.core.moves import count, restore
from lb.core.slots import Kind
from lb.dataplane.carry import carries_slots, count_flows
from lb.dataplane.map_set import PinnedMap, open_found
from lb.dataplane.maps import MapSpec, ring_number, spec_named


@dataclass(frozen=True, slots=True)
class Loss:
    """What would be lost. ``flows``: entries of tracked flows. ``rings``: whose slots can't be carried over.

    ``moving``, ``tracked``: slots in these states, of all rings whose words can be read.
    """

    flows: int
    rings: int
    moving: int
    tracked: int

    def __bool__(self) -> bool:
        return bool(self.flows or self.rings)

    def __str__(self) -> str:
        parts = [
            f"{self.flows:,} tracked flows lose their entry",
            f"{self.moving:,} slots are moving and {self.tracked:,} tracked",
            *([f"{self.rings} rings begin anew, as after a reboot"] if self.rings else []),
        ]
        return "; ".join(parts) + ". Connections that are not on the backend which their slot then names break"


def estimate(folder: Path, changed: AbstractSet[str], *, known: bool) -> Loss:
    """Look at the maps of a folder.

    Args:
        folder: Where they are pinned.
        changed: Names of those that are made anew.
        known: They are a release's of ours; if not, nothing is carried over.
    """
    flows, outer = spec_named("flows"), spec_named("rings")
    assert flows is not None
    assert outer is not None
    lost = _lost_flows(folder, flows, known=known) if flows.name in changed else 0
    rings = moving = tracked = 0
    for number, ring in _rings(folder):
        readable = carries_slots(ring.spec)
        rings += not known or ("rings" in changed and not (readable and number < outer.max_entries))
        if readable:
            with ring.view as raw, raw.cast("I") as words:
                counts = count(RING_SIZE, restore(words[:RING_SIZE], 0))
            moving, tracked = moving + counts[Kind.MOVING], tracked + counts[Kind.TRACKED]
    return Loss(lost, rings, moving, tracked)


def _lost_flows(folder: Path, new: MapSpec, *, known: bool) -> int:
    try:
        table = open_found(folder / new.name)
    except FileNotFoundError:
        return 0
    try:
        entries = count_flows(table)
    finally:
        table.close()
    return max(0, entries - new.max_entries) if known and new.has_elements_of(table.spec) else entries


def _rings(folder: Path) -> Iterator[tuple[int, PinnedMap]]:
    for path in folder.iterdir():
        number = ring_number(path.name)
        if number is None:
            continue
        opened = open_found(path)
        try:
            yield number, opened
        finally:
            opened.close()
