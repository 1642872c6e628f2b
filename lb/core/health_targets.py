# SPDX-License-Identifier: Apache-2.0
"""What has to be probed for a pool: where to, by which way, and why it cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from lb.core.checks import PROBE_MARK, CheckKind, CheckVia, HealthCheck, Target
from lb.core.model import Address, Protocol, Vip


@dataclass(frozen=True, slots=True)
class Frontends:
    """Of one pool, each the first by name: of all its VIPs, and of its TCP and UDP VIPs that have a port."""

    first: Vip | None = None
    tcp: Vip | None = None
    udp: Vip | None = None

    def with_port(self, kind: CheckKind) -> Vip | None:
        """Whose port to probe. Of the check's own protocol if possible: another service would not understand it."""
        return self.udp or self.tcp if kind is CheckKind.UDP else self.tcp or self.udp


@dataclass(frozen=True, slots=True)
class Way:
    """How the members of a pool are probed; ``vip``: through the tunnel to this address, None = to their own."""

    question: HealthCheck
    vip: Address | None
    port: int

    def target(self, backend: Address, index: int) -> Target:
        """The probe of one member; ``index``: a backend index of its address, by which the tunnel finds it."""
        if self.vip is None:
            return Target(self.question, backend, backend, self.port)
        return Target(self.question, backend, self.vip, self.port, PROBE_MARK | index)


@dataclass(frozen=True, slots=True)
class NoWay:
    """The members cannot be probed; ``reason`` in words that name the remedy."""

    reason: str


def frontends(vips: Iterable[Vip]) -> Mapping[str, Frontends]:
    """By pool name, of the pools that VIPs use."""
    found: dict[str, Frontends] = {}
    for vip in sorted(vips, key=lambda vip: vip.name):
        known = found.get(vip.pool) or Frontends(vip)
        if vip.port and vip.protocol is Protocol.TCP and known.tcp is None:
            known = replace(known, tcp=vip)
        elif vip.port and vip.protocol is Protocol.UDP and known.udp is None:
            known = replace(known, udp=vip)
        found[vip.pool] = known
    return found


def find_way(check: HealthCheck, front: Frontends, tunnel_problem: str) -> Way | NoWay:
    """How to probe the members of a pool.

    Args:
        check: The pool's.
        front: The pool's VIPs.
        tunnel_problem: Why nothing can be sent through the tunnel; "" = it works.
    """
    if check.via is CheckVia.TUNNEL and front.first is None:
        return NoWay(
            "not checked: no VIP uses the pool, so there is none to send through the tunnel: point a VIP at the pool, "
            "or set the health check's via to DIRECT"
        )
    if check.via is CheckVia.TUNNEL and tunnel_problem:
        return NoWay(
            f"not checked: the tunnel cannot be used: {tunnel_problem}; or set the health check's via to DIRECT"
        )
    port, vip = check.port, front.first
    if check.kind is CheckKind.ICMP:
        port = 0
    elif not port:
        # Together with that VIP's address: on another one nothing may listen there.
        vip = front.with_port(check.kind)
        if vip is None:
            return NoWay(
                "not checked: no port is known: set the health check's port, or point a VIP that has a port at the pool"
            )
        port = vip.port
    if vip is None or check.via is CheckVia.DIRECT or tunnel_problem:
        return Way(_question(check), None, port)
    return Way(_question(check), vip.address, port)


def _question(check: HealthCheck) -> HealthCheck:
    """The check without what does not change its probes, so that pools which differ in that share them."""
    return replace(check, via=None, port=0, rise=1, fall=1)
