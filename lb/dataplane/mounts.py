# SPDX-License-Identifier: Apache-2.0
"""Which file system a path lies on, as this process sees it and as process 1 does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mount:
    """``device``: of the file system, "0:42"; the same wherever it is mounted. ``kind``: "bpf", "ext4"."""

    device: str
    point: Path
    kind: str


def mount_of(path: Path, mountinfo: Path) -> Mount | None:
    """The mount that ``path`` lies on: the last one of those with the longest mount point. Raises ``OSError``.

    ``mountinfo``: of a process, such as /proc/1/mountinfo.
    """
    found = None
    for line in mountinfo.read_text().splitlines():
        fields = line.split()
        point = Path(_unescape(fields[4]))
        if path.is_relative_to(point) and (found is None or len(point.parts) >= len(found.point.parts)):
            # Optional fields, a dash, then the type.
            found = Mount(fields[2], point, fields[fields.index("-") + 1])
    return found


def is_private(path: Path, proc: Path = Path("/proc")) -> bool:
    """Whether the file system under ``path`` goes with this process's mount namespace: process 1 does not have it.

    False when process 1 may not be looked at.
    """
    ours = mount_of(path.resolve(), proc / "self/mountinfo")
    try:
        theirs = (proc / "1/mountinfo").read_text()
    except OSError:
        return False
    return ours is not None and not any(line.split()[2] == ours.device for line in theirs.splitlines())


def _unescape(text: str) -> str:
    """Blanks and backslashes are octal there."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
