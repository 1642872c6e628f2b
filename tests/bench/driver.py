# SPDX-License-Identifier: Apache-2.0
"""driver.c: compiled once, loaded per kind of frame, aimed at one program after another."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.workloads import Shape, Workload, driver_defines
from lb.dataplane import libbpf
from lb.dataplane.compiler import Object, compile_source
from lb.dataplane.source import Source

_MAP_PROG_ARRAY = 3
_WORKLOAD = struct.Struct("=IIII")
_DRAINED = struct.Struct("=QQ")
_KEY = bytes(4)
_LIVE_FRAMES = 1 << 1
_BATCH = 64

_YARDSTICKS = ("empty", "floor4", "floor6", "drain")
_MAPS = ("workload", "position", "drained", "next")
_FUNCTIONS = (*(f"drive_{shape.key}" for shape in Shape), "send_tcp4", *_YARDSTICKS)


def _create_maps() -> dict[str, int]:
    return {
        "workload": libbpf.map_create(libbpf.MAP_ARRAY, "workload", 4, _WORKLOAD.size, 1),
        "position": libbpf.map_create(libbpf.MAP_PERCPU_ARRAY, "position", 4, 8, 1),
        "drained": libbpf.map_create(libbpf.MAP_PERCPU_ARRAY, "drained", 4, _DRAINED.size, 1),
        "next": libbpf.map_create(_MAP_PROG_ARRAY, "next", 4, 4, 1),
    }


@dataclass(frozen=True, slots=True)
class Driver:
    """A packet source: the program to run, and the maps that say what it sends and to whom."""

    program: int
    maps: Mapping[str, int]
    frame_bytes: int

    def aim(self, workload: Workload, flows: int, target: int | None = None) -> None:
        """Send ``flows`` flows of a workload from now on; ``target``: fd of the program under test."""
        packed = _WORKLOAD.pack(flows, workload.vips, workload.tcp_flags, 0)
        libbpf.map_update(self.maps["workload"], _KEY, packed)
        if target is not None:
            libbpf.map_update(self.maps["next"], _KEY, target.to_bytes(4, "little"))

    def run(self, ifindex: int, repeat: int) -> libbpf.ProgRun:
        """``repeat`` packets that arrive on an interface of the caller's network namespace."""
        return libbpf.prog_run(self.program, bytes(self.frame_bytes), ifindex=ifindex, repeat=repeat)

    def send(self, ifindex: int, repeat: int) -> None:
        """``repeat`` live frames out of that interface. Says nothing about delivery: see ``Toolkit.drained``."""
        libbpf.prog_run(
            self.program, bytes(self.frame_bytes), ifindex=ifindex, repeat=repeat, flags=_LIVE_FRAMES, batch=_BATCH
        )


class Toolkit:
    """All programs of driver.c, loaded."""

    def __init__(self, compiled: Object) -> None:
        self._fds: list[int] = []
        self._compiled = compiled
        self._drain_maps = self._new_maps()
        self.drivers = {shape: self._driver(f"drive_{shape.key}", shape) for shape in Shape}
        self.sender = self._driver("send_tcp4", Shape.TCP4)
        self.empty, self.floor4, self.floor6, self.drain = (self._load(n, self._drain_maps) for n in _YARDSTICKS)

    def _new_maps(self) -> dict[str, int]:
        maps = _create_maps()
        self._fds += maps.values()
        return maps

    def _load(self, function: str, maps: Mapping[str, int]) -> int:
        fd = libbpf.prog_load(function, self._compiled.bind(function, maps))
        self._fds.append(fd)
        return fd

    def _driver(self, function: str, shape: Shape) -> Driver:
        maps = self._new_maps()
        return Driver(self._load(function, maps), maps, shape.frame_bytes)

    def drained(self) -> tuple[int, int]:
        """Packets and bytes that the drain has seen, on all CPUs."""
        raw = libbpf.map_lookup(self._drain_maps["drained"], _KEY, _DRAINED.size * libbpf.possible_cpus())
        counts = list(_DRAINED.iter_unpack(raw))
        return sum(packets for packets, _ in counts), sum(size for _, size in counts)

    def close(self) -> None:
        """Unload."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()


@contextmanager
def toolkit() -> Iterator[Toolkit]:
    """Compile and load driver.c. Raises the compiler's ``LbError``, or ``OSError``."""
    text = (Path(__file__).parent / "driver.c").read_text()
    source = Source(f'#line 1 "driver.c"\n{text}', driver_defines())
    made = Toolkit(compile_source(source, _FUNCTIONS, _MAPS, cflags=["-Werror"]))
    try:
        yield made
    finally:
        made.close()
