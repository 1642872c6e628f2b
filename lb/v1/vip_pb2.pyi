from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Vip(_message.Message):
    __slots__ = ("name", "address", "port", "protocol", "pool", "force", "hash_policy", "etag")
    class Protocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PROTOCOL_UNSPECIFIED: _ClassVar[Vip.Protocol]
        TCP: _ClassVar[Vip.Protocol]
        UDP: _ClassVar[Vip.Protocol]
    PROTOCOL_UNSPECIFIED: Vip.Protocol
    TCP: Vip.Protocol
    UDP: Vip.Protocol
    class HashPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        HASH_POLICY_UNSPECIFIED: _ClassVar[Vip.HashPolicy]
        FIVE_TUPLE: _ClassVar[Vip.HashPolicy]
        SOURCE: _ClassVar[Vip.HashPolicy]
        SOURCE_AND_DESTINATION_PORT: _ClassVar[Vip.HashPolicy]
        DESTINATION_PORT: _ClassVar[Vip.HashPolicy]
    HASH_POLICY_UNSPECIFIED: Vip.HashPolicy
    FIVE_TUPLE: Vip.HashPolicy
    SOURCE: Vip.HashPolicy
    SOURCE_AND_DESTINATION_PORT: Vip.HashPolicy
    DESTINATION_PORT: Vip.HashPolicy
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    HASH_POLICY_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    port: int
    protocol: Vip.Protocol
    pool: str
    force: bool
    hash_policy: Vip.HashPolicy
    etag: str
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., port: _Optional[int] = ..., protocol: _Optional[_Union[Vip.Protocol, str]] = ..., pool: _Optional[str] = ..., force: _Optional[bool] = ..., hash_policy: _Optional[_Union[Vip.HashPolicy, str]] = ..., etag: _Optional[str] = ...) -> None: ...

class GetVipRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListVipsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListVipsResponse(_message.Message):
    __slots__ = ("vips", "next_page_token")
    VIPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    vips: _containers.RepeatedCompositeFieldContainer[Vip]
    next_page_token: str
    def __init__(self, vips: _Optional[_Iterable[_Union[Vip, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CreateVipRequest(_message.Message):
    __slots__ = ("vip_id", "vip", "validate_only")
    VIP_ID_FIELD_NUMBER: _ClassVar[int]
    VIP_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    vip_id: str
    vip: Vip
    validate_only: bool
    def __init__(self, vip_id: _Optional[str] = ..., vip: _Optional[_Union[Vip, _Mapping]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class UpdateVipRequest(_message.Message):
    __slots__ = ("vip", "update_mask", "validate_only")
    VIP_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    vip: Vip
    update_mask: _field_mask_pb2.FieldMask
    validate_only: bool
    def __init__(self, vip: _Optional[_Union[Vip, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class DeleteVipRequest(_message.Message):
    __slots__ = ("name", "etag", "validate_only")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    validate_only: bool
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...
