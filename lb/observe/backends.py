# SPDX-License-Identifier: Apache-2.0
"""Findings about pools and backends from what lbd knows of them: next hops, health. Asks nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lb.core.health import Status
from lb.core.model import AdminState, Backend, BackendState, NextHop, Pool, View
from lb.core.resource_names import backend_name, pool_name
from lb.observe.findings import ok, problem, warning
from lb.ports import Finding

MAX_ASKED = 200
"""Backends that a diagnosis sends anything to."""

MAX_NAMED = 3
"""VIPs in one finding."""

_NOT_CHECKED = "not checked: "


@dataclass(frozen=True, slots=True)
class Member:
    """A backend that can be asked; ``subject``: how findings name it."""

    subject: str
    pool: Pool
    backend: Backend
    hop: NextHop


def examine_backends(view: View) -> Iterator[Finding]:
    """Look at every pool and backend of a configuration."""
    vips: dict[str, list[str]] = {}
    for vip in view.config.vips.values():
        vips.setdefault(vip.pool, []).append(vip.name)
    for pool in view.config.pools.values():
        yield from _ring(pool, view, vips.get(pool.name, []))
        for backend in pool.backends.values():
            subject = backend_name(pool.name, backend.name)
            state = view.backends[pool.name, backend.name]
            yield _next_hop(subject, backend, state)
            if pool.health_check is not None:
                yield _health(subject, backend, state)


def members_to_ask(view: View) -> tuple[list[Member], int]:
    """Backends that packets can be sent to, at most ``MAX_ASKED``, those that are not UP first; how many more are."""
    found: list[Member] = []
    later: list[Member] = []
    for pool in view.config.pools.values():
        for backend in pool.backends.values():
            state = view.backends[pool.name, backend.name]
            if backend.admin_state is AdminState.DISABLED or not isinstance(state.hop, NextHop):
                continue
            member = Member(backend_name(pool.name, backend.name), pool, backend, state.hop)
            (later if state.health.status is Status.UP else found).append(member)
    found += later
    return found[:MAX_ASKED], max(0, len(found) - MAX_ASKED)


def _ring(pool: Pool, view: View, vips: Sequence[str]) -> Iterator[Finding]:
    """What becomes of new flows when too few backends may have them; ``vips``: names of those that use the pool."""
    subject = pool_name(pool.name)
    if pool.name in view.failing_open:
        lower = ", or set --min-healthy lower" if pool.min_healthy_percent else ""
        observation, remedy = "backends that are not UP get flows: too few are", "mend the backends that are not UP"
        yield warning(subject, "fail open", observation, f"{remedy}{lower}")
    elif vips and all(view.backends[pool.name, backend].reason for backend in pool.backends):
        more = f" and {len(vips) - MAX_NAMED} more" if len(vips) > MAX_NAMED else ""
        names = f"{', '.join(sorted(vips)[:MAX_NAMED])}{more}"
        why = f"`lbctl backend list {pool.name}` says why" if pool.backends else "`lbctl backend create` adds one"
        yield problem(subject, "ring", f"no backend takes new flows: those to vip {names} are dropped", why)


def _next_hop(subject: str, backend: Backend, state: BackendState) -> Finding:
    hop = state.hop
    if isinstance(hop, NextHop):
        gateway = f" (gateway {hop.gateway})" if hop.gateway else ""
        return ok(subject, "next hop", f"{hop.mac.hex(':')} on {hop.interface}{gateway}")
    if backend.admin_state is AdminState.DISABLED:
        return ok(subject, "next hop", f"not needed while it is disabled: {hop.reason}")
    # Reasons are of the form "what is so: what to do".
    observation, _, remedy = hop.reason.partition(": ")
    return problem(subject, "next hop", observation, remedy or "wait a moment, then look again")


def _health(subject: str, backend: Backend, state: BackendState) -> Finding:
    health = state.health
    match backend.admin_state, health.status:
        case AdminState.DISABLED, _:
            return ok(subject, "health check", "disabled by the operator: not checked")
        case _, Status.UP if not health.reason:
            return ok(subject, "health check", "UP")
        case _, Status.UP:
            remedy = "watch it: more failures in a row make it DOWN"
            return warning(subject, "health check", f"UP, but the last probe failed: {health.reason}", remedy)
        case _, Status.DOWN:
            remedy = "see the tunnel and direct check; if it is not listed it passes: wait for more successes in a row"
            return problem(subject, "health check", f"DOWN: {health.reason}", remedy)
    if health.reason.startswith(_NOT_CHECKED):
        observation, _, remedy = health.reason.removeprefix(_NOT_CHECKED).partition(": ")
        return warning(subject, "health check", f"{_NOT_CHECKED}{observation}", remedy or "look at lbd's log")
    return warning(
        subject, "health check", f"no verdict: {health.reason or 'not probed yet'}", "wait for its first probes"
    )
