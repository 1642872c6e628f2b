# SPDX-License-Identifier: Apache-2.0
"""What the figures were measured on."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from lb.dataplane.libbpf import library


def describe() -> dict[str, str]:
    """Name to value, all readable."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    meminfo = Path("/proc/meminfo").read_text()
    memory_kib = int(_find(r"^MemTotal:\s*(\d+) kB$", meminfo, "0"))
    return {
        "cpu": _find(r"^model name\s*: (.*)$", cpuinfo),
        "cpus": str(len(os.sched_getaffinity(0))),
        "cache": _find(r"^cache size\s*: (.*)$", cpuinfo),
        "memory": f"{memory_kib / 2**20:.1f} GiB",
        "virtual": "yes" if re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE) else "no",
        "kernel": f"{platform.release()} {platform.machine()}",
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "libbpf": _libbpf_version(),
        "bcc": _bcc_version(),
        "python": platform.python_version(),
    }


def _find(pattern: str, text: str, default: str = "unknown") -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else default


def _libbpf_version() -> str:
    function = library().libbpf_version_string
    function.restype = ctypes.c_char_p
    return str(function().decode())


def _bcc_version() -> str:
    # In a child: bcc stays resident where it is imported.
    child = subprocess.run(
        [sys.executable, "-c", "import bcc; print(bcc.__version__)"], capture_output=True, text=True, check=False
    )
    return child.stdout.strip() or "unknown"
