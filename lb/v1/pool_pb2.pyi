from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from lb.v1 import backend_pb2 as _backend_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Pool(_message.Message):
    __slots__ = ("name", "description", "backends", "settle_seconds", "udp_settle_seconds", "drain_idle_seconds", "health_check", "slow_start_seconds", "fail_open", "min_healthy_percent", "on_down", "vips", "filled_slots", "rings", "failing_open", "etag")
    class OnDown(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ON_DOWN_UNSPECIFIED: _ClassVar[Pool.OnDown]
        REASSIGN: _ClassVar[Pool.OnDown]
        KEEP: _ClassVar[Pool.OnDown]
    ON_DOWN_UNSPECIFIED: Pool.OnDown
    REASSIGN: Pool.OnDown
    KEEP: Pool.OnDown
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    SETTLE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    UDP_SETTLE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_IDLE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    HEALTH_CHECK_FIELD_NUMBER: _ClassVar[int]
    SLOW_START_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FAIL_OPEN_FIELD_NUMBER: _ClassVar[int]
    MIN_HEALTHY_PERCENT_FIELD_NUMBER: _ClassVar[int]
    ON_DOWN_FIELD_NUMBER: _ClassVar[int]
    VIPS_FIELD_NUMBER: _ClassVar[int]
    FILLED_SLOTS_FIELD_NUMBER: _ClassVar[int]
    RINGS_FIELD_NUMBER: _ClassVar[int]
    FAILING_OPEN_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    backends: _containers.RepeatedCompositeFieldContainer[_backend_pb2.Backend]
    settle_seconds: int
    udp_settle_seconds: int
    drain_idle_seconds: int
    health_check: HealthCheck
    slow_start_seconds: int
    fail_open: bool
    min_healthy_percent: int
    on_down: Pool.OnDown
    vips: _containers.RepeatedScalarFieldContainer[str]
    filled_slots: int
    rings: _containers.RepeatedCompositeFieldContainer[RingStatus]
    failing_open: bool
    etag: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., backends: _Optional[_Iterable[_Union[_backend_pb2.Backend, _Mapping]]] = ..., settle_seconds: _Optional[int] = ..., udp_settle_seconds: _Optional[int] = ..., drain_idle_seconds: _Optional[int] = ..., health_check: _Optional[_Union[HealthCheck, _Mapping]] = ..., slow_start_seconds: _Optional[int] = ..., fail_open: _Optional[bool] = ..., min_healthy_percent: _Optional[int] = ..., on_down: _Optional[_Union[Pool.OnDown, str]] = ..., vips: _Optional[_Iterable[str]] = ..., filled_slots: _Optional[int] = ..., rings: _Optional[_Iterable[_Union[RingStatus, _Mapping]]] = ..., failing_open: _Optional[bool] = ..., etag: _Optional[str] = ...) -> None: ...

class HealthCheck(_message.Message):
    __slots__ = ("kind", "via", "port", "interval_ms", "timeout_ms", "rise", "fall", "jitter_percent", "http", "udp", "grpc")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[HealthCheck.Kind]
        TCP: _ClassVar[HealthCheck.Kind]
        HTTP: _ClassVar[HealthCheck.Kind]
        HTTPS: _ClassVar[HealthCheck.Kind]
        UDP: _ClassVar[HealthCheck.Kind]
        GRPC: _ClassVar[HealthCheck.Kind]
        ICMP: _ClassVar[HealthCheck.Kind]
    KIND_UNSPECIFIED: HealthCheck.Kind
    TCP: HealthCheck.Kind
    HTTP: HealthCheck.Kind
    HTTPS: HealthCheck.Kind
    UDP: HealthCheck.Kind
    GRPC: HealthCheck.Kind
    ICMP: HealthCheck.Kind
    class Via(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VIA_UNSPECIFIED: _ClassVar[HealthCheck.Via]
        TUNNEL: _ClassVar[HealthCheck.Via]
        DIRECT: _ClassVar[HealthCheck.Via]
    VIA_UNSPECIFIED: HealthCheck.Via
    TUNNEL: HealthCheck.Via
    DIRECT: HealthCheck.Via
    KIND_FIELD_NUMBER: _ClassVar[int]
    VIA_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    RISE_FIELD_NUMBER: _ClassVar[int]
    FALL_FIELD_NUMBER: _ClassVar[int]
    JITTER_PERCENT_FIELD_NUMBER: _ClassVar[int]
    HTTP_FIELD_NUMBER: _ClassVar[int]
    UDP_FIELD_NUMBER: _ClassVar[int]
    GRPC_FIELD_NUMBER: _ClassVar[int]
    kind: HealthCheck.Kind
    via: HealthCheck.Via
    port: int
    interval_ms: int
    timeout_ms: int
    rise: int
    fall: int
    jitter_percent: int
    http: HttpCheck
    udp: UdpCheck
    grpc: GrpcCheck
    def __init__(self, kind: _Optional[_Union[HealthCheck.Kind, str]] = ..., via: _Optional[_Union[HealthCheck.Via, str]] = ..., port: _Optional[int] = ..., interval_ms: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., rise: _Optional[int] = ..., fall: _Optional[int] = ..., jitter_percent: _Optional[int] = ..., http: _Optional[_Union[HttpCheck, _Mapping]] = ..., udp: _Optional[_Union[UdpCheck, _Mapping]] = ..., grpc: _Optional[_Union[GrpcCheck, _Mapping]] = ...) -> None: ...

class HttpCheck(_message.Message):
    __slots__ = ("method", "path", "host", "expected_status", "expected_body", "insecure_skip_verify", "server_name", "ca_file")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_STATUS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_BODY_FIELD_NUMBER: _ClassVar[int]
    INSECURE_SKIP_VERIFY_FIELD_NUMBER: _ClassVar[int]
    SERVER_NAME_FIELD_NUMBER: _ClassVar[int]
    CA_FILE_FIELD_NUMBER: _ClassVar[int]
    method: str
    path: str
    host: str
    expected_status: str
    expected_body: str
    insecure_skip_verify: bool
    server_name: str
    ca_file: str
    def __init__(self, method: _Optional[str] = ..., path: _Optional[str] = ..., host: _Optional[str] = ..., expected_status: _Optional[str] = ..., expected_body: _Optional[str] = ..., insecure_skip_verify: _Optional[bool] = ..., server_name: _Optional[str] = ..., ca_file: _Optional[str] = ...) -> None: ...

class UdpCheck(_message.Message):
    __slots__ = ("send", "expect")
    SEND_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    send: str
    expect: str
    def __init__(self, send: _Optional[str] = ..., expect: _Optional[str] = ...) -> None: ...

class GrpcCheck(_message.Message):
    __slots__ = ("service",)
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    service: str
    def __init__(self, service: _Optional[str] = ...) -> None: ...

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
