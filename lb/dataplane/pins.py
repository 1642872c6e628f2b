# SPDX-License-Identifier: Apache-2.0
"""The bpf dir: its file system, its lock, the names of the pins, and taking the data plane away.

Nothing here needs bcc or a running daemon: `lbctl detach` works without both.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lb.core.errors import NotFoundError, UnavailableError
from lb.dataplane import libbpf, probe_filter
from lb.dataplane.mounts import is_private
from lb.dataplane.probe_filter import PROBE

PROGRAM = "balancer"
MAPS = "maps"
NEW_MAPS = "maps~new"
"""Maps of another layout than those that are in use, while they are made."""
OLD_MAPS = "maps~old"
"""Those that were in use before, until no program uses them any more."""

_LINK_PREFIX = "link-"
_BPF_FS_MAGIC = 0xCAFE4A11


def link_name(interface: str) -> str:
    """Name of an interface's link pin; bpffs refuses dots."""
    return _LINK_PREFIX + interface.replace("%", "%25").replace(".", "%2e")


def linked_interfaces(bpf_dir: Path) -> Iterator[str]:
    """Interfaces that have a link pinned under ``bpf_dir``."""
    for path in sorted(bpf_dir.iterdir()):
        if path.name.startswith(_LINK_PREFIX) and not path.name.endswith("~"):
            yield path.name.removeprefix(_LINK_PREFIX).replace("%2e", ".").replace("%25", "%")


def is_bpffs(path: Path) -> bool:
    """Whether ``path`` lies on a BPF file system."""
    libc = ctypes.CDLL(None, use_errno=True)
    # struct statfs is 120 bytes on 64-bit Linux and begins with f_type, a long.
    buffer = ctypes.create_string_buffer(256)
    if libc.statfs(os.fsencode(path), buffer) != 0:
        return False
    return int.from_bytes(buffer.raw[:8], "little") & 0xFFFFFFFF == _BPF_FS_MAGIC


def prepare_bpf_dir(bpf_dir: Path) -> str:
    """Make the folder and mount a bpffs on it where it lies on none.

    Returns:
        A warning when the host does not see that file system (its pins die with our mount namespace), or "".

    Raises:
        UnavailableError: The folder can't be made, or mounting is not allowed.
    """
    try:
        bpf_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_bpffs(bpf_dir):
            _mount_bpffs(bpf_dir)
    except OSError as error:
        raise UnavailableError(
            f"bpf dir {bpf_dir}: {error.strerror or error}: run lbd as root with CAP_SYS_ADMIN, "
            f"or have a bpffs mounted there (`mount -t bpf bpf {bpf_dir}`), or name another place with --bpf-dir"
        ) from error
    if not is_private(bpf_dir):
        return ""
    return (
        f"the bpffs on {bpf_dir} is mounted in a private mount namespace only: the data plane stops when the last "
        "process of that namespace ends. Mount it in the host's namespace, or use nsenter --net instead of "
        "`ip netns exec`"
    )


def _mount_bpffs(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", os.fsencode(path), b"bpf", ctypes.c_ulong(0), b"mode=0700") != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount a bpffs: {os.strerror(number)}")


class DirLock:
    """Exclusive ownership of a bpf dir: one ``lbd`` writes its maps."""

    def __init__(self, bpf_dir: Path) -> None:
        self._fd = os.open(bpf_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise UnavailableError(
                f"another lbd owns {bpf_dir}: stop it first, or give this one its own --bpf-dir, --state-dir, --listen"
            ) from None

    def release(self) -> None:
        """Let another daemon have it."""
        os.close(self._fd)


def detach(bpf_dir: Path, interface: str | None = None) -> list[str]:
    """Take the programs off ``interface``, or off all; without the daemon's help.

    Unpinning a link destroys it, since nobody else holds it. Once no link is left, the programs and the maps go too,
    and with them what the flows were.

    Returns:
        The interfaces that it was taken off.

    Raises:
        NotFoundError: Nothing is attached there.
        UnavailableError: The pins can't be read or removed.
    """
    try:
        present = list(linked_interfaces(bpf_dir)) if is_bpffs(bpf_dir) else []
        wanted = present if interface is None else [name for name in present if name == interface]
        if interface is not None and not wanted:
            raise NotFoundError(
                f"no data plane is attached to {interface} under {bpf_dir}"
                + (f"; it is attached to {', '.join(present)}" if present else "")
            )
        for name in wanted:
            (bpf_dir / link_name(name)).unlink()
        if is_bpffs(bpf_dir):
            probe_filter.remove(bpf_dir, None if wanted == present else interface)
        if wanted == present and is_bpffs(bpf_dir):
            for program in (PROGRAM, PROBE):
                (bpf_dir / program).unlink(missing_ok=True)
            for folder in (MAPS, NEW_MAPS, OLD_MAPS):
                shutil.rmtree(bpf_dir / folder, ignore_errors=True)
    except PermissionError as error:
        raise UnavailableError(f"{error.filename or bpf_dir}: {error.strerror}: detaching needs root") from error
    return wanted


def read_link(bpf_dir: Path, interface: str) -> libbpf.LinkInfo | None:
    """State of an interface's pinned link; None when there is none."""
    try:
        fd = libbpf.obj_get(bpf_dir / link_name(interface))
    except FileNotFoundError:
        return None
    try:
        return libbpf.link_info(fd)
    finally:
        os.close(fd)
