# SPDX-License-Identifier: Apache-2.0
"""What lbd must be allowed to do, and what this process is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

NEEDED: Final[Mapping[str, int]] = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_PERFMON": 38, "CAP_BPF": 39}
"""Bits, by name. NET_ADMIN: attach programs, ask for neighbours, mark the sockets of checks. NET_RAW: pings. PERFMON:
arithmetic on packet pointers. BPF: programs and maps."""


def missing_capabilities(proc: Path = Path("/proc")) -> tuple[str, ...]:
    """Those that this process lacks; ``proc``: where procfs is mounted."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", (proc / "self/status").read_text(), re.MULTILINE)
    bits = int(found[1], 16) if found else 0
    return tuple(name for name, bit in NEEDED.items() if not bits >> bit & 1)
