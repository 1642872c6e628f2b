# SPDX-License-Identifier: Apache-2.0
"""The whole path: live frames through a veth into the attached program, and back by XDP_TX, counted where they end."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from bench.arena import INTERFACE, Arena, BenchError
from bench.driver import Toolkit
from bench.gauge import Gauge
from bench.results import Live, Settings, spread
from bench.workloads import TCP4, Program
from lb.dataplane import libbpf
from lb.dataplane.pins import link_name

_SETTLE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Path:
    """``peer``: interface index of the veth's far end, where frames start and end; ``link``: the balancer's."""

    arena: Arena
    tools: Toolkit
    peer: int
    link: int

    def send(self, program: Program, flows: int, frames: int) -> tuple[float, float]:
        """Millions of frames a second that came back, and their share of those that were sent."""
        libbpf.link_update(self.link, self.arena.programs[program])
        self.tools.sender.aim(TCP4, flows)
        packets_before, bytes_before = self.tools.drained()
        start = time.perf_counter()
        self.tools.sender.send(self.peer, frames)
        seconds = time.perf_counter() - start
        self._settle(packets_before + frames)
        packets, size = self.tools.drained()
        packets, size = packets - packets_before, size - bytes_before
        expected = TCP4.shape.frame_bytes + (TCP4.shape.outer_bytes if program.is_balancer else 0)
        if not packets or size != packets * expected:
            raise BenchError(f"veth, {program}: {packets} frames came back with {size} bytes, not {expected} each")
        return packets / seconds / 1e6, packets / frames

    def compare(self, flows: int, frames: int) -> tuple[float, float, float, float]:
        """The bare program's rate, the balancer's, their ratio, and the smaller share of frames that came back."""
        bare, bare_share = self.send(Program.EMPTY, flows, frames)
        balancer, share = self.send(Program.STABLE, flows, frames)
        return bare, balancer, balancer / bare, min(bare_share, share)

    def _settle(self, expected: int) -> None:
        """The last batch may still be on its way."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while self.tools.drained()[0] < expected and time.monotonic() < deadline:
            time.sleep(0.001)


@contextmanager
def _path(where: Arena, tools: Toolkit) -> Iterator[_Path]:
    where.enter()
    peer = socket.if_nametoindex(f"{INTERFACE}p")
    drain = libbpf.link_create(tools.drain, peer, libbpf.XDP_FLAGS_DRV_MODE)
    try:
        link = libbpf.obj_get(where.box.bpf_dir / link_name(INTERFACE))
        try:
            yield _Path(where, tools, peer, link)
        finally:
            libbpf.link_update(link, where.programs[Program.STABLE])
            os.close(link)
    finally:
        os.close(drain)


def measure_live(where: Arena, tools: Toolkit, settings: Settings, gauge: Gauge) -> list[Live]:
    """The stable balancer against a bare XDP_TX, with 1 flow and with the most there are. Raises ``BenchError``."""
    counts = [flows for flows in TCP4.flows if flows <= settings.max_flows]
    found = []
    with _path(where, tools) as path:
        for flows in dict.fromkeys((counts[0], counts[-1])):
            path.send(Program.STABLE, flows, settings.live_frames)  # fills caches and page pool
            rounds = [gauge.sample(partial(path.compare, flows, settings.live_frames)) for _ in range(settings.rounds)]
            bares, balancers, ratios, shares = zip(*rounds, strict=True)
            found.append(Live(flows, spread(bares), spread(balancers), spread(ratios), min(shares)))
    return found
