# SPDX-License-Identifier: Apache-2.0
"""The two ways to ask a backend: through the tunnel, as clients' packets come, and directly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from lb.core.allocation import Allocation
from lb.core.checks import CheckKind, CheckVia, HealthCheck, Target
from lb.core.health_targets import Frontends, NoWay, Way, find_way, frontends
from lb.core.model import Pool, Protocol, View, Vip
from lb.observe.backends import Member

MAX_TIMEOUT_MS = 10_000
"""Of one probe, whatever the pool's check says: somebody waits for the diagnosis."""


TunnelProblem = Callable[[int], str]
"""Why VIPs of an IP version can't be reached through the tunnel; "" = they can."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask of a backend; ``no_tunnel``: why it can't be asked through the tunnel."""

    member: Member
    direct: Target | None
    tunnel: Target | None
    no_tunnel: str = ""


@dataclass(frozen=True, slots=True)
class _Ways:
    """Of a pool; None = there is none, of the tunnel because of ``no_tunnel``."""

    direct: Way | None
    tunnel: Way | None
    no_tunnel: str


def questions(
    members: Iterable[Member], view: View, allocation: Allocation, tunnel_problem: TunnelProblem
) -> list[Question]:
    """What to ask of backends: nothing of those whose pool has neither a health check nor a VIP.

    Args:
        members: The backends.
        view: The configuration that they are of.
        allocation: Their indices, by which the tunnel finds them.
        tunnel_problem: Why nothing can be sent through the tunnel.
    """
    vips: dict[str, list[Vip]] = {}
    for vip in sorted(view.config.vips.values(), key=lambda vip: vip.name):
        vips.setdefault(vip.pool, []).append(vip)
    ways: dict[str, _Ways] = {}
    found = []
    for member in members:
        pool, backend = member.pool, member.backend
        index = allocation.backends.get((pool.name, backend.name, str(backend.address)))
        # Without an index it has just gone.
        if index is None or (pool.health_check is None and pool.name not in vips):
            continue
        if pool.name not in ways:
            ways[pool.name] = _ways(pool, vips.get(pool.name, []), tunnel_problem)
        found.append(_question(member, index, ways[pool.name]))
    return found


def _question(member: Member, index: int, ways: _Ways) -> Question:
    address = member.backend.address
    direct = ways.direct.target(address, index) if ways.direct else None
    tunnel = ways.tunnel.target(address, index) if ways.tunnel else None
    return Question(member, direct, tunnel, ways.no_tunnel)


def _ways(pool: Pool, vips: Sequence[Vip], tunnel_problem: TunnelProblem) -> _Ways:
    """By the pool's check, or by what its first VIP serves."""
    front = frontends(vips).get(pool.name, Frontends())
    check = pool.health_check
    if check is None:
        check, front = _default(front, vips)
    check = replace(check, timeout_ms=min(check.timeout_ms, MAX_TIMEOUT_MS))
    direct = find_way(replace(check, via=CheckVia.DIRECT), front, "")
    tunnel = find_way(replace(check, via=CheckVia.TUNNEL), front, "")
    only = direct if isinstance(direct, Way) else None
    if isinstance(tunnel, NoWay) or tunnel.vip is None:
        return _Ways(only, None, _no_frontend(front))
    if tunnel_problem(tunnel.vip.version):
        return _Ways(only, None, "cannot be used")
    return _Ways(only, tunnel, "")


def _no_frontend(front: Frontends) -> str:
    return "no port is known: none of its VIPs has one" if front.first else "no VIP uses the pool"


def _default(front: Frontends, vips: Iterable[Vip]) -> tuple[HealthCheck, Frontends]:
    """A connection where a VIP has a TCP port, to the first such; else a ping."""
    tcp = next((vip for vip in vips if vip.protocol is Protocol.TCP and vip.port), None)
    if tcp is not None:
        return HealthCheck(CheckKind.TCP), Frontends(tcp, tcp)
    return HealthCheck(CheckKind.ICMP), front
