# SPDX-License-Identifier: Apache-2.0
"""Programs on an interface's tc egress, through libbpf: filters of its clsact qdisc.

Linux 6.6 has links for that (tcx); the filters work everywhere, and one way is enough.
"""

from __future__ import annotations

import ctypes
import errno
from dataclasses import dataclass

from lb.dataplane.libbpf import checked, library

_EGRESS = 1 << 1
_REPLACE = 1 << 0
_NOT_THERE = (errno.ENOENT, errno.EINVAL, errno.ENODEV)
"""No such filter, no clsact qdisc, no such interface."""


class _Hook(ctypes.Structure):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("ifindex", ctypes.c_int),
        ("attach_point", ctypes.c_int),
        ("parent", ctypes.c_uint32),
    )


class _Opts(ctypes.Structure):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("prog_fd", ctypes.c_int),
        ("flags", ctypes.c_uint32),
        ("prog_id", ctypes.c_uint32),
        ("handle", ctypes.c_uint32),
        ("priority", ctypes.c_uint32),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Of a filter among those of an interface: a smaller ``priority`` (from 1) comes first."""

    handle: int
    priority: int


def attach(ifindex: int, place: Place, prog_fd: int) -> None:
    """Put a program there, in place of the one that is there: no packet sees neither or both.

    Makes the clsact qdisc where there is none. Raises ``OSError``, EINVAL when a filter of another kind or protocol has
    the priority.
    """
    made = library().bpf_tc_hook_create(ctypes.byref(_hook(ifindex)))
    if made < 0 and ctypes.get_errno() != errno.EEXIST:
        checked(made, "make the clsact qdisc")
    opts = _opts(place)
    opts.prog_fd, opts.flags = prog_fd, _REPLACE
    checked(library().bpf_tc_attach(ctypes.byref(_hook(ifindex)), ctypes.byref(opts)), "attach tc program")


def program_id(ifindex: int, place: Place) -> int:
    """Of the program that is there; 0 when there is none. Raises ``OSError``."""
    opts = _opts(place)
    result = library().bpf_tc_query(ctypes.byref(_hook(ifindex)), ctypes.byref(opts))
    if result < 0 and ctypes.get_errno() in _NOT_THERE:
        return 0
    checked(result, "look for a tc program")
    return int(opts.prog_id)


def detach(ifindex: int, place: Place) -> None:
    """Take away what is there; other filters and the clsact qdisc stay. Raises ``OSError``."""
    result = library().bpf_tc_detach(ctypes.byref(_hook(ifindex)), ctypes.byref(_opts(place)))
    if result < 0 and ctypes.get_errno() not in _NOT_THERE:
        checked(result, "detach tc program")


def _hook(ifindex: int) -> _Hook:
    return _Hook(sz=ctypes.sizeof(_Hook), ifindex=ifindex, attach_point=_EGRESS)


def _opts(place: Place) -> _Opts:
    return _Opts(sz=ctypes.sizeof(_Opts), handle=place.handle, priority=place.priority)
