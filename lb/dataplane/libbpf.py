# SPDX-License-Identifier: Apache-2.0
"""The part of libbpf 1.x that the data plane needs, through ctypes. Failures are ``OSError``s that say what failed."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lb.core.errors import UnavailableError

PROG_TYPE_SCHED_CLS = 3
PROG_TYPE_XDP = 6
ATTACH_TYPE_XDP = 37

MAP_HASH = 1
MAP_ARRAY = 2
MAP_PERCPU_ARRAY = 6
MAP_LRU_HASH = 9
MAP_ARRAY_OF_MAPS = 12
MAP_DEVMAP_HASH = 25

F_MMAPABLE = 1 << 10
F_XDP_HAS_FRAGS = 1 << 5

XDP_FLAGS_SKB_MODE = 1 << 1
XDP_FLAGS_DRV_MODE = 1 << 2
XDP_ATTACHED_SKB = 2

_LOG_BYTES = 1 << 20


class _MapCreateOpts(ctypes.Structure):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("btf_fd", ctypes.c_uint32),
        ("btf_key_type_id", ctypes.c_uint32),
        ("btf_value_type_id", ctypes.c_uint32),
        ("btf_vmlinux_value_type_id", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("map_extra", ctypes.c_uint64),
        ("numa_node", ctypes.c_uint32),
        ("map_ifindex", ctypes.c_uint32),
    )


class _ProgLoadOpts(ctypes.Structure):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("attempts", ctypes.c_int),
        ("expected_attach_type", ctypes.c_int),
        ("prog_btf_fd", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_ifindex", ctypes.c_uint32),
        ("kern_version", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
        ("attach_prog_fd", ctypes.c_uint32),
        ("attach_btf_obj_fd", ctypes.c_uint32),
        ("fd_array", ctypes.c_void_p),
        ("func_info", ctypes.c_void_p),
        ("func_info_cnt", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("line_info", ctypes.c_void_p),
        ("line_info_cnt", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_void_p),
    )


class _LinkCreateOpts(ctypes.Structure):
    _fields_ = (("sz", ctypes.c_size_t), ("flags", ctypes.c_uint32))


class _XdpQueryOpts(ctypes.Structure):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("prog_id", ctypes.c_uint32),
        ("drv_prog_id", ctypes.c_uint32),
        ("hw_prog_id", ctypes.c_uint32),
        ("skb_prog_id", ctypes.c_uint32),
        ("attach_mode", ctypes.c_uint8),
    )


class _TestRunOpts(ctypes.Structure):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_void_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


class XdpMd(ctypes.Structure):
    """``struct xdp_md``: the context of a test run."""

    _fields_ = (
        ("data", ctypes.c_uint32),
        ("data_end", ctypes.c_uint32),
        ("data_meta", ctypes.c_uint32),
        ("ingress_ifindex", ctypes.c_uint32),
        ("rx_queue_index", ctypes.c_uint32),
        ("egress_ifindex", ctypes.c_uint32),
    )


class _MapInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("name", ctypes.c_char * 16),
    )


class _ProgInfo(ctypes.Structure):
    _fields_ = (("type", ctypes.c_uint32), ("id", ctypes.c_uint32))


class _LinkInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("prog_id", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("ifindex", ctypes.c_uint32),
    )


@functools.cache
def library() -> ctypes.CDLL:
    """``libbpf.so.1``; raises ``UnavailableError`` where it is not installed."""
    try:
        found = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError:
        raise UnavailableError("libbpf.so.1 is missing: `apt-get install libbpf1`") from None
    found.libbpf_set_print(None)
    return found


def checked(result: int, action: str) -> int:
    if result < 0:
        number = ctypes.get_errno() or -result
        raise OSError(number, f"{action}: {os.strerror(number)}")
    return result


@dataclass(frozen=True, slots=True)
class MapInfo:
    """Layout of a map: sizes in bytes; ``flags`` as given at creation; ``name``: at most 15 characters of it."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """What a link attaches: ``ifindex`` 0 when the interface has gone."""

    program_id: int
    ifindex: int


@dataclass(frozen=True, slots=True)
class ProgRun:
    """Result of a test run: XDP action, the packet after it, and nanoseconds per repetition."""

    action: int
    data: bytes
    duration_ns: int


def map_create(
    map_type: int, name: str, key_size: int, value_size: int, max_entries: int, flags: int = 0, inner_fd: int = 0
) -> int:
    """Create a map; returns its fd."""
    opts = _MapCreateOpts(sz=ctypes.sizeof(_MapCreateOpts), map_flags=flags, inner_map_fd=inner_fd)
    made = library().bpf_map_create(map_type, name[:15].encode(), key_size, value_size, max_entries, ctypes.byref(opts))
    return checked(made, f"create map {name}")


def obj_get(path: Path) -> int:
    """Open a pinned object; returns its fd. Raises ``FileNotFoundError`` when there is none."""
    return checked(library().bpf_obj_get(os.fsencode(path)), f"open {path}")


def obj_pin(fd: int, path: Path) -> None:
    """Pin an object, replacing what was pinned there: rename over an existing pin is atomic."""
    beside = path.with_name(f"{path.name}~")
    beside.unlink(missing_ok=True)
    checked(library().bpf_obj_pin(fd, os.fsencode(beside)), f"pin {path}")
    beside.rename(path)


def map_info(fd: int) -> MapInfo:
    """Layout of a map."""
    info = _MapInfo()
    _info(fd, info)
    name = info.name.decode("ascii")
    return MapInfo(info.type, info.key_size, info.value_size, info.max_entries, info.map_flags, info.id, name)


def prog_id(fd: int) -> int:
    """The kernel's number of a program."""
    info = _ProgInfo()
    _info(fd, info)
    return int(info.id)


def link_info(fd: int) -> LinkInfo:
    """State of an XDP link."""
    info = _LinkInfo()
    _info(fd, info)
    return LinkInfo(info.prog_id, info.ifindex)


def _info(fd: int, info: ctypes.Structure) -> None:
    length = ctypes.c_uint32(ctypes.sizeof(info))
    checked(library().bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(length)), "read object info")


def map_update(fd: int, key: bytes, value: bytes) -> None:
    """Set one element."""
    checked(library().bpf_map_update_elem(fd, key, value, ctypes.c_uint64(0)), "update map")


def map_delete(fd: int, key: bytes) -> None:
    """Delete one element; raises ``FileNotFoundError`` when it is not there."""
    checked(library().bpf_map_delete_elem(fd, key), "delete from map")


def map_lookup(fd: int, key: bytes, size: int) -> bytes:
    """Read one element of ``size`` bytes (per-CPU maps: of all possible CPUs)."""
    value = ctypes.create_string_buffer(size)
    checked(library().bpf_map_lookup_elem(fd, key, value), "look up in map")
    return value.raw


def map_keys(fd: int, key_size: int) -> Iterator[bytes]:
    """All keys of a map."""
    following = ctypes.create_string_buffer(key_size)
    key = None
    while library().bpf_map_get_next_key(fd, key, following) == 0:
        key = following.raw
        yield key


def map_batches(fd: int, key_size: int, value_size: int, count: int) -> Iterator[tuple[bytes, bytes]]:
    """All entries of a hash map as (keys, values), whole buckets at a time and about ``count`` entries each."""
    keys = ctypes.create_string_buffer(key_size * count)
    values = ctypes.create_string_buffer(value_size * count)
    # The kernel's place in the table: 4 bytes for a hash map.
    position = ctypes.create_string_buffer(max(key_size, 4))
    start = None
    while True:
        got = ctypes.c_uint32(count)
        result = library().bpf_map_lookup_batch(fd, start, position, keys, values, ctypes.byref(got), None)
        number = ctypes.get_errno() if result < 0 else 0
        if number == errno.ENOSPC:
            # One bucket holds more than a batch: only a hostile key distribution does that.
            count *= 2
            keys = ctypes.create_string_buffer(key_size * count)
            values = ctypes.create_string_buffer(value_size * count)
            continue
        if number not in (0, errno.ENOENT):
            raise OSError(number, f"scan map: {os.strerror(number)}")
        if got.value:
            yield keys.raw[: got.value * key_size], values.raw[: got.value * value_size]
        if number == errno.ENOENT:
            return
        start = position


def map_update_batch(fd: int, keys: bytes, values: bytes, count: int) -> int:
    """Set ``count`` entries of a hash map; returns how many found room, fewer only when the map is full."""
    got = ctypes.c_uint32(count)
    result = library().bpf_map_update_batch(fd, keys, values, ctypes.byref(got), None)
    if result < 0 and ctypes.get_errno() != errno.E2BIG:
        checked(result, "update map")
    return got.value


def map_delete_batch(fd: int, keys: Sequence[bytes]) -> None:
    """Delete entries by key; those that are not there are passed over."""
    done = 0
    while done < len(keys):
        some = keys[done:]
        got = ctypes.c_uint32(len(some))
        result = library().bpf_map_delete_batch(fd, b"".join(some), ctypes.byref(got), None)
        if result < 0 and ctypes.get_errno() != errno.ENOENT:
            checked(result, "delete from map")
        # On ENOENT the kernel stops at the key that is missing.
        done += got.value + (1 if result < 0 else 0)


def prog_load(name: str, code: bytes, flags: int = 0, program_type: int = PROG_TYPE_XDP) -> int:
    """Load a program; returns its fd. The verifier's log is in the error."""
    attach_type = ATTACH_TYPE_XDP if program_type == PROG_TYPE_XDP else 0
    opts = _ProgLoadOpts(sz=ctypes.sizeof(_ProgLoadOpts), expected_attach_type=attach_type, prog_flags=flags)

    def load() -> int:
        return int(
            library().bpf_prog_load(program_type, name.encode(), b"GPL", code, len(code) // 8, ctypes.byref(opts))
        )

    fd = load()
    if fd >= 0:
        return fd
    number = ctypes.get_errno() or -fd
    log = ctypes.create_string_buffer(_LOG_BYTES)
    opts.log_level, opts.log_size, opts.log_buf = 1, _LOG_BYTES, ctypes.addressof(log)
    load()
    tail = "\n".join(log.value.decode(errors="replace").splitlines()[-12:])
    raise OSError(number, f"load program {name}: {os.strerror(number)}\n{tail}".rstrip())


def link_create(prog_fd: int, ifindex: int, flags: int) -> int:
    """Attach an XDP program to an interface of this network namespace; returns the link's fd."""
    opts = _LinkCreateOpts(sz=ctypes.sizeof(_LinkCreateOpts), flags=flags)
    return checked(
        library().bpf_link_create(prog_fd, ifindex, ATTACH_TYPE_XDP, ctypes.byref(opts)), "attach XDP program"
    )


def link_detach(link_fd: int) -> None:
    """Take a link's program off its interface, now: when the last reference goes, the kernel does it later."""
    checked(library().bpf_link_detach(link_fd), "detach XDP program")


def link_update(link_fd: int, prog_fd: int) -> None:
    """Swap the program of a link atomically."""
    checked(library().bpf_link_update(link_fd, prog_fd, None), "swap XDP program")


def xdp_attach_mode(ifindex: int) -> int:
    """How XDP is attached to an interface of this network namespace: XDP_ATTACHED_* of the kernel, 0 = not."""
    opts = _XdpQueryOpts(sz=ctypes.sizeof(_XdpQueryOpts))
    checked(library().bpf_xdp_query(ifindex, 0, ctypes.byref(opts)), "query XDP")
    return int(opts.attach_mode)


def prog_run(
    prog_fd: int, data: bytes, *, ifindex: int = 1, queue: int = 0, repeat: int = 1, flags: int = 0, batch: int = 0
) -> ProgRun:
    """BPF_PROG_TEST_RUN of one packet that arrives on ``ifindex`` (of the caller's network namespace)."""
    room = 0 if flags else len(data) + 256
    out = ctypes.create_string_buffer(max(room, 1))
    given = ctypes.create_string_buffer(data, len(data))
    context = XdpMd(data_end=len(data), ingress_ifindex=ifindex, rx_queue_index=queue)
    opts = _TestRunOpts(
        sz=ctypes.sizeof(_TestRunOpts),
        data_in=ctypes.addressof(given),
        data_size_in=len(data),
        ctx_in=ctypes.addressof(context),
        ctx_size_in=ctypes.sizeof(context),
        repeat=repeat,
        flags=flags,
        batch_size=batch,
    )
    if room:
        opts.data_out, opts.data_size_out = ctypes.addressof(out), room
    checked(library().bpf_prog_test_run_opts(prog_fd, ctypes.byref(opts)), "run program")
    return ProgRun(opts.retval, out.raw[: opts.data_size_out] if room else b"", opts.duration)


def possible_cpus() -> int:
    """How many values a per-CPU element holds."""
    return checked(library().libbpf_num_possible_cpus(), "count CPUs")
