# SPDX-License-Identifier: Apache-2.0
"""The guest's whole file system: busybox, a few modules, this host's shell, iproute2 and socat, the recipe."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from testbed.host import TestbedError, run

from interop.packages import Unpacked

INIT = Path(__file__).parent / "guest-init.sh"

_MODULES = ("virtio_pci", "virtio_net", "ipip", "sit", "ip6_tunnel")
_PROGRAMS = ("dash", "ip", "socat")
"""busybox's ``ip`` knows no ip6tnl, its ``nc`` no UDP, and its ``sh`` runs its own ``ip`` whatever PATH says."""
_LIBRARY = re.compile(r"(/\S+) \(0x")


def make_initramfs(unpacked: Unpacked, recipe: str, folder: Path) -> Path:
    """Build it below ``folder``; returns the archive. Raises ``TestbedError``."""
    root = folder / "root"
    for name in ("bin", "sbin", "proc", "sys", "dev", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(unpacked.busybox, root / "bin" / "busybox")
    (root / "bin" / "sh").symlink_to("dash")
    # The kernel calls it when somebody makes a device of a type that it does not know yet.
    (root / "sbin" / "modprobe").symlink_to("/bin/busybox")
    for program in _PROGRAMS:
        _copy_program(program, root)
    _copy_modules(unpacked.modules, root)
    shutil.copy(INIT, root / "init")
    (root / "init").chmod(0o755)
    (root / "recipe.sh").write_text(recipe)
    archive = folder / "initramfs.cpio"
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    # Not compressed: an emulated CPU would take longer to unpack it than the disk to read it.
    run(["cpio", "--quiet", "-o", "-H", "newc", "-D", str(root), "-F", str(archive)], stdin=names)
    return archive


def _copy_program(name: str, root: Path) -> None:
    """With its libraries, where the loader looks for them."""
    path = shutil.which(name)
    if path is None:
        raise TestbedError(f"{name} is not installed: `make interop` installs what it needs")
    shutil.copy(path, root / "bin" / name)
    for library in _LIBRARY.findall(run(["ldd", path]).stdout):
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)


def _copy_modules(modules: Path, root: Path) -> None:
    target = root / "lib" / "modules" / modules.name
    for module in needed_modules((modules / "modules.dep").read_text(), _MODULES):
        (target / module).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(modules / module, target / module)
    for index in ("modules.dep", "modules.alias"):
        shutil.copy(modules / index, target / index)


def needed_modules(modules_dep: str, names: Iterable[str]) -> set[str]:
    """Paths of the modules and of all that they depend on, out of the text of a modules.dep.

    Raises:
        TestbedError: A module is not there: the kernel has it built in, or not at all.
    """
    lines = (line.split(":") for line in modules_dep.splitlines())
    depends = {path: rest.split() for path, rest in lines}
    path_of = {Path(path).name.removesuffix(".ko"): path for path in depends}
    missing = sorted(set(names) - path_of.keys())
    if missing:
        raise TestbedError(f"the guest's kernel has no module {', '.join(missing)}")
    needed: set[str] = set()
    waiting = [path_of[name] for name in names]
    while waiting:
        path = waiting.pop()
        if path not in needed:
            needed.add(path)
            waiting += depends[path]
    return needed
