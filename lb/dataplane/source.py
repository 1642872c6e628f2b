# SPDX-License-Identifier: Apache-2.0
"""The program's source as one text: local includes joined, because bcc rewrites map lookups in the main file only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lb.core.checks import PROBE_MARK, PROBE_MARK_MASK
from lb.core.hashing import HASH_KEY_WORDS, expand_hash_key
from lb.core.model import RING_SIZE

_INCLUDE = re.compile(r'^#include "([^"]+)"$')


def source_dir() -> Path:
    """The folder of the C sources: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "xdp"
    return installed if installed.is_dir() else package.parent / "xdp"


@dataclass(frozen=True, slots=True)
class Source:
    """One compilation: C text and constants (``-D``)."""

    text: str
    defines: Mapping[str, str]

    @property
    def hash_keys(self) -> tuple[int, ...]:
        """What flows are hashed with: see ``core.hashing``."""
        return tuple(int(self.defines[f"HASH_KEY_{i}"].removesuffix("ULL"), 16) for i in range(HASH_KEY_WORDS))

    @property
    def digest(self) -> bytes:
        """32 bytes that differ when the program would."""
        hashed = hashlib.sha256(self.text.encode())
        for name, value in sorted(self.defines.items()):
            hashed.update(f"\0{name}={value}".encode())
        return hashed.digest()


def join_includes(path: Path) -> str:
    """Text of ``path`` with every ``#include "..."`` replaced by the file once; ``#line`` keeps errors readable."""
    return "".join(_joined(path, set()))


def _joined(path: Path, seen: set[Path]) -> list[str]:
    name = f"xdp/{path.name}"
    out = [f'#line 1 "{name}"\n']
    for number, line in enumerate(path.read_text().splitlines(keepends=True), 1):
        match = _INCLUDE.match(line.strip())
        if match is None:
            out.append(line)
            continue
        included = path.parent / match[1]
        if included not in seen:
            seen.add(included)
            out += _joined(included, seen)
        out.append(f'#line {number + 1} "{name}"\n')
    return out


def balancer_source(hash_key: bytes, *, multi_buffer: bool = False) -> Source:
    """The balancer, compiled for a configuration.

    ``hash_key``: 16 bytes. ``multi_buffer``: frames may span several buffers, as drivers need it for jumbo frames.
    """
    defines = {
        **({"MULTI_BUFFER": "1"} if multi_buffer else {}),
        "RING_SIZE": f"{RING_SIZE}U",
        **{f"HASH_KEY_{i}": f"{word:#x}ULL" for i, word in enumerate(expand_hash_key(hash_key))},
    }
    return Source(join_includes(source_dir() / "balancer.c"), defines)


def probe_source() -> Source:
    """The program that wraps health checks."""
    defines = {"PROBE_MARK": f"{PROBE_MARK:#x}U", "PROBE_MARK_MASK": f"{PROBE_MARK_MASK:#x}U"}
    return Source(join_includes(source_dir() / "probe.c"), defines)
