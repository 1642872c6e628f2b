# SPDX-License-Identifier: Apache-2.0
"""Where ``bench.scale`` measures: a real `lbd` behind a router that leads to thousands of backends.

There is one machine behind all of their addresses, the router itself: what a backend costs the balancer does not depend
on who has its address.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from itertools import islice, product
from pathlib import Path

import grpc
from packets.wire import checksum
from testbed import BALANCER, HOST_INTERFACE, ROUTER, Lbd, Testbed, TestbedError, wait_until
from testbed.host import python_module

from bench.scale_config import BACKENDS_PREFIX, CHECK_PORT, VIP_PORT, Size, backend_address, pool_name, vip_address
from lb.api.backends import ALL_POOLS
from lb.api.config_file import load
from lb.dataplane import libbpf
from lb.dataplane.pins import PROGRAM
from lb.v1 import backend_pb2, backend_pb2_grpc, config_pb2, config_pb2_grpc

_CALL_SECONDS = 60.0
_CHECKED_SECONDS = 60.0
_POLL_SECONDS = 0.0005
_CLIENTS = IPv4Network("203.0.113.0/24")
_PORTS = range(1024, 65_536)
_TRIES = 100_000
_TOGGLE = (backend_pb2.Backend.DISABLED, backend_pb2.Backend.ENABLED)
_OUTER_DESTINATION = slice(30, 34)
_MACS = bytes.fromhex("020000000001020000000002")
_KIB = 1024


class Lab:
    """A running `lbd` and what is asked of it."""

    def __init__(self, bed: Testbed, lbd: Lbd, size: Size) -> None:
        self.lbd = lbd
        self._bed = bed
        self._size = size
        self._flows = product(_CLIENTS.hosts(), _PORTS)
        self._untouched = product(range(size.members), range(size.pools_compared))
        with bed.entered(BALANCER):
            self._ifindex = socket.if_nametoindex(HOST_INTERFACE)

    @contextmanager
    def _channel(self) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(self.lbd.target) as channel:
            grpc.channel_ready_future(channel).result(_CALL_SECONDS)
            yield channel

    def apply(self, file: Path, *, validate_only: bool = False, prune: bool = False) -> float:
        """Seconds that the API takes to plan a file, or to apply it."""
        request = config_pb2.ApplyConfigRequest(config=load(file).message, validate_only=validate_only, prune=prune)
        with self._channel() as channel:
            stub = config_pb2_grpc.ConfigServiceStub(channel)
            began = time.perf_counter()
            stub.ApplyConfig(request, timeout=_CALL_SECONDS)
            return time.perf_counter() - began

    def lbctl(self, *args: str) -> float:
        """Seconds that a command takes from its start to its end. Raises ``TestbedError`` when it fails."""
        began = time.perf_counter()
        done = self.lbd.lbctl_run(*args)
        took = time.perf_counter() - began
        if done.returncode != 0:
            raise TestbedError(f"lbctl {' '.join(args)}: exit code {done.returncode}: {done.stderr.strip()}")
        return took

    def wait_for_checks(self) -> None:
        """Until every backend was found UP."""
        with self._channel() as channel:
            stub = backend_pb2_grpc.BackendServiceStub(channel)

            def all_up() -> bool:
                return all(each.status.health.state == backend_pb2.HealthStatus.UP for each in _backends(stub))

            wait_until(all_up, _CHECKED_SECONDS, "not all backends were found UP")

    def restart(self) -> float:
        """Seconds from SIGKILL until `lbd` says that it is ready again."""
        began = time.perf_counter()
        self.lbd.kill()
        self.lbd.start()
        return time.perf_counter() - began

    def changes(self) -> list[float]:
        """Disable one backend after another, the next one in another pool, and enable it again.

        Each backend once only: the slots of one that has come back are MOVING, and flows there have a memory.

        Returns:
            Seconds that each change took, from the call until a packet went by it.
        """
        found: list[float] = []
        program = libbpf.obj_get(self.lbd.bpf_dir / PROGRAM)
        try:
            with self._channel() as channel, self._bed.entered(BALANCER):
                stub = backend_pb2_grpc.BackendServiceStub(channel)
                for member, pool in islice(self._untouched, self._size.changes):
                    found += self._toggle(stub, program, pool, member)
        finally:
            os.close(program)
        return found

    def _toggle(
        self, stub: backend_pb2_grpc.BackendServiceStub, program: int, pool: int, member: int
    ) -> Iterator[float]:
        address = backend_address(self._size, pool, member)
        packets = [self._packet_to(program, pool, address) for _ in _TOGGLE]
        for state, packet in zip(_TOGGLE, packets, strict=True):
            request = backend_pb2.UpdateBackendRequest(
                backend=backend_pb2.Backend(name=f"pools/{pool_name(pool)}/backends/b{member}", admin_state=state),
                update_mask={"paths": ["admin_state"]},
            )
            wanted = state == backend_pb2.Backend.ENABLED
            began = time.perf_counter()
            call = stub.UpdateBackend.future(request, timeout=_CALL_SECONDS)
            while (self._goes_to(program, packet) == address) != wanted:
                # Not when the call is answered: one that is checked takes flows after its first check.
                if time.perf_counter() - began > _CALL_SECONDS:
                    raise TestbedError(f"packets do not follow a change of {address}: {call}")
                time.sleep(_POLL_SECONDS)
            yield time.perf_counter() - began
            call.result()

    def _packet_to(self, program: int, pool: int, address: IPv4Address) -> bytes:
        """A SYN of a new flow to the pool's first VIP that goes to this backend now."""
        packets = (_syn(*flow, vip_address(pool)) for flow in islice(self._flows, _TRIES))
        found = next((packet for packet in packets if self._goes_to(program, packet) == address), None)
        if found is None:
            raise TestbedError(f"none of {_TRIES} packets to {vip_address(pool)} goes to {address}")
        return found

    def _goes_to(self, program: int, packet: bytes) -> IPv4Address | None:
        done = libbpf.prog_run(program, packet, ifindex=self._ifindex)
        return IPv4Address(done.data[_OUTER_DESTINATION]) if len(done.data) > len(packet) else None

    @property
    def prober_pid(self) -> int:
        """Of the process that `lbd` has its backends probed by."""
        (child,) = Path(f"/proc/{self.lbd.pid}/task/{self.lbd.pid}/children").read_text().split()
        return int(child)

    def map_bytes(self) -> int:
        """Memory of the maps that `lbd` holds, by the kernel's account; those that it shares with nobody."""
        found: dict[str, int] = {}
        for info in Path(f"/proc/{self.lbd.pid}/fdinfo").iterdir():
            fields = dict(line.split(":\t", 1) for line in info.read_text().splitlines() if ":\t" in line)
            if "map_id" in fields:
                found[fields["map_id"]] = int(fields["memlock"])
        return sum(found.values())

    def accepted(self) -> int:
        """Connections that the backends have accepted so far."""
        lines = self._bed.run(ROUTER, "cat", "/proc/net/snmp").stdout.splitlines()
        names, values = (line.split() for line in lines if line.startswith("Tcp:"))
        return int(dict(zip(names, values, strict=True))["PassiveOpens"])


@contextmanager
def lab(size: Size, prefix: str) -> Iterator[Lab]:
    """A network and an `lbd` without a configuration; all is removed afterwards. Raises ``TestbedError``."""
    with Testbed(backends=1, routed=True, name_prefix=prefix) as bed:
        bed.run(ROUTER, "ip", "route", "add", "local", BACKENDS_PREFIX, "dev", "lo")
        server = bed.start(ROUTER, "server", *python_module("testbed.tcp_echo", "backend", "--port", str(CHECK_PORT)))
        server.wait_for_line("ready")
        with Lbd(bed) as lbd:
            yield Lab(bed, lbd, size)


def _backends(stub: backend_pb2_grpc.BackendServiceStub) -> Iterator[backend_pb2.Backend]:
    request = backend_pb2.ListBackendsRequest(parent=ALL_POOLS, page_size=1_000)
    while True:
        page = stub.ListBackends(request, timeout=_CALL_SECONDS)
        yield from page.backends
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM, shared libraries included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * _KIB
    raise TestbedError(f"process {pid} has no memory")


def _syn(source: IPv4Address, port: int, destination: IPv4Address) -> bytes:
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source.packed, destination.packed)
    header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    return _MACS + b"\x08\x00" + header + struct.pack("!HHIIBBHHH", port, VIP_PORT, 1, 0, 0x50, 2, 1000, 0, 0)
