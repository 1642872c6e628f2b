# SPDX-License-Identifier: Apache-2.0
"""Where the program of health checks through the tunnel sits: at one place of ours among the filters of an interface.

Needs no daemon: `lbctl detach` looks for it here, too.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from lb.core.errors import UnavailableError
from lb.dataplane import libbpf, tc
from lb.dataplane.tc import Place

PROBE = "probe"
"""The program's name, and that of its pin."""

PLACE = Place(handle=0x4C42, priority=1)
"""First, because a filter that says OK keeps the packet from all that follow. Ours does so with probes alone."""


def put(interfaces: Sequence[str], program_fd: int) -> None:
    """Have exactly these interfaces run the program; on those that do already it is swapped atomically.

    Raises ``UnavailableError``.
    """
    for name in interfaces:
        try:
            tc.attach(_ifindex(name), PLACE, program_fd)
        except OSError as error:
            raise UnavailableError(
                f"interface {name}: cannot attach the program of health checks through the tunnel: {error.strerror}"
                f"{_REMEDIES.get(error.errno or 0, '').format(name=name)}"
            ) from error
    for ifindex, name in socket.if_nameindex():
        if name not in interfaces:
            tc.detach(ifindex, PLACE)


_REMEDIES = {
    errno.EINVAL: ": has a filter of another kind its priority? `tc filter show dev {name} egress`",
    errno.ENOENT: ": does the kernel have CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF?",
    errno.EPERM: ": give lbd CAP_NET_ADMIN",
}


def _ifindex(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from error


def runs(interface: str, program_id: int) -> bool:
    """Whether an interface is there and runs this program. Raises ``OSError``."""
    try:
        ifindex = socket.if_nametoindex(interface)
    except OSError:
        return False
    return tc.program_id(ifindex, PLACE) == program_id


def is_anywhere() -> bool:
    """Whether any interface of this network namespace runs a program there. Raises ``OSError``."""
    return any(tc.program_id(ifindex, PLACE) for ifindex, _ in socket.if_nameindex())


def remove(bpf_dir: Path, interface: str | None) -> None:
    """Take the program that is pinned under ``bpf_dir`` off ``interface``, or off all."""
    try:
        fd = libbpf.obj_get(bpf_dir / PROBE)
    except FileNotFoundError:
        return
    try:
        program_id = libbpf.prog_id(fd)
    finally:
        os.close(fd)
    for ifindex, name in socket.if_nameindex():
        if interface in (None, name) and tc.program_id(ifindex, PLACE) == program_id:
            tc.detach(ifindex, PLACE)
