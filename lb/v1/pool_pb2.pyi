from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from lb.v1 import backend_pb2 as _backend_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Pool(_message.Message):
    __slots__ = ("name", "description", "backends", "settle_seconds", "udp_settle_seconds", "drain_idle_seconds", "vips", "filled_slots", "rings", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    SETTLE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    UDP_SETTLE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_IDLE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    VIPS_FIELD_NUMBER: _ClassVar[int]
    FILLED_SLOTS_FIELD_NUMBER: _ClassVar[int]
    RINGS_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    backends: _containers.RepeatedCompositeFieldContainer[_backend_pb2.Backend]
    settle_seconds: int
    udp_settle_seconds: int
    drain_idle_seconds: int
    vips: _containers.RepeatedScalarFieldContainer[str]
    filled_slots: int
    rings: _containers.RepeatedCompositeFieldContainer[RingStatus]
    etag: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., backends: _Optional[_Iterable[_Union[_backend_pb2.Backend, _Mapping]]] = ..., settle_seconds: _Optional[int] = ..., udp_settle_seconds: _Optional[int] = ..., drain_idle_seconds: _Optional[int] = ..., vips: _Optional[_Iterable[str]] = ..., filled_slots: _Optional[int] = ..., rings: _Optional[_Iterable[_Union[RingStatus, _Mapping]]] = ..., etag: _Optional[str] = ...) -> None: ...

class RingStatus(_message.Message):
    __slots__ = ("protocol", "stable_slots", "moving_slots", "tracked_slots", "refused_flows", "held_back")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    STABLE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    MOVING_SLOTS_FIELD_NUMBER: _ClassVar[int]
    TRACKED_SLOTS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FLOWS_FIELD_NUMBER: _ClassVar[int]
    HELD_BACK_FIELD_NUMBER: _ClassVar[int]
    protocol: str
    stable_slots: int
    moving_slots: int
    tracked_slots: int
    refused_flows: int
    held_back: bool
    def __init__(self, protocol: _Optional[str] = ..., stable_slots: _Optional[int] = ..., moving_slots: _Optional[int] = ..., tracked_slots: _Optional[int] = ..., refused_flows: _Optional[int] = ..., held_back: _Optional[bool] = ...) -> None: ...

class GetPoolRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListPoolsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPoolsResponse(_message.Message):
    __slots__ = ("pools", "next_page_token")
    POOLS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pools: _containers.RepeatedCompositeFieldContainer[Pool]
    next_page_token: str
    def __init__(self, pools: _Optional[_Iterable[_Union[Pool, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CreatePoolRequest(_message.Message):
    __slots__ = ("pool_id", "pool", "validate_only")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    pool: Pool
    validate_only: bool
    def __init__(self, pool_id: _Optional[str] = ..., pool: _Optional[_Union[Pool, _Mapping]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class UpdatePoolRequest(_message.Message):
    __slots__ = ("pool", "update_mask", "validate_only")
    POOL_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    pool: Pool
    update_mask: _field_mask_pb2.FieldMask
    validate_only: bool
    def __init__(self, pool: _Optional[_Union[Pool, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class DeletePoolRequest(_message.Message):
    __slots__ = ("name", "etag", "validate_only")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    validate_only: bool
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...
