# SPDX-License-Identifier: Apache-2.0
"""The pinned maps themselves, opened: made the first time, adopted afterwards."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lb.core.errors import UnavailableError
from lb.core.layout import VIP
from lb.core.vip_table import VipTable
from lb.dataplane import libbpf, maps
from lb.dataplane.maps import RING, MapSpec, ring_name, ring_number


@dataclass(frozen=True, slots=True)
class PinnedMap:
    """An open map and, for mmapable ones, its memory."""

    spec: MapSpec
    fd: int
    memory: mmap.mmap | None

    @property
    def view(self) -> memoryview:
        """Writable bytes of the whole map."""
        assert self.memory is not None
        return memoryview(self.memory)

    def close(self) -> None:
        """Close fd and memory."""
        if self.memory is not None:
            self.memory.close()
        os.close(self.fd)


def open_found(path: Path) -> PinnedMap:
    """Open the map pinned at ``path``, whatever its layout. Raises ``FileNotFoundError``."""
    fd = libbpf.obj_get(path)
    try:
        spec = maps.spec_of(path.name, libbpf.map_info(fd))
        return PinnedMap(spec, fd, _memory(spec, fd))
    except BaseException:
        os.close(fd)
        raise


def open_pinned(spec: MapSpec, path: Path) -> PinnedMap:
    """Adopt the map pinned at ``path``, or make and pin it. Raises ``UnavailableError`` on another layout."""
    try:
        fd = libbpf.obj_get(path)
    except FileNotFoundError:
        fd = spec.create()
        libbpf.obj_pin(fd, path)
    try:
        found = maps.spec_of(spec.name, libbpf.map_info(fd))
        if found.layout != spec.layout:
            raise UnavailableError(
                f"{path} is not the map that lbd pinned there (type, sizes, entries, flags and meaning are "
                f"{found.layout}, not {spec.layout}): `lbctl detach`, and start lbd again"
            )
        return PinnedMap(spec, fd, _memory(spec, fd))
    except BaseException:
        os.close(fd)
        raise


def _memory(spec: MapSpec, fd: int) -> mmap.mmap | None:
    if not spec.flags & libbpf.F_MMAPABLE:
        return None
    size = spec.value_size * spec.max_entries
    return mmap.mmap(fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)


def _element_id(outer_fd: int, key: bytes) -> int:
    try:
        return int.from_bytes(libbpf.map_lookup(outer_fd, key, 4), "little")
    except FileNotFoundError:
        return 0


class MapSet:
    """All pinned maps of one folder, by the names that the C source uses."""

    def __init__(self) -> None:
        self._folder = Path()
        self._maps: dict[str, PinnedMap] = {}

    def open(self, folder: Path) -> None:
        """Make or adopt every persistent map. Raises ``UnavailableError`` on another layout."""
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        for spec in maps.PERSISTENT:
            self._maps[spec.name] = open_pinned(spec, folder / spec.name)

    def moved_to(self, folder: Path) -> None:
        """The folder has another name from now on."""
        self._folder = folder

    def ring(self, number: int) -> PinnedMap:
        """Slot words of a ring; made, pinned and inserted when it is not there."""
        name = ring_name(number)
        if name not in self._maps:
            opened = open_pinned(RING, self._folder / name)
            self._maps[name] = opened
            # Not only when it is new: a crash may have come between pin and insertion. An update of an array of maps
            # waits for a grace period, so it is made only where it is needed.
            if not self.has_ring(number):
                libbpf.map_update(self["rings"].fd, number.to_bytes(4, "little"), opened.fd.to_bytes(4, "little"))
        return self._maps[name]

    def has_ring(self, number: int) -> bool:
        """Whether packets find a ring's slot words, the ones that are pinned under its number."""
        opened = self._maps.get(ring_name(number))
        if opened is None:
            return False
        return _element_id(self["rings"].fd, number.to_bytes(4, "little")) == libbpf.map_info(opened.fd).id

    def vip_table(self) -> VipTable:
        """The VIP table in force, or what a wrong control word makes of it."""
        with self["control"].view as raw, raw.cast("Q") as control:
            word = control[0]
        first, size_log2 = word & 0xFFFFFFFF, max(0, 32 - (word >> 32))
        with self["vips"].view as both:
            return VipTable(size_log2, bytes(both[first * VIP.size : (first + (1 << size_log2)) * VIP.size]))

    def rings(self) -> list[int]:
        """Numbers of the rings that were opened."""
        numbers = (ring_number(name) for name in self._maps)
        return [number for number in numbers if number is not None]

    def __getitem__(self, name: str) -> PinnedMap:
        return self._maps[name]

    def fds(self) -> Mapping[str, int]:
        """Name to fd, for binding instructions."""
        # Of a copy: rings are opened meanwhile, where one thread loads the program and another one plans.
        return {name: opened.fd for name, opened in self._maps.copy().items()}

    def close(self) -> None:
        """Close everything; the pins stay."""
        for opened in self._maps.values():
            opened.close()
        self._maps.clear()
