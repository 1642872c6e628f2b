# SPDX-License-Identifier: Apache-2.0
"""The tunnel of health checks in a namespace of its own: its program, the pinned map of backends, two interfaces."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from packets.box import namespace

from lb.core.layout import BackendEntry, pack_backend
from lb.daemon.tunnel import Tunnel
from lb.dataplane import libbpf
from lb.dataplane.kernel import KernelDataPlane
from lb.dataplane.pins import detach

INTERFACES = ("in0", "out0")
_CONTEXT_FIELDS = 48
_MARK, _IFINDEX = 2, 10


@dataclass(frozen=True, slots=True)
class Result:
    """TC_ACT_*, the frame afterwards, and its mark."""

    action: int
    data: bytes
    mark: int


@dataclass(frozen=True, slots=True)
class ProbeBox:
    """Interfaces ``in0`` and ``out0``; their other ends are called ``in0p`` and ``out0p``."""

    bpf_dir: Path

    def write(self, index: int, entry: BackendEntry) -> None:
        """Set a backend's entry; it does not accept clients' flows."""
        fd = libbpf.obj_get(self.bpf_dir / "maps" / "backends")
        try:
            libbpf.map_update(fd, index.to_bytes(4, "little"), pack_backend(entry, 0))
        finally:
            os.close(fd)

    def run(self, frame: bytes, mark: int, interface: str = "in0") -> Result:
        """One frame that leaves by an interface, through BPF_PROG_TEST_RUN."""
        context = (ctypes.c_uint32 * _CONTEXT_FIELDS)()  # struct __sk_buff
        context[_MARK], context[_IFINDEX] = mark, socket.if_nametoindex(interface)
        given = ctypes.create_string_buffer(frame, len(frame))
        out = ctypes.create_string_buffer(len(frame) + 256)
        opts = libbpf._TestRunOpts(
            sz=ctypes.sizeof(libbpf._TestRunOpts),
            data_in=ctypes.addressof(given),
            data_size_in=len(frame),
            data_out=ctypes.addressof(out),
            data_size_out=len(out),
            ctx_in=ctypes.addressof(context),
            ctx_size_in=ctypes.sizeof(context),
            ctx_out=ctypes.addressof(context),
            ctx_size_out=ctypes.sizeof(context),
            repeat=1,
        )
        program = libbpf.obj_get(self.bpf_dir / "probe")
        try:
            libbpf.checked(libbpf.library().bpf_prog_test_run_opts(program, ctypes.byref(opts)), "run program")
        finally:
            os.close(program)
        return Result(ctypes.c_int32(opts.retval).value, out.raw[: opts.data_size_out], context[_MARK])

    def tunnel(self, interfaces: Sequence[str] = INTERFACES) -> Tunnel:
        """One that is not started yet."""
        return Tunnel(self.bpf_dir, interfaces)


@contextmanager
def probe_box() -> Iterator[ProbeBox]:
    """A box whose maps are pinned; nothing is attached. Every trace is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="lb-probe-") as folder, namespace(Path(folder).name), ExitStack() as stack:
        # Else the kernel's own neighbour discovery arrives among the test's packets.
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        for name in INTERFACES:
            ip(f"link add {name} type veth peer name {name}p", f"link set {name} up", f"link set {name}p up")
        bpf_dir = Path(folder) / "bpf"
        data_plane = KernelDataPlane(bpf_dir, INTERFACES)
        stack.callback(subprocess.run, ["umount", str(bpf_dir)], check=True)
        stack.callback(detach, bpf_dir)
        stack.callback(data_plane.close)
        data_plane.open()
        yield ProbeBox(bpf_dir)


def ip(*commands: str) -> None:
    """Run ``ip`` commands in the namespace of this thread."""
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)
