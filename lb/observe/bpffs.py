# SPDX-License-Identifier: Apache-2.0
"""Where the data plane is pinned, and for how long it lives there: a mount goes with its mount namespace."""

from __future__ import annotations

from pathlib import Path

from lb.dataplane.mounts import is_private, mount_of
from lb.observe.findings import ok, warning
from lb.ports import Finding


def examine_bpffs(bpf_dir: Path, proc: Path) -> Finding:
    """Look at what is mounted on ``bpf_dir``, here and in the mount namespace of process 1."""
    found = mount_of(bpf_dir.resolve(), proc / "self/mountinfo")
    if found is None or found.kind != "bpf":
        remedy = (
            f"`mount -t bpf bpf {bpf_dir}` on the host (with the units that come with lb: `systemctl start "
            "run-lb-bpf.mount`); lbd does it by itself where it has CAP_SYS_ADMIN"
        )
        return warning("machine", "bpffs", f"none is mounted on {bpf_dir}", remedy)
    if not is_private(bpf_dir, proc):
        return ok("machine", "bpffs", f"mounted on {found.point}")
    remedy = (
        f"stop lbd, `lbctl detach`, `mount -t bpf bpf {found.point}` in the host's mount namespace, start lbd: else "
        "the data plane ends with the last process of this one"
    )
    return warning("machine", "bpffs", f"{found.point} is private to a mount namespace", remedy)
