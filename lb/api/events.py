# SPDX-License-Identifier: Apache-2.0
"""Events, and the snapshot before them, as messages of ``lb.v1``."""

from __future__ import annotations

from collections.abc import Iterator

from lb.api import names
from lb.api.changes import difference_to_proto, timestamp
from lb.core.events import ConfigChanged, DrainProgressed, Event, HealthChanged, MovesHeldBack, NextHopChanged
from lb.core.health import UNCHECKED, Status
from lb.core.model import BackendState, Pool, Unresolved, View, Vip
from lb.v1 import events_pb2


def event_to_proto(event: Event) -> events_pb2.WatchResponse:
    """One event."""
    message = events_pb2.WatchResponse(time=timestamp(event.at), revision=event.revision)
    match event.body:
        case ConfigChanged(who=who, differences=differences):
            message.config.CopyFrom(events_pb2.ConfigEvent(who=who, differences=map(difference_to_proto, differences)))
        case HealthChanged(pool, backend, status, reason):
            name = names.backend_name(pool, backend)
            message.health.CopyFrom(events_pb2.HealthEvent(backend=name, state=status.value, reason=reason))
        case DrainProgressed(pool, backend, flows, done):
            name = names.backend_name(pool, backend)
            message.drain.CopyFrom(events_pb2.DrainEvent(backend=name, flows=flows, done=done))
        case NextHopChanged(pool, backend, via, problem):
            name = names.backend_name(pool, backend)
            message.next_hop.CopyFrom(events_pb2.NextHopEvent(backend=name, via=via, problem=problem))
        case MovesHeldBack(pool, protocol):
            message.moves.CopyFrom(events_pb2.MovesEvent(pool=names.pool_name(pool), protocol=protocol.name))
    return message


def snapshot_to_proto(view: View, at: float) -> Iterator[events_pb2.WatchResponse]:
    """How everything is, one message for each resource, and the sync marker; ``at``: seconds since the epoch (UTC)."""
    now = timestamp(at)
    for name, state in _states(view):
        item = events_pb2.SnapshotItem(name=name, state=state)
        yield events_pb2.WatchResponse(time=now, revision=view.revision, snapshot=item)
    yield events_pb2.WatchResponse(time=now, revision=view.revision, sync=events_pb2.SyncMarker())


def _states(view: View) -> Iterator[tuple[str, str]]:
    """Resource names with what there is to say of each, in words: pools with their backends, then VIPs."""
    inside = {name: _inside(view, pool) for name, pool in view.config.pools.items()}
    for name, pool in sorted(view.config.pools.items()):
        yield names.pool_name(name), _pool_words(view, pool, inside[name])
        for member in sorted(pool.backends):
            yield names.backend_name(name, member), _backend_words(view.backends[name, member])
    for name, vip in sorted(view.config.vips.items()):
        yield names.vip_name(name), _vip_words(vip, inside[vip.pool])


def _inside(view: View, pool: Pool) -> int:
    """How many of a pool's backends take new flows."""
    return sum(not view.backends[pool.name, member].reason for member in pool.backends)


def _pool_words(view: View, pool: Pool, inside: int) -> str:
    words = [f"{inside} of {len(pool.backends)} backends take new flows"]
    if pool.name in view.failing_open:
        words.append("fails open: too few backends are UP, so all are used")
    for ring in view.rings.get(pool.name, ()):
        if ring.held_back:
            words.append(f"{ring.protocol.name} moves are held back: flows cannot be tracked")
    return "; ".join(words)


def _vip_words(vip: Vip, inside: int) -> str:
    pool = names.pool_name(vip.pool)
    if not inside:
        return f"dropped: no backend of {pool} takes new flows"
    return f"balanced over {inside} {'backend' if inside == 1 else 'backends'} of {pool}"


def _backend_words(state: BackendState) -> str:
    words = []
    if state.health != UNCHECKED:
        reason = "" if state.health.status is Status.UP else state.health.reason
        words.append(f"{state.health.status.value}: {reason}" if reason else state.health.status.value)
    if isinstance(state.hop, Unresolved):
        words.append(f"unresolved: {state.hop.reason}")
    elif state.reason and state.health.status is Status.UP:
        words.append(f"takes no new flows: {state.reason}")
    if state.drain is not None:
        words.append("drained" if state.drain.drained else f"{state.drain.flows} flows left")
    return "; ".join(words) or Status.UP.value
