# SPDX-License-Identifier: Apache-2.0
"""One event as one line. Pure: messages in, text out."""

from __future__ import annotations

from lb.cli.names import short
from lb.cli.plan_view import object_name, summary
from lb.v1.events_pb2 import DrainEvent, HealthEvent, NextHopEvent, WatchResponse


def event_line(event: WatchResponse) -> str:
    """ "12:03:07 web/b1 DOWN: connection refused". The time is UTC."""
    return f"{event.time.ToDatetime():%H:%M:%S} {_text(event)}"


def _text(event: WatchResponse) -> str:
    match event.WhichOneof("body"):
        case "snapshot":
            return f"{object_name(event.snapshot.name).removeprefix('backend ')} {event.snapshot.state}"
        case "config":
            return (
                f"revision {event.revision} by {event.config.who}: {summary(event.config.differences) or 'no object'}"
            )
        case "health":
            return _health(event.health)
        case "drain":
            return _drain(event.drain)
        case "next_hop":
            return _next_hop(event.next_hop)
        case "moves":
            return (
                f"pool {short(event.moves.pool)} {event.moves.protocol.lower()}: moves are held back, because flows "
                "cannot be tracked: see the flow table in `lbctl stats`"
            )
    return "an event that this lbctl does not know: it is older than lbd"


def _health(event: HealthEvent) -> str:
    reason = f": {event.reason}" if event.reason else ""
    return f"{short(event.backend)} {event.state}{reason}"


def _drain(event: DrainEvent) -> str:
    flows = f"{event.flows:,} {'flow' if event.flows == 1 else 'flows'}"
    what = {"": f"drains: {flows} left", "drained": "drained", "deadline": f"reached its deadline: {flows} were cut"}
    return f"{short(event.backend)} {what.get(event.done, event.done)}"


def _next_hop(event: NextHopEvent) -> str:
    return f"{short(event.backend)} " + (f"no next hop: {event.problem}" if event.problem else f"next hop {event.via}")
