# SPDX-License-Identifier: Apache-2.0
"""What a large configuration costs: time to apply it, to change one backend of it, to start with it; memory; checks.

``PYTHONPATH=netns-testbed:tests python -m bench.scale``
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
from testbed import TestbedError
from testbed.signals import Interrupted, interruptible

from bench.machine import describe
from bench.probes import cpu_seconds
from bench.scale_config import Size, config_text
from bench.scale_lab import Lab, lab, resident_bytes
from lb.api.config_file import load

Row = tuple[str, str]
"""What was measured, and what came of it."""

PREFIX = "lb-scale"
"""Of the testbeds."""

_MIB = 1 << 20


class Files:
    """The configuration files of a size, written when they are first asked for."""

    def __init__(self, folder: Path, size: Size) -> None:
        self._folder = folder
        self._size = size

    def get(self, vips: int, *, heavy: bool = False, checked: bool = False) -> Path:
        """See ``config_text``."""
        path = self._folder / f"{vips}-{heavy}-{checked}.yaml"
        if not path.exists():
            path.write_text(config_text(self._size, vips, heavy=heavy, checked=checked))
        return path


def measure(size: Size, files: Files, prefix: str = PREFIX) -> Iterator[Row]:
    """All rows. Raises ``TestbedError``."""
    with lab(size, prefix) as found:
        yield from _applied(found, files, size)
        yield from _memory(found)
        yield "restart: SIGKILL until ready", _seconds(found.restart())
    with lab(size, prefix) as found:
        yield from _parts(found, files, size)
        yield from _changed(found, files, size)
        yield from _checked(found, files, size)


def _applied(found: Lab, files: Files, size: Size) -> Iterator[Row]:
    """With `lbctl`, from the start of the command to its end."""
    file = files.get(size.vips)
    yield "`lbctl apply`, into an empty balancer", _seconds(found.lbctl("apply", "-f", str(file), "--yes"))
    yield "`lbctl apply`, nothing to change", _seconds(found.lbctl("apply", "-f", str(file), "--yes"))
    heavy = files.get(size.vips, heavy=True)
    yield "`lbctl diff`, one backend's weight differs", _seconds(found.lbctl("diff", "-f", str(heavy)))
    yield "`lbctl verify`, all maps read back", _seconds(found.lbctl("verify"))


def _memory(found: Lab) -> Iterator[Row]:
    yield "memory of `lbd`", _mebibytes(resident_bytes(found.lbd.pid))
    yield "memory of its prober", _mebibytes(resident_bytes(found.prober_pid))
    yield "memory of the maps", _mebibytes(found.map_bytes())


def _parts(found: Lab, files: Files, size: Size) -> Iterator[Row]:
    """Of applying: what `lbctl apply` has done one after the other."""
    file = files.get(size.vips)
    began = time.perf_counter()
    load(file)
    yield "of applying: the file is read and checked", _seconds(time.perf_counter() - began)
    yield "of applying: planned, rings and all", _seconds(found.apply(file, validate_only=True))
    yield "of applying: stored and written", _seconds(found.apply(file))


def _changed(found: Lab, files: Files, size: Size) -> Iterator[Row]:
    """How long a change of one backend takes must not depend on how many VIPs there are."""
    for vips in size.vips_compared:
        found.apply(files.get(vips), prune=True)
        yield f"one backend changed until forwarded by, {vips:,} VIPs", _spread(found.changes())


def _checked(found: Lab, files: Files, size: Size) -> Iterator[Row]:
    """All backends are checked, and everything goes on as before."""
    found.apply(files.get(size.vips, checked=True), prune=True)
    found.wait_for_checks()
    pids = {"its prober": found.prober_pid, "`lbd`": found.lbd.pid}
    began, accepted = time.perf_counter(), found.accepted()
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    time.sleep(size.check_seconds)
    took, probes = time.perf_counter() - began, found.accepted() - accepted
    shares = {name: (cpu_seconds(pid) - before[name]) / took for name, pid in pids.items()}
    yield f"health checks of {size.backends:,} backends", f"{probes / took:,.0f} a second"
    for name, share in shares.items():
        yield f"share of a core that they cost {name}", f"{share:.0%}"
    yield f"one backend changed until forwarded by, {size.vips:,} VIPs, checked", _spread(found.changes())


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _spread(values: Sequence[float]) -> str:
    return f"median {1000 * statistics.median(values):.0f} ms, longest {1000 * max(values):.0f} ms"


def _mebibytes(value: int) -> str:
    return f"{value / _MIB:.0f} MiB"


def main() -> int:
    """Prints a table in Markdown. Exit code 0 when all was measured, whatever the times."""
    if os.geteuid() != 0:
        print("bench.scale: needs root: it makes network namespaces and loads BPF programs", file=sys.stderr)
        return 1
    size = Size()
    machine = describe()
    print(f"{size.vips:,} VIPs, {size.pools} pools, {size.members} backends in each")
    print(", ".join(f"{name} {machine[name]}" for name in ("cpu", "cpus", "memory", "kernel", "load", "python")))
    try:
        with interruptible(), tempfile.TemporaryDirectory(prefix="lb-scale-") as folder:
            for what, value in measure(size, Files(Path(folder), size)):
                print(f"| {what} | {value} |", flush=True)
    except (TestbedError, OSError, grpc.RpcError) as error:
        print(f"bench.scale: {error}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print(f"bench.scale: {interrupted}; all is removed", file=sys.stderr)
        return 128 + interrupted.number
    return 0


if __name__ == "__main__":
    sys.exit(main())
