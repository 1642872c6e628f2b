# SPDX-License-Identifier: Apache-2.0
"""The map that says whose the others are: complete, and of which layout."""

from __future__ import annotations

import enum
from pathlib import Path

from lb.dataplane import libbpf, maps
from lb.dataplane.map_set import PinnedMap, open_found
from lb.dataplane.maps import META

_MAGIC = b"lb maps\0"


class Origin(enum.Enum):
    """Who made the maps of a folder."""

    NOBODY = "nobody"
    """There are none, or their making was cut short."""
    THIS_LAYOUT = "this layout"
    OTHER_LAYOUT = "another layout"
    UNKNOWN = "unknown"


def seal(meta: PinnedMap) -> None:
    """Write down that the maps beside this one are complete, and of this release's layout."""
    libbpf.map_update(meta.fd, bytes(4), (_MAGIC + maps.layout_hash()).ljust(meta.spec.value_size, b"\0"))


def origin(folder: Path) -> Origin:
    """Who made the maps in a folder. Raises ``OSError`` when the kernel refuses to say."""
    try:
        meta = open_found(folder / META.name)
    except FileNotFoundError:
        return Origin.NOBODY
    try:
        if meta.spec.type != META.type or meta.spec.key_size != META.key_size:
            return Origin.UNKNOWN
        found = libbpf.map_lookup(meta.fd, bytes(4), max(meta.spec.value_size, 8))
    finally:
        meta.close()
    if not any(found):
        return Origin.NOBODY
    if not found.startswith(_MAGIC):
        return Origin.UNKNOWN
    this = found[len(_MAGIC) :].startswith(maps.layout_hash())
    return Origin.THIS_LAYOUT if this else Origin.OTHER_LAYOUT
