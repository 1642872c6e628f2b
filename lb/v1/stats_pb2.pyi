import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Stats(_message.Message):
    __slots__ = ("time", "received", "vips", "backends", "verdicts", "flow_table")
    TIME_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    VIPS_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    FLOW_TABLE_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    received: Counter
    vips: _containers.RepeatedCompositeFieldContainer[VipStats]
    backends: _containers.RepeatedCompositeFieldContainer[BackendStats]
    verdicts: _containers.RepeatedCompositeFieldContainer[VerdictStats]
    flow_table: FlowTableStats
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., received: _Optional[_Union[Counter, _Mapping]] = ..., vips: _Optional[_Iterable[_Union[VipStats, _Mapping]]] = ..., backends: _Optional[_Iterable[_Union[BackendStats, _Mapping]]] = ..., verdicts: _Optional[_Iterable[_Union[VerdictStats, _Mapping]]] = ..., flow_table: _Optional[_Union[FlowTableStats, _Mapping]] = ...) -> None: ...

class FlowTableStats(_message.Message):
    __slots__ = ("capacity", "entries", "inserted_syn", "refused_syn", "inserted_old", "refused_old", "expired")
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    INSERTED_SYN_FIELD_NUMBER: _ClassVar[int]
    REFUSED_SYN_FIELD_NUMBER: _ClassVar[int]
    INSERTED_OLD_FIELD_NUMBER: _ClassVar[int]
    REFUSED_OLD_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    capacity: int
    entries: int
    inserted_syn: int
    refused_syn: int
    inserted_old: int
    refused_old: int
    expired: int
    def __init__(self, capacity: _Optional[int] = ..., entries: _Optional[int] = ..., inserted_syn: _Optional[int] = ..., refused_syn: _Optional[int] = ..., inserted_old: _Optional[int] = ..., refused_old: _Optional[int] = ..., expired: _Optional[int] = ...) -> None: ...

class Counter(_message.Message):
    __slots__ = ("packets", "bytes")
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    packets: int
    bytes: int
    def __init__(self, packets: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class VipStats(_message.Message):
    __slots__ = ("vip", "received", "forwarded", "too_big_packets")
    VIP_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_FIELD_NUMBER: _ClassVar[int]
    TOO_BIG_PACKETS_FIELD_NUMBER: _ClassVar[int]
    vip: str
    received: Counter
    forwarded: Counter
    too_big_packets: int
    def __init__(self, vip: _Optional[str] = ..., received: _Optional[_Union[Counter, _Mapping]] = ..., forwarded: _Optional[_Union[Counter, _Mapping]] = ..., too_big_packets: _Optional[int] = ...) -> None: ...

class BackendStats(_message.Message):
    __slots__ = ("backend", "forwarded")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_FIELD_NUMBER: _ClassVar[int]
    backend: str
    forwarded: Counter
    def __init__(self, backend: _Optional[str] = ..., forwarded: _Optional[_Union[Counter, _Mapping]] = ...) -> None: ...

class VerdictStats(_message.Message):
    __slots__ = ("verdict", "count", "description")
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VERDICT_UNSPECIFIED: _ClassVar[VerdictStats.Verdict]
        FORWARDED: _ClassVar[VerdictStats.Verdict]
        FORWARDED_FRAGMENT: _ClassVar[VerdictStats.Verdict]
        FORWARDED_ICMP_ERROR: _ClassVar[VerdictStats.Verdict]
        ANSWERED_ECHO: _ClassVar[VerdictStats.Verdict]
        ANSWERED_TTL_EXCEEDED: _ClassVar[VerdictStats.Verdict]
        ANSWERED_TOO_BIG: _ClassVar[VerdictStats.Verdict]
        PASS_NOT_IP: _ClassVar[VerdictStats.Verdict]
        PASS_NOT_VIP: _ClassVar[VerdictStats.Verdict]
        PASS_MALFORMED: _ClassVar[VerdictStats.Verdict]
        PASS_ICMP: _ClassVar[VerdictStats.Verdict]
        DROP_NO_BACKEND: _ClassVar[VerdictStats.Verdict]
        DROP_ENCAP_FAILED: _ClassVar[VerdictStats.Verdict]
        DROP_MALFORMED: _ClassVar[VerdictStats.Verdict]
        DROP_LAND: _ClassVar[VerdictStats.Verdict]
        DROP_TCP_FLAGS: _ClassVar[VerdictStats.Verdict]
        DROP_TTL_EXCEEDED: _ClassVar[VerdictStats.Verdict]
        DROP_TOO_BIG: _ClassVar[VerdictStats.Verdict]
        DROP_FRAGMENT: _ClassVar[VerdictStats.Verdict]
        DROP_HEADERS: _ClassVar[VerdictStats.Verdict]
        DROP_HELD: _ClassVar[VerdictStats.Verdict]
    VERDICT_UNSPECIFIED: VerdictStats.Verdict
    FORWARDED: VerdictStats.Verdict
    FORWARDED_FRAGMENT: VerdictStats.Verdict
    FORWARDED_ICMP_ERROR: VerdictStats.Verdict
    ANSWERED_ECHO: VerdictStats.Verdict
    ANSWERED_TTL_EXCEEDED: VerdictStats.Verdict
    ANSWERED_TOO_BIG: VerdictStats.Verdict
    PASS_NOT_IP: VerdictStats.Verdict
    PASS_NOT_VIP: VerdictStats.Verdict
    PASS_MALFORMED: VerdictStats.Verdict
    PASS_ICMP: VerdictStats.Verdict
    DROP_NO_BACKEND: VerdictStats.Verdict
    DROP_ENCAP_FAILED: VerdictStats.Verdict
    DROP_MALFORMED: VerdictStats.Verdict
    DROP_LAND: VerdictStats.Verdict
    DROP_TCP_FLAGS: VerdictStats.Verdict
    DROP_TTL_EXCEEDED: VerdictStats.Verdict
    DROP_TOO_BIG: VerdictStats.Verdict
    DROP_FRAGMENT: VerdictStats.Verdict
    DROP_HEADERS: VerdictStats.Verdict
    DROP_HELD: VerdictStats.Verdict
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    verdict: VerdictStats.Verdict
    count: Counter
    description: str
    def __init__(self, verdict: _Optional[_Union[VerdictStats.Verdict, str]] = ..., count: _Optional[_Union[Counter, _Mapping]] = ..., description: _Optional[str] = ...) -> None: ...
