# SPDX-License-Identifier: Apache-2.0
"""Debian packages that are unpacked into a cache, not installed: the guest's kernel, and its static busybox."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from testbed.host import TestbedError, run

CACHE = Path(__file__).resolve().parents[2] / "build" / "interop"

_KERNEL = "linux-image-cloud-amd64"
"""Depends on the kernel of the day; that one's name has the version in it."""
_DOWNLOAD_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Unpacked:
    """``modules``: the folder ``lib/modules/VERSION``, with modules.dep and modules.alias made."""

    busybox: Path
    kernel: Path
    modules: Path


def unpacked() -> Unpacked:
    """What the guest is made of; downloads it the first time (28 MB). Raises ``TestbedError``."""
    if not CACHE.exists():
        CACHE.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="interop-", dir=CACHE.parent) as folder:
            _download(Path(folder) / "root")
            (Path(folder) / "root").rename(CACHE)
    return _inside(CACHE)


def _inside(root: Path) -> Unpacked:
    kernels, modules = list(root.glob("boot/vmlinuz-*")), list(root.glob("lib/modules/*"))
    if len(kernels) != 1 or len(modules) != 1:
        raise TestbedError(f"{root} does not hold one kernel with its modules: remove it, and it is made anew")
    return Unpacked(root / "bin" / "busybox", kernels[0], modules[0])


def _download(root: Path) -> None:
    packages = ["busybox-static", _kernel_package()]
    print(f"downloading {' and '.join(packages)}", flush=True)
    debs = root / "debs"
    debs.mkdir(parents=True)
    run(["env", f"--chdir={debs}", "apt-get", "download", "-qq", *packages], timeout_seconds=_DOWNLOAD_SECONDS)
    for deb in debs.glob("*.deb"):
        run(["dpkg-deb", "-x", str(deb), str(root)])
    shutil.rmtree(debs)
    found = _inside(root)
    run([str(found.busybox), "depmod", "-b", str(root), found.modules.name])


def _kernel_package() -> str:
    # Old lists name versions that mirrors no longer have.
    run(["apt-get", "update", "-qq"], timeout_seconds=_DOWNLOAD_SECONDS)
    # apt-cache fails where no list has the package.
    listed = run(["apt-cache", "depends", "--important", _KERNEL], check=False).stdout
    match = re.search(r"Depends: (linux-image-\S+)", listed)
    if match is None:
        raise TestbedError(f"apt knows no package {_KERNEL}: Debian for amd64 with its main section is needed")
    return match[1]
