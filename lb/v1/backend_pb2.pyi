import datetime

from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Backend(_message.Message):
    __slots__ = ("name", "address", "weight", "admin_state", "drain_deadline_at_seconds", "status", "etag")
    class AdminState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ADMIN_STATE_UNSPECIFIED: _ClassVar[Backend.AdminState]
        ENABLED: _ClassVar[Backend.AdminState]
        DRAINING: _ClassVar[Backend.AdminState]
        DISABLED: _ClassVar[Backend.AdminState]
    ADMIN_STATE_UNSPECIFIED: Backend.AdminState
    ENABLED: Backend.AdminState
    DRAINING: Backend.AdminState
    DISABLED: Backend.AdminState
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ADMIN_STATE_FIELD_NUMBER: _ClassVar[int]
    DRAIN_DEADLINE_AT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    weight: int
    admin_state: Backend.AdminState
    drain_deadline_at_seconds: int
    status: BackendStatus
    etag: str
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., weight: _Optional[int] = ..., admin_state: _Optional[_Union[Backend.AdminState, str]] = ..., drain_deadline_at_seconds: _Optional[int] = ..., status: _Optional[_Union[BackendStatus, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class BackendStatus(_message.Message):
    __slots__ = ("in_ring", "slots", "reason", "next_hop", "health", "drain")
    IN_RING_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOP_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    in_ring: bool
    slots: int
    reason: str
    next_hop: NextHop
    health: HealthStatus
    drain: DrainStatus
    def __init__(self, in_ring: _Optional[bool] = ..., slots: _Optional[int] = ..., reason: _Optional[str] = ..., next_hop: _Optional[_Union[NextHop, _Mapping]] = ..., health: _Optional[_Union[HealthStatus, _Mapping]] = ..., drain: _Optional[_Union[DrainStatus, _Mapping]] = ...) -> None: ...

class HealthStatus(_message.Message):
    __slots__ = ("state", "since", "last_error", "weight_percent")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[HealthStatus.State]
        UNCHECKED: _ClassVar[HealthStatus.State]
        UNKNOWN: _ClassVar[HealthStatus.State]
        UP: _ClassVar[HealthStatus.State]
        DOWN: _ClassVar[HealthStatus.State]
    STATE_UNSPECIFIED: HealthStatus.State
    UNCHECKED: HealthStatus.State
    UNKNOWN: HealthStatus.State
    UP: HealthStatus.State
    DOWN: HealthStatus.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_PERCENT_FIELD_NUMBER: _ClassVar[int]
    state: HealthStatus.State
    since: _timestamp_pb2.Timestamp
    last_error: str
    weight_percent: int
    def __init__(self, state: _Optional[_Union[HealthStatus.State, str]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_error: _Optional[str] = ..., weight_percent: _Optional[int] = ...) -> None: ...

class DrainStatus(_message.Message):
    __slots__ = ("flows", "packets_per_second", "untracked_until", "drained", "cut_flows", "closing_flows")
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    PACKETS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    UNTRACKED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    CUT_FLOWS_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FLOWS_FIELD_NUMBER: _ClassVar[int]
    flows: int
    packets_per_second: float
    untracked_until: _timestamp_pb2.Timestamp
    drained: bool
    cut_flows: int
    closing_flows: int
    def __init__(self, flows: _Optional[int] = ..., packets_per_second: _Optional[float] = ..., untracked_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., drained: _Optional[bool] = ..., cut_flows: _Optional[int] = ..., closing_flows: _Optional[int] = ...) -> None: ...

class NextHop(_message.Message):
    __slots__ = ("state", "reason", "interface", "gateway", "mac", "mtu_bytes")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[NextHop.State]
        RESOLVED: _ClassVar[NextHop.State]
        UNRESOLVED: _ClassVar[NextHop.State]
    STATE_UNSPECIFIED: NextHop.State
    RESOLVED: NextHop.State
    UNRESOLVED: NextHop.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    MTU_BYTES_FIELD_NUMBER: _ClassVar[int]
    state: NextHop.State
    reason: str
    interface: str
    gateway: str
    mac: str
    mtu_bytes: int
    def __init__(self, state: _Optional[_Union[NextHop.State, str]] = ..., reason: _Optional[str] = ..., interface: _Optional[str] = ..., gateway: _Optional[str] = ..., mac: _Optional[str] = ..., mtu_bytes: _Optional[int] = ...) -> None: ...

class GetBackendRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListBackendsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBackendsResponse(_message.Message):
    __slots__ = ("backends", "next_page_token")
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    backends: _containers.RepeatedCompositeFieldContainer[Backend]
    next_page_token: str
    def __init__(self, backends: _Optional[_Iterable[_Union[Backend, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CreateBackendRequest(_message.Message):
    __slots__ = ("parent", "backend_id", "backend", "validate_only")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    BACKEND_ID_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    backend_id: str
    backend: Backend
    validate_only: bool
    def __init__(self, parent: _Optional[str] = ..., backend_id: _Optional[str] = ..., backend: _Optional[_Union[Backend, _Mapping]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class UpdateBackendRequest(_message.Message):
    __slots__ = ("backend", "update_mask", "validate_only")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    backend: Backend
    update_mask: _field_mask_pb2.FieldMask
    validate_only: bool
    def __init__(self, backend: _Optional[_Union[Backend, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class DeleteBackendRequest(_message.Message):
    __slots__ = ("name", "etag", "validate_only")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    validate_only: bool
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class DrainBackendRequest(_message.Message):
    __slots__ = ("name", "deadline_seconds", "etag", "validate_only")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    deadline_seconds: int
    etag: str
    validate_only: bool
    def __init__(self, name: _Optional[str] = ..., deadline_seconds: _Optional[int] = ..., etag: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...
