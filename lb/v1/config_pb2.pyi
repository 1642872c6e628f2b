import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from lb.v1 import pool_pb2 as _pool_pb2
from lb.v1 import vip_pb2 as _vip_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetConfigRequest(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class ApplyConfigRequest(_message.Message):
    __slots__ = ("config", "base_revision", "prune", "max_move_percent", "validate_only")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    BASE_REVISION_FIELD_NUMBER: _ClassVar[int]
    PRUNE_FIELD_NUMBER: _ClassVar[int]
    MAX_MOVE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    config: Config
    base_revision: int
    prune: bool
    max_move_percent: float
    validate_only: bool
    def __init__(self, config: _Optional[_Union[Config, _Mapping]] = ..., base_revision: _Optional[int] = ..., prune: _Optional[bool] = ..., max_move_percent: _Optional[float] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class ApplyConfigResponse(_message.Message):
    __slots__ = ("revision", "differences", "impacts")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    IMPACTS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    differences: _containers.RepeatedCompositeFieldContainer[Difference]
    impacts: _containers.RepeatedCompositeFieldContainer[Impact]
    def __init__(self, revision: _Optional[int] = ..., differences: _Optional[_Iterable[_Union[Difference, _Mapping]]] = ..., impacts: _Optional[_Iterable[_Union[Impact, _Mapping]]] = ...) -> None: ...

class Difference(_message.Message):
    __slots__ = ("action", "name", "fields")
    class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ACTION_UNSPECIFIED: _ClassVar[Difference.Action]
        ADDED: _ClassVar[Difference.Action]
        CHANGED: _ClassVar[Difference.Action]
        REMOVED: _ClassVar[Difference.Action]
    ACTION_UNSPECIFIED: Difference.Action
    ADDED: Difference.Action
    CHANGED: Difference.Action
    REMOVED: Difference.Action
    class Field(_message.Message):
        __slots__ = ("name", "old", "new")
        NAME_FIELD_NUMBER: _ClassVar[int]
        OLD_FIELD_NUMBER: _ClassVar[int]
        NEW_FIELD_NUMBER: _ClassVar[int]
        name: str
        old: str
        new: str
        def __init__(self, name: _Optional[str] = ..., old: _Optional[str] = ..., new: _Optional[str] = ...) -> None: ...
    ACTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    action: Difference.Action
    name: str
    fields: _containers.RepeatedCompositeFieldContainer[Difference.Field]
    def __init__(self, action: _Optional[_Union[Difference.Action, str]] = ..., name: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[Difference.Field, _Mapping]]] = ...) -> None: ...

class Impact(_message.Message):
    __slots__ = ("pool", "protocol", "moved_slots", "cut_slots", "new_flows_percent", "existing_flows_percent", "measured_moved_slots")
    POOL_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    MOVED_SLOTS_FIELD_NUMBER: _ClassVar[int]
    CUT_SLOTS_FIELD_NUMBER: _ClassVar[int]
    NEW_FLOWS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    EXISTING_FLOWS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MEASURED_MOVED_SLOTS_FIELD_NUMBER: _ClassVar[int]
    pool: str
    protocol: str
    moved_slots: int
    cut_slots: int
    new_flows_percent: float
    existing_flows_percent: float
    measured_moved_slots: int
    def __init__(self, pool: _Optional[str] = ..., protocol: _Optional[str] = ..., moved_slots: _Optional[int] = ..., cut_slots: _Optional[int] = ..., new_flows_percent: _Optional[float] = ..., existing_flows_percent: _Optional[float] = ..., measured_moved_slots: _Optional[int] = ...) -> None: ...

class ListRevisionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRevisionsResponse(_message.Message):
    __slots__ = ("revisions", "next_page_token")
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    revisions: _containers.RepeatedCompositeFieldContainer[Revision]
    next_page_token: str
    def __init__(self, revisions: _Optional[_Iterable[_Union[Revision, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Revision(_message.Message):
    __slots__ = ("revision", "time", "who", "origin", "method", "differences", "note")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    revision: int
    time: _timestamp_pb2.Timestamp
    who: str
    origin: str
    method: str
    differences: _containers.RepeatedCompositeFieldContainer[Difference]
    note: str
    def __init__(self, revision: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., who: _Optional[str] = ..., origin: _Optional[str] = ..., method: _Optional[str] = ..., differences: _Optional[_Iterable[_Union[Difference, _Mapping]]] = ..., note: _Optional[str] = ...) -> None: ...

class RollbackConfigRequest(_message.Message):
    __slots__ = ("revision", "base_revision", "max_move_percent", "validate_only")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    BASE_REVISION_FIELD_NUMBER: _ClassVar[int]
    MAX_MOVE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    revision: int
    base_revision: int
    max_move_percent: float
    validate_only: bool
    def __init__(self, revision: _Optional[int] = ..., base_revision: _Optional[int] = ..., max_move_percent: _Optional[float] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class VerifyDataPlaneRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VerifyDataPlaneResponse(_message.Message):
    __slots__ = ("revision", "compared", "problems")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    compared: int
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, revision: _Optional[int] = ..., compared: _Optional[int] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...

class Config(_message.Message):
    __slots__ = ("settings", "pools", "vips")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    VIPS_FIELD_NUMBER: _ClassVar[int]
    settings: Settings
    pools: _containers.RepeatedCompositeFieldContainer[_pool_pb2.Pool]
    vips: _containers.RepeatedCompositeFieldContainer[_vip_pb2.Vip]
    def __init__(self, settings: _Optional[_Union[Settings, _Mapping]] = ..., pools: _Optional[_Iterable[_Union[_pool_pb2.Pool, _Mapping]]] = ..., vips: _Optional[_Iterable[_Union[_vip_pb2.Vip, _Mapping]]] = ...) -> None: ...

class Settings(_message.Message):
    __slots__ = ("hash_key", "outer_source_ipv4", "outer_source_ipv6")
    HASH_KEY_FIELD_NUMBER: _ClassVar[int]
    OUTER_SOURCE_IPV4_FIELD_NUMBER: _ClassVar[int]
    OUTER_SOURCE_IPV6_FIELD_NUMBER: _ClassVar[int]
    hash_key: str
    outer_source_ipv4: str
    outer_source_ipv6: str
    def __init__(self, hash_key: _Optional[str] = ..., outer_source_ipv4: _Optional[str] = ..., outer_source_ipv6: _Optional[str] = ...) -> None: ...
