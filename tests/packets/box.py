# SPDX-License-Identifier: Apache-2.0
"""A balancer in a network namespace of its own, fed through BPF_PROG_TEST_RUN: the real program, maps and planner."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from lb.core.allocation import Allocation
from lb.core.model import Address, Config, Hop, NextHop
from lb.core.planner import Observed, Plan, Written, plan
from lb.core.verdicts import Verdict
from lb.dataplane import libbpf
from lb.dataplane.kernel import KernelDataPlane
from lb.dataplane.pins import PROGRAM, detach

HASH_KEY = bytes(range(16))
CLONE_NEWNET = 0x40000000
MAC_OF_BOX = bytes.fromhex("020000000001")


def mac_of(address: Address) -> bytes:
    """The next-hop MAC that the box's backends have."""
    return b"\x02\xbb" + address.packed[-4:]


@contextmanager
def namespace(name: str) -> Iterator[None]:
    """Make a network namespace, run the block inside it, remove it."""
    libc = ctypes.CDLL(None, use_errno=True)
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{name}") as away:  # noqa: PTH123 - fds
            assert libc.setns(away.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(home.fileno(), CLONE_NEWNET) == 0
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def make_interfaces() -> dict[str, int]:
    """``in0`` and ``out0``, each one end of a veth pair; returns their indices."""
    # Else the kernel's own neighbour discovery arrives among the test's packets and is counted.
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    for name in ("in0", "out0"):
        subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"], check=True)
        for end in (name, f"{name}p"):
            subprocess.run(["ip", "link", "set", end, "up", "mtu", "1600"], check=True)
    return {name: socket.if_nametoindex(name) for name in ("in0", "out0")}


class Box:
    """Two interfaces, ``in0`` and ``out0``; backends' next hops are on ``in0`` unless ``hops`` says otherwise."""

    def __init__(self, bpf_dir: Path) -> None:
        self.ifindex = make_interfaces()
        self.bpf_dir = bpf_dir
        self.data_plane = KernelDataPlane(bpf_dir, ["in0", "out0"])
        self.config = Config()
        self.hops: dict[Address, Hop] = {}
        self.clear: dict[int, frozenset[int]] = {}
        self.allocation = Allocation()
        try:
            self.data_plane.open()
            self.written = Written(self.data_plane.epochs())
            self.data_plane.load(HASH_KEY)
            self.data_plane.attach()
            self.program = libbpf.obj_get(bpf_dir / PROGRAM)
        except BaseException:
            # Else the bpffs stays busy, and unmounting it hides what went wrong.
            self.data_plane.close()
            raise

    def hop(self, address: Address) -> Hop:
        """As a resolver would answer."""
        default = NextHop("in0", self.ifindex["in0"], 1600, mac_of(address), MAC_OF_BOX, ip_address("10.0.0.1"))
        return self.hops.get(address, default)

    def configure(self, config: Config) -> Plan:
        """Bring the maps to a configuration."""
        self.data_plane.fence()
        flows = self.data_plane.flows
        observed = Observed(
            int(time.monotonic()), self.hop, self.data_plane.slots, flows.refused_at, flows.settle_seconds, self.clear
        )
        planned = plan(config, self.allocation, self.written, observed)
        self.data_plane.apply(planned.operations)
        self.config, self.allocation, self.written = config, planned.allocation, planned.written
        return planned

    def run(self, packet: bytes, interface: str = "in0") -> libbpf.ProgRun:
        """One packet through the program."""
        return libbpf.prog_run(self.program, packet, ifindex=self.ifindex[interface])

    def verdict(self, packet: bytes, interface: str = "in0") -> tuple[Verdict, libbpf.ProgRun]:
        """One packet, and the one verdict whose counter it moved."""
        before = self.counts()
        result = self.run(packet, interface)
        moved = {number: count - before[number] for number, count in self.counts().items() if count != before[number]}
        assert list(moved.values()) == [1], f"not exactly one verdict: {moved}"
        return Verdict(next(iter(moved))), result  # type: ignore[call-arg]

    def counts(self) -> Mapping[int, int]:
        """Packets by verdict number."""
        return {number: count.packets for number, count in self.data_plane.verdict_counts().items()}

    def close(self) -> None:
        """Detach and let go."""
        os.close(self.program)
        self.data_plane.close()
        detach(self.bpf_dir)


@contextmanager
def box() -> Iterator[Box]:
    """A box, and every trace of it removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="lb-box-") as folder, namespace(Path(folder).name):
        bpf_dir = Path(folder) / "bpf"
        try:
            made = Box(bpf_dir)
            try:
                yield made
            finally:
                made.close()
        finally:
            subprocess.run(["umount", str(bpf_dir)], check=True)
