from lb.v1 import pool_pb2 as _pool_pb2
from lb.v1 import vip_pb2 as _vip_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetConfigRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

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
