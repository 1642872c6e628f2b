# SPDX-License-Identifier: Apache-2.0
"""Who was promised what: every flow, the backend that it is on, and until when the promise holds.

Knows nothing of slots and entries. Errs on the side of a shorter promise where the clock leaves a doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable
from dataclasses import dataclass, field

from packets.promise.frames import Client, Kind

from lb.core.model import Protocol


@dataclass(slots=True)
class Flow:
    """A protected flow. ``backend``: index. ``spoke``: seconds, just before its last packet."""

    backend: int
    kind: Kind
    spoke: float


@dataclass(slots=True)
class Limits:
    """Seconds of silence that end a promise; ``drain`` for flows of the backends in ``draining``."""

    tcp: int
    udp: int
    drain: int
    draining: frozenset[int] = frozenset()

    def of(self, protocol: Protocol, flow: Flow) -> int:
        """The limit of one flow."""
        limit = self.udp if protocol is Protocol.UDP else self.tcp
        if flow.kind is Kind.SYN:
            limit = min(limit, 75)
        elif flow.kind is Kind.FIN:
            limit = min(limit, 120)
        return min(limit, self.drain) if flow.backend in self.draining else limit


@dataclass(slots=True)
class Book:
    """``flows``: those that a promise holds for."""

    limits: Limits
    flows: dict[Client, Flow] = field(default_factory=dict)
    kept: int = 0
    """Packets that a promise was checked for."""

    def saw(self, client: Client, kind: Kind, backend: int, before: float, after: float, accepting: bool) -> None:
        """A packet went to ``backend`` (0: dropped) between two readings of the clock."""
        if kind is not Kind.SYN:
            self.expire(after, [client])
            flow = self.flows.get(client)
            if flow is not None:
                assert backend == flow.backend, (
                    f"{client}: {kind.name} {after - flow.spoke:.1f} s after {flow.kind.name} went to {backend}, "
                    f"the flow is on {flow.backend}"
                )
                self.kept += 1
                # What follows a FIN belongs to a flow that is closing, until the next SYN.
                flow.kind = flow.kind if flow.kind is Kind.FIN else kind
                flow.spoke = before
                if kind is Kind.RST:
                    del self.flows[client]
                return
        if kind in (Kind.SYN, Kind.UDP):
            self.flows.pop(client, None)
            if accepting:
                self.flows[client] = Flow(backend, kind, before)

    def expire(self, now: float, some: Iterable[Client] | None = None) -> None:
        """End the promises of clients that have been silent for too long."""
        for client in list(self.flows) if some is None else some:
            flow = self.flows.get(client)
            if flow is not None and now - flow.spoke >= self.limits.of(client.vip.protocol, flow):
                del self.flows[client]

    def change_limits(self, now: float, limits: Limits) -> None:
        """A flow that was too silent by the old limits or by the new ones is given up."""
        self.expire(now)
        self.limits = limits
        self.expire(now)

    def stopped(self, backends: Container[int]) -> None:
        """Backends ceased to accept: their flows are cut."""
        self.drop(lambda client, flow: flow.backend in backends)  # noqa: ARG005

    def vips_gone(self, present: Collection[str]) -> None:
        """VIPs were deleted."""
        self.drop(lambda client, flow: client.vip.name not in present)  # noqa: ARG005

    def drop(self, condition: Callable[[Client, Flow], bool]) -> None:
        """End promises."""
        self.flows = {client: flow for client, flow in self.flows.items() if not condition(client, flow)}

    def shift(self, seconds: int) -> None:
        """So many seconds pass."""
        for flow in self.flows.values():
            flow.spoke -= seconds
