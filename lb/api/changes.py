# SPDX-License-Identifier: Apache-2.0
"""What changed, what that does to flows, and the history of both, as messages of ``lb.v1``."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from lb.api import names
from lb.core.audit import Action, Difference, Record
from lb.core.impact import Impact
from lb.ports import Applied
from lb.v1 import config_pb2

PERCENT = 100.0

_ACTIONS = {
    Action.ADDED: config_pb2.Difference.ADDED,
    Action.CHANGED: config_pb2.Difference.CHANGED,
    Action.REMOVED: config_pb2.Difference.REMOVED,
}


def timestamp(at: float) -> Timestamp:
    """A point in time; ``at``: seconds since the epoch (UTC)."""
    moment = Timestamp()
    moment.FromMicroseconds(round(at * 1e6))
    return moment


def difference_to_proto(difference: Difference) -> config_pb2.Difference:
    """One object that differs."""
    return config_pb2.Difference(
        action=_ACTIONS[difference.action],
        name=difference.name,
        fields=[config_pb2.Difference.Field(name=name, old=old, new=new) for name, old, new in difference.fields],
    )


def applied_to_proto(applied: Applied) -> config_pb2.ApplyConfigResponse:
    """What a change did, or would do; what was measured stands beside what was predicted."""
    predicted = {(item.pool, item.protocol): item for item in applied.predicted}
    measured = {(item.pool, item.protocol): item for item in applied.measured}
    return config_pb2.ApplyConfigResponse(
        revision=applied.view.revision,
        differences=map(difference_to_proto, applied.differences),
        # A ring that moved without having been predicted must not be hidden.
        impacts=[_impact(predicted.get(ring, Impact(*ring)), measured.get(ring)) for ring in {**predicted, **measured}],
    )


def record_to_proto(record: Record) -> config_pb2.Revision:
    """One entry of the history."""
    return config_pb2.Revision(
        revision=record.revision,
        time=timestamp(record.at),
        who=record.caller.who,
        origin=record.caller.origin,
        method=record.caller.method,
        differences=map(difference_to_proto, record.differences),
        note=record.note,
    )


def _impact(predicted: Impact, measured: Impact | None) -> config_pb2.Impact:
    return config_pb2.Impact(
        pool=names.pool_name(predicted.pool),
        protocol=predicted.protocol.name,
        moved_slots=predicted.moved,
        cut_slots=predicted.cut,
        new_flows_percent=PERCENT * predicted.new_share,
        existing_flows_percent=PERCENT * predicted.old_share,
        measured_moved_slots=measured.moved if measured else None,
    )
