# SPDX-License-Identifier: Apache-2.0
"""From the maps of another layout to those of this release, without a packet that sees half of each.

``maps~new`` is built and filled beside ``maps``, with which the running program goes on. Only when the new program is
about to be attached do the folders change names. A daemon that does not get as far leaves everything as it was.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from pathlib import Path

from lb.core.errors import UnavailableError
from lb.dataplane import libbpf, maps
from lb.dataplane.carry import carries_slots, carry, copy_flows
from lb.dataplane.loss import estimate
from lb.dataplane.map_set import MapSet, PinnedMap, open_found, open_pinned
from lb.dataplane.maps import META, RING, ring_number, spec_named
from lb.dataplane.meta import Origin, origin, seal
from lb.dataplane.pins import MAPS, NEW_MAPS, OLD_MAPS, PROGRAM

log = logging.getLogger("lb.dataplane")


class Generation:
    """Which maps a daemon works with: new ones, those that are there, or a new generation beside those."""

    def __init__(self, bpf_dir: Path, *, replace: bool) -> None:
        """``replace``: go on where flows would lose their backend."""
        self._bpf_dir = bpf_dir
        self._replace = replace
        self._maps = bpf_dir / MAPS
        self._new = bpf_dir / NEW_MAPS
        self._old = bpf_dir / OLD_MAPS
        self._changed: AbstractSet[str] = frozenset()
        self._carried = False

    def open(self, opened: MapSet) -> None:
        """Make, adopt or build the maps. Raises ``UnavailableError`` where that would cost flows, and ``OSError``."""
        self._recover()
        found = origin(self._maps)
        if found is Origin.NOBODY and self._maps.exists():
            if (self._bpf_dir / PROGRAM).exists():
                found = Origin.UNKNOWN
            else:
                # Their making was cut short; nothing can have used them.
                shutil.rmtree(self._maps)
        if found in (Origin.OTHER_LAYOUT, Origin.UNKNOWN):
            self._begin(known=found is Origin.OTHER_LAYOUT)
        opened.open(self._new if self._changed else self._maps)
        seal(opened[META.name])

    def _recover(self) -> None:
        """Bring an upgrade to its end that was cut short between two steps, or clear its remains away."""
        if not self._maps.exists() and self._old.exists():
            (self._new if self._new.exists() else self._old).rename(self._maps)
        for left in (self._old, self._new):
            if left.exists():
                shutil.rmtree(left)

    def _begin(self, *, known: bool) -> None:
        known = known and all(_is_mapped(self._maps / name) for name in ("backends", "ring_infos"))
        changed = _changed(self._maps) if known else frozenset(spec.name for spec in maps.PERSISTENT)
        loss = estimate(self._maps, changed, known=known)
        if not self._replace and (loss or not known):
            whose = "are of another release" if known else "are none that this release knows"
            raise UnavailableError(
                f"the maps under {self._maps} {whose}, and cannot all be carried over. What `lbd --replace` would "
                f"cost: {loss}"
            )
        if not changed:
            return
        log.warning("the maps are of another release: %s are made anew", ", ".join(sorted(changed)))
        if loss:
            log.warning("--replace: %s", loss)
        self._changed, self._carried = changed, known
        self._build()

    def _build(self) -> None:
        """Pin the maps that stay in the new folder, too, and fill those of the others that are not filled later."""
        self._new.mkdir(mode=0o700)
        for path in sorted(self._maps.iterdir()):
            spec = spec_named(path.name)
            if spec is None or spec.name == META.name:
                continue
            if ("rings" if spec is RING else spec.name) not in self._changed:
                fd = libbpf.obj_get(path)
                try:
                    libbpf.obj_pin(fd, self._new / path.name)
                finally:
                    os.close(fd)
            elif self._carried:
                self._fill(path)

    def _fill(self, path: Path) -> None:
        spec = spec_named(path.name)
        assert spec is not None
        with ExitStack() as stack:
            old = _opened(path, stack)
            if spec is RING and not carries_slots(old.spec):
                return
            new = open_pinned(spec, self._new / path.name)
            stack.callback(new.close)
            carry(old, new)

    def swap(self, opened: MapSet, fence: Callable[[], None]) -> bool:
        """Put the new folder in the place of the old one; the new program has to be attached next, then ``finish``.

        Returns False, having done nothing, when there is no new one.
        """
        if not self._changed:
            return False
        if self._carried and "flows" in self._changed:
            self._carry_flows(opened["flows"], fence)
        self._maps.rename(self._old)
        self._new.rename(self._maps)
        opened.moved_to(self._maps)
        self._changed = frozenset()
        return True

    def _carry_flows(self, new: PinnedMap, fence: Callable[[], None]) -> None:
        """Copy the flow table while it is in use.

        Its budgets end first. Flows are then refused, which costs none of them its backend (SLOTS.md), and no entry is
        made that the copy lacks. What packets change in entries meanwhile comes with a second, quicker look.
        """
        with ExitStack() as stack:
            old = _opened(self._maps / "flows", stack)
            if not new.spec.has_elements_of(old.spec):
                return
            budgets = _opened(self._maps / "budgets", stack)
            libbpf.map_update(budgets.fd, bytes(4), bytes(budgets.spec.value_size))
            fence()
            began = int(time.monotonic())
            lost = copy_flows(old, new)
            copy_flows(old, new, seen_since=began)
        if lost:
            log.warning("%d tracked flows found no room in the new flow table", lost)

    def finish(self) -> None:
        """Forget the old maps: no program that uses them is attached any more."""
        shutil.rmtree(self._old)


def _opened(path: Path, stack: ExitStack) -> PinnedMap:
    opened = open_found(path)
    stack.callback(opened.close)
    return opened


def _is_mapped(path: Path) -> bool:
    try:
        opened = open_found(path)
    except FileNotFoundError:
        return False
    opened.close()
    return opened.memory is not None


def _changed(folder: Path) -> frozenset[str]:
    """Maps that this release has otherwise, and those that go with them."""
    changed = {spec.name for spec in maps.PERSISTENT if not _is_same(folder, spec.name)}
    if not all(_is_same(folder, path.name) for path in folder.iterdir() if ring_number(path.name) is not None):
        changed.add("rings")
    return frozenset(changed.union(*(group for group in maps.TOGETHER if changed & group)))


def _is_same(folder: Path, name: str) -> bool:
    spec = spec_named(name)
    assert spec is not None
    try:
        found = open_found(folder / name)
    except FileNotFoundError:
        return False
    found.close()
    return found.spec.layout == spec.layout
