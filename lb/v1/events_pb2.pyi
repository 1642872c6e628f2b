import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from lb.v1 import config_pb2 as _config_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchRequest(_message.Message):
    __slots__ = ("start_revision",)
    START_REVISION_FIELD_NUMBER: _ClassVar[int]
    start_revision: int
    def __init__(self, start_revision: _Optional[int] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("time", "revision", "snapshot", "sync", "config", "health", "drain", "next_hop", "moves")
    TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOP_FIELD_NUMBER: _ClassVar[int]
    MOVES_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    revision: int
    snapshot: SnapshotItem
    sync: SyncMarker
    config: ConfigEvent
    health: HealthEvent
    drain: DrainEvent
    next_hop: NextHopEvent
    moves: MovesEvent
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., snapshot: _Optional[_Union[SnapshotItem, _Mapping]] = ..., sync: _Optional[_Union[SyncMarker, _Mapping]] = ..., config: _Optional[_Union[ConfigEvent, _Mapping]] = ..., health: _Optional[_Union[HealthEvent, _Mapping]] = ..., drain: _Optional[_Union[DrainEvent, _Mapping]] = ..., next_hop: _Optional[_Union[NextHopEvent, _Mapping]] = ..., moves: _Optional[_Union[MovesEvent, _Mapping]] = ...) -> None: ...

class SnapshotItem(_message.Message):
    __slots__ = ("name", "state")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class SyncMarker(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ConfigEvent(_message.Message):
    __slots__ = ("who", "differences")
    WHO_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    who: str
    differences: _containers.RepeatedCompositeFieldContainer[_config_pb2.Difference]
    def __init__(self, who: _Optional[str] = ..., differences: _Optional[_Iterable[_Union[_config_pb2.Difference, _Mapping]]] = ...) -> None: ...

class HealthEvent(_message.Message):
    __slots__ = ("backend", "state", "reason")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    backend: str
    state: str
    reason: str
    def __init__(self, backend: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DrainEvent(_message.Message):
    __slots__ = ("backend", "flows", "done")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    backend: str
    flows: int
    done: str
    def __init__(self, backend: _Optional[str] = ..., flows: _Optional[int] = ..., done: _Optional[str] = ...) -> None: ...

class NextHopEvent(_message.Message):
    __slots__ = ("backend", "via", "problem")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    VIA_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    backend: str
    via: str
    problem: str
    def __init__(self, backend: _Optional[str] = ..., via: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...

class MovesEvent(_message.Message):
    __slots__ = ("pool", "protocol")
    POOL_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    pool: str
    protocol: str
    def __init__(self, pool: _Optional[str] = ..., protocol: _Optional[str] = ...) -> None: ...
