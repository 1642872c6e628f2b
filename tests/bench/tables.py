# SPDX-License-Identifier: Apache-2.0
"""How full a hash map is: the kernel keeps no count, so its entries are read in batches."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from lb.dataplane import libbpf

_BATCH = 1 << 16


class _BatchOpts(ctypes.Structure):
    _fields_ = (("sz", ctypes.c_size_t), ("elem_flags", ctypes.c_uint64), ("flags", ctypes.c_uint64))


def count_entries(path: Path) -> int:
    """Entries of the hash map pinned at ``path``. Raises ``OSError``."""
    fd = libbpf.obj_get(path)
    try:
        return _count(fd)
    finally:
        os.close(fd)


def _count(fd: int) -> int:
    info = libbpf.map_info(fd)
    keys = ctypes.create_string_buffer(info.key_size * _BATCH)
    values = ctypes.create_string_buffer(info.value_size * _BATCH)
    # A hash map's position is a bucket number.
    position = ctypes.c_uint32()
    opts = _BatchOpts(sz=ctypes.sizeof(_BatchOpts))
    start: ctypes.c_uint32 | None = None
    total = 0
    while True:
        count = ctypes.c_uint32(_BATCH)
        result = libbpf.library().bpf_map_lookup_batch(
            fd,
            None if start is None else ctypes.byref(start),
            ctypes.byref(position),
            keys,
            values,
            ctypes.byref(count),
            ctypes.byref(opts),
        )
        if result < 0 and ctypes.get_errno() != errno.ENOENT:
            raise OSError(ctypes.get_errno(), "cannot read the flow table")
        total += count.value
        if result < 0:
            return total
        start = ctypes.c_uint32(position.value)
