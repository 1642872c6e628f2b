# SPDX-License-Identifier: Apache-2.0
"""What `lbctl doctor` is told by a running daemon: the machine, the interfaces, and every backend, asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from lb.core.allocation import Allocation
from lb.core.model import Address, NextHop, View
from lb.observe.backends import MAX_ASKED, examine_backends, members_to_ask
from lb.observe.findings import ok, problem, warning, worst_first
from lb.observe.interfaces import examine_interface, examine_mtus
from lb.observe.machine import examine_machine, examine_privileges
from lb.observe.path_mtu import examine_paths
from lb.observe.reach import CHECK, examine_reach
from lb.observe.reverse_path import examine_reverse_paths
from lb.observe.ways import TunnelProblem, questions
from lb.ports import DataPlane, Finding


class InForce(Protocol):
    """What the doctor asks of the reconciler."""

    @property
    def failure(self) -> str: ...
    @property
    def allocation(self) -> Allocation: ...


class Doctor:
    """Looks at everything, one diagnosis at a time: who asks meanwhile gets the same.

    Args:
        data_plane: Tells which interfaces run the program.
        in_force: The reconciler.
        bpf_dir: Where the data plane is pinned.
        tunnel_problem: Why health checks of an IP version can't go through the tunnel; "" = they can.
    """

    def __init__(self, data_plane: DataPlane, in_force: InForce, bpf_dir: Path, tunnel_problem: TunnelProblem) -> None:
        self._data_plane = data_plane
        self._in_force = in_force
        self._bpf_dir = bpf_dir
        self._tunnel_problem = tunnel_problem
        self._diagnosis: asyncio.Task[Sequence[Finding]] | None = None

    async def diagnose(self, view: View) -> Sequence[Finding]:
        """Findings, the worst first. Sends packets to at most ``MAX_ASKED`` backends; takes half a minute at most."""
        if self._diagnosis is None or self._diagnosis.done():
            self._diagnosis = asyncio.create_task(self._diagnose(view), name="diagnosis")
        # Others may wait for it, too: a caller that hangs up does not end it.
        return await asyncio.shield(self._diagnosis)

    async def _diagnose(self, view: View) -> Sequence[Finding]:
        members, left_out = await asyncio.to_thread(members_to_ask, view)
        asked = questions(members, view, self._in_force.allocation, self._tunnel_problem)
        here, paths, reach = await asyncio.gather(
            asyncio.to_thread(lambda: list(self._look(view))), examine_paths(members), examine_reach(asked)
        )
        found = [*here, *paths, *reach]
        if left_out:
            found.append(
                ok("lbd", CHECK, f"{left_out} more backends were not asked: at most {MAX_ASKED} at a time are")
            )
        return worst_first(found)

    def _look(self, view: View) -> Iterator[Finding]:
        """At what can be seen without asking anybody; blocks."""
        yield from examine_machine(self._bpf_dir)
        yield from examine_privileges()
        yield self._maps()
        yield from self._tunnel(view)
        for state in self._data_plane.interfaces():
            yield from examine_interface(state)
        ways_out = list(_ways_out(view))
        yield from examine_mtus(ways_out)
        yield from examine_reverse_paths({hop.interface for hop, _ in ways_out}, self._answering(view))
        yield from examine_backends(view)

    def _answering(self, view: View) -> set[Address]:
        """Where answers to checks through the tunnel come from."""
        vips = {vip.address for vip in view.config.vips.values()}
        return {vip for vip in vips if not self._tunnel_problem(vip.version)}

    def _maps(self) -> Finding:
        failure = self._in_force.failure
        if not failure:
            return ok("lbd", "maps", "as the configuration says")
        return problem("lbd", "maps", failure, "lbd tries again each second; its log says more")

    def _tunnel(self, view: View) -> Iterator[Finding]:
        """For each IP version that VIPs have."""
        for version in sorted({vip.address.version for vip in view.config.vips.values()}):
            check = f"tunnel of health checks, IPv{version}"
            trouble = self._tunnel_problem(version)
            if trouble:
                remedy = "mend that, then restart lbd if it does not notice; until then backends are asked directly"
                yield warning("lbd", check, trouble, remedy)
            else:
                yield ok("lbd", check, "in use")


def _ways_out(view: View) -> Iterator[tuple[NextHop, int]]:
    for pool in view.config.pools.values():
        for backend in pool.backends.values():
            hop = view.backends[pool.name, backend.name].hop
            if isinstance(hop, NextHop):
                yield hop, backend.address.version
