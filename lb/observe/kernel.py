# SPDX-License-Identifier: Apache-2.0
"""Findings about the kernel: what the data plane and the tunnel of the health checks are made of."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from lb.observe.findings import ok, problem, warning
from lb.ports import Finding

OLDEST_KERNEL = (5, 15)

_DATA_PLANE: Final = ("BPF_SYSCALL", "BPF_JIT")
_TUNNEL: Final = ("NET_SCH_INGRESS", "NET_CLS_ACT", "NET_CLS_BPF", "IP_MULTIPLE_TABLES")


def examine_kernel(root: Path, release: str) -> Iterator[Finding]:
    """Look at a kernel's version, options and settings.

    Args:
        root: Where /proc, /boot and /lib are.
        release: "6.1.0-18-amd64".
    """
    yield _version(release)
    yield from _options(_read_options(root, release))
    yield from _jit(root / "proc/sys/net/core")


def _version(release: str) -> Finding:
    found = re.match(r"(\d+)\.(\d+)", release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version >= OLDEST_KERNEL:
        return ok("machine", "kernel", release)
    return problem("machine", "kernel", release, f"run Linux {'.'.join(map(str, OLDEST_KERNEL))} or newer")


def _read_options(root: Path, release: str) -> Mapping[str, str]:
    """Values by name without CONFIG_; empty when this kernel's configuration is nowhere to be found."""
    for name in ("proc/config.gz", f"boot/config-{release}", f"lib/modules/{release}/config"):
        try:
            data = (root / name).read_bytes()
        except OSError:
            continue
        text = (gzip.decompress(data) if name.endswith(".gz") else data).decode(errors="replace")
        return dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE))
    return {}


def _options(options: Mapping[str, str]) -> Iterator[Finding]:
    if not options:
        return
    missing = [name for name in _DATA_PLANE if name not in options]
    if missing:
        remedy = "run a kernel that has it: distribution kernels do"
        yield problem("machine", "kernel options", f"missing {_words(missing)}", remedy)
    missing_tunnel = [name for name in _TUNNEL if name not in options]
    if missing_tunnel:
        remedy = "run a kernel that has it: until then health checks go to the backends' own addresses"
        yield warning("machine", "kernel options", f"missing {_words(missing_tunnel)}", remedy)
    if not missing and not missing_tunnel:
        yield ok("machine", "kernel options", "all that are needed")


def _words(options: list[str]) -> str:
    return ", ".join(f"CONFIG_{name}" for name in options)


def _jit(settings: Path) -> Iterator[Finding]:
    enabled = _setting(settings / "bpf_jit_enable")
    if enabled == "0":
        remedy = "`sysctl -w net.core.bpf_jit_enable=1`: interpreted programs are several times slower"
        yield problem("machine", "BPF JIT", "off", remedy)
        return
    if _setting(settings / "bpf_jit_harden") == "2":
        remedy = "`sysctl -w net.core.bpf_jit_harden=1` hardens it for programs of ordinary users alone"
        yield warning("machine", "BPF JIT", "hardened also for root, which makes programs slower", remedy)
        return
    # Other network namespaces than the first have no such settings.
    yield ok("machine", "BPF JIT", "on" if enabled else "its settings are not shown in this network namespace")


def _setting(path: Path) -> str:
    """Of a file below /proc/sys; "" where there is none, or we may not read it."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
