# SPDX-License-Identifier: Apache-2.0
"""A bpf dir and two interfaces that outlive the daemons, of whichever release, that come and go there."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from packets.box import HASH_KEY, make_interfaces, namespace

from lb.dataplane import carry, generation, libbpf, map_set, maps, program
from lb.dataplane.compiler import Object, compile_source
from lb.dataplane.kernel import KernelDataPlane
from lb.dataplane.map_set import PinnedMap, open_found
from lb.dataplane.pins import detach
from lb.dataplane.source import Source, balancer_source
from lb.ports import XdpMode

_PASS = "#include <uapi/linux/bpf.h>\nint balancer(struct xdp_md *ctx) { return XDP_PASS; }\n"


def start(plane: KernelDataPlane) -> None:
    """The rest of what a daemon does until it forwards, with a program that the verifier is through with at once."""
    plane.load_source(Source(_PASS, balancer_source(HASH_KEY).defines))
    plane.attach()


def start_balancing(plane: KernelDataPlane) -> None:
    """The same with the real program."""
    plane.load(HASH_KEY)
    plane.attach()


@dataclass(frozen=True, slots=True)
class Site:
    """Inside a network namespace of its own; ``ifindex`` by interface name."""

    bpf_dir: Path
    ifindex: dict[str, int]

    @contextmanager
    def daemon(
        self, interfaces: Sequence[str] = ("in0", "out0"), mode: XdpMode | None = None, *, replace: bool = False
    ) -> Iterator[KernelDataPlane]:
        """Open the data plane as a daemon does when it starts; let go of it as one that dies does."""
        plane = KernelDataPlane(self.bpf_dir, interfaces, mode, replace=replace)
        try:
            plane.open()
            yield plane
        finally:
            plane.close()

    @contextmanager
    def pinned(self, name: str, folder: str = "maps") -> Iterator[PinnedMap]:
        """A map that is pinned there."""
        opened = open_found(self.bpf_dir / folder / name)
        try:
            yield opened
        finally:
            opened.close()

    def ids(self) -> dict[str, int]:
        """The kernel's number of every pinned map, by the pin's name."""
        found = {}
        for path in (self.bpf_dir / "maps").iterdir():
            with self.pinned(path.name) as opened:
                found[path.name] = libbpf.map_info(opened.fd).id
        return found

    @property
    def folders(self) -> set[str]:
        """Generations of maps that are there."""
        return {path.name for path in self.bpf_dir.iterdir()} & {"maps", "maps~new", "maps~old"}


@contextmanager
def compiled_once() -> Iterator[None]:
    """Daemons compile each program once among them all: it takes longer than all else that they do."""
    known: dict[bytes, Object] = {}

    def compile_new(source: Source, functions: Sequence[str], symbols: Sequence[str]) -> Object:
        if source.digest not in known:
            known[source.digest] = compile_source(source, functions, symbols)
        return known[source.digest]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "compile_source", compile_new)
        yield


@contextmanager
def site() -> Iterator[Site]:
    """Everything of it is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="lb-site-") as folder, namespace(Path(folder).name):
        bpf_dir = Path(folder) / "bpf"
        try:
            yield Site(bpf_dir, make_interfaces())
        finally:
            detach(bpf_dir)
            subprocess.run(["umount", str(bpf_dir)], check=True)


@contextmanager
def release(**changes: dict[str, int]) -> Iterator[None]:
    """Within it, daemons are of a release whose maps differ: ``release(flows={"max_entries": 16})``."""
    ring = replace(maps.RING, **changes.pop("ring", {}))
    specs = [replace(spec, **changes.get(spec.name, {})) for spec in maps.PERSISTENT]
    specs = [replace(spec, inner=ring) if spec.inner is not None else spec for spec in specs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "PERSISTENT", tuple(specs))
        for module in (maps, map_set, carry, generation):
            patch.setattr(module, "RING", ring)
        yield
