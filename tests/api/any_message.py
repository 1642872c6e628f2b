# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for every message of the API, made from the descriptors: no message can be forgotten.

Half of them are wild: each field has any value of its type. A request that is wrong in its first field tests nothing
else, so the other half are tame: fields have values that may well be right, and most of what is required is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

MAX_ITEMS = 3
TEXT = st.text(st.characters(codec="utf-8"), max_size=80)
INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}
NEEDED = {
    "name",
    "parent",
    "pool",
    "vip",
    "backend",
    "config",
    "vip_id",
    "pool_id",
    "backend_id",
    "address",
    "protocol",
}
NAMES = {
    "vip": ("vips/web", "vips/a"),
    "pool": ("pools/web", "pools/a"),
    "backend": ("pools/web/backends/b1", "pools/web/backends/b2"),
}
SHORT = ("web", "a", "b1", "b2")
LIKELY: dict[str, Sequence[Any]] = {
    **NAMES,
    "parent": ("pools/web", "pools/a", "pools/-"),
    **dict.fromkeys(("vip_id", "pool_id", "backend_id"), SHORT),
    "address": ("10.0.0.1", "10.0.0.2", "192.0.2.1", "2001:db8::1"),
    "paths": ("*", "pool", "weight", "description", "settle_seconds", "hash_policy", "admin_state", "health_check"),
    **dict.fromkeys(("etag", "page_token", "ca_file", "server_name", "host"), ("",)),
    "hash_key": ("0" * 32,),
    "outer_source_ipv4": ("off", "172.16.0.0/16"),
    "outer_source_ipv6": ("off", "100::/64"),
    "expected_status": ("200", "200-299,302"),
    "path": ("/", "/healthz"),
    "method": ("GET", "HEAD"),
    "revision": (1, 2, 3),
    "base_revision": (0, 0, 2),
    "max_move_percent": (100.0, 0.0),
    "interval_ms": (1_000, 10_000),
    "timeout_ms": (500,),
    "drain_deadline_at_seconds": (0, 4_000_000_000),
}
"""By a field's name; others of a type that is in ``_COMMON`` have one of those."""

_COMMON: dict[int, Sequence[Any]] = {
    FieldDescriptor.CPPTYPE_STRING: ("some text", ""),
    FieldDescriptor.CPPTYPE_DOUBLE: (0.0, 50.0),
    **dict.fromkeys(INTEGERS, (0, 1, 2, 10)),
}


def messages(descriptor: Descriptor) -> st.SearchStrategy[Message]:
    """Any message of a type."""
    make = GetMessageClass(descriptor)
    return st.booleans().flatmap(lambda tame: _fields(descriptor, tame).map(lambda fields: make(**fields)))


def _fields(descriptor: Descriptor, tame: bool) -> st.SearchStrategy[dict[str, Any]]:
    fields = {field.name: _field(field, tame) for field in descriptor.fields}
    needed = {name: strategy for name, strategy in fields.items() if tame and name in NEEDED}
    return st.fixed_dictionaries(needed, optional={name: fields[name] for name in fields if name not in needed})


def _field(field: FieldDescriptor, tame: bool) -> st.SearchStrategy[Any]:
    value = _tame(field) if tame else _wild(field)
    return st.lists(value, max_size=MAX_ITEMS) if field.is_repeated else value


def _tame(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_MESSAGE:
            return _nested(field, tame=True)
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_ENUM:
            return st.sampled_from([value.number for value in field.enum_type.values if value.number])
    if field.name == "name":
        return st.sampled_from(_names_in(field.containing_type.name))
    return st.sampled_from(LIKELY.get(field.name, _COMMON[field.cpp_type]))


def _wild(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_MESSAGE:
            return _nested(field, tame=False)
        case FieldDescriptor.CPPTYPE_STRING:
            return TEXT
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return st.floats()
        case FieldDescriptor.CPPTYPE_ENUM:
            return INTEGERS[FieldDescriptor.CPPTYPE_INT32]
    return INTEGERS[field.cpp_type]


def _nested(field: FieldDescriptor, *, tame: bool) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: _fields(field.message_type, tame))


def _names_in(message: str) -> Sequence[str]:
    """Names of the kind of resource that a message is about, or names of any kind."""
    return next((names for kind, names in NAMES.items() if kind.title() in message), SHORT)
