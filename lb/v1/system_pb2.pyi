import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DiagnoseRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DiagnoseResponse(_message.Message):
    __slots__ = ("findings",)
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("severity", "subject", "check", "observation", "remedy")
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SEVERITY_UNSPECIFIED: _ClassVar[Finding.Severity]
        OK: _ClassVar[Finding.Severity]
        WARNING: _ClassVar[Finding.Severity]
        PROBLEM: _ClassVar[Finding.Severity]
    SEVERITY_UNSPECIFIED: Finding.Severity
    OK: Finding.Severity
    WARNING: Finding.Severity
    PROBLEM: Finding.Severity
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    severity: Finding.Severity
    subject: str
    check: str
    observation: str
    remedy: str
    def __init__(self, severity: _Optional[_Union[Finding.Severity, str]] = ..., subject: _Optional[str] = ..., check: _Optional[str] = ..., observation: _Optional[str] = ..., remedy: _Optional[str] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SystemStatus(_message.Message):
    __slots__ = ("ready", "reason", "version", "revision", "start_time", "interfaces", "vips", "pools", "backends", "backends_in_ring", "bpf_dir")
    READY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    VIPS_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_IN_RING_FIELD_NUMBER: _ClassVar[int]
    BPF_DIR_FIELD_NUMBER: _ClassVar[int]
    ready: bool
    reason: str
    version: str
    revision: int
    start_time: _timestamp_pb2.Timestamp
    interfaces: _containers.RepeatedCompositeFieldContainer[InterfaceStatus]
    vips: int
    pools: int
    backends: int
    backends_in_ring: int
    bpf_dir: str
    def __init__(self, ready: _Optional[bool] = ..., reason: _Optional[str] = ..., version: _Optional[str] = ..., revision: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., interfaces: _Optional[_Iterable[_Union[InterfaceStatus, _Mapping]]] = ..., vips: _Optional[int] = ..., pools: _Optional[int] = ..., backends: _Optional[int] = ..., backends_in_ring: _Optional[int] = ..., bpf_dir: _Optional[str] = ...) -> None: ...

class InterfaceStatus(_message.Message):
    __slots__ = ("interface", "attached", "mode", "reason")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[InterfaceStatus.Mode]
        NATIVE: _ClassVar[InterfaceStatus.Mode]
        GENERIC: _ClassVar[InterfaceStatus.Mode]
    MODE_UNSPECIFIED: InterfaceStatus.Mode
    NATIVE: InterfaceStatus.Mode
    GENERIC: InterfaceStatus.Mode
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    interface: str
    attached: bool
    mode: InterfaceStatus.Mode
    reason: str
    def __init__(self, interface: _Optional[str] = ..., attached: _Optional[bool] = ..., mode: _Optional[_Union[InterfaceStatus.Mode, str]] = ..., reason: _Optional[str] = ...) -> None: ...
