# SPDX-License-Identifier: Apache-2.0
"""The testbed itself: builds a topology, runs things in it, and removes every trace of it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType

from lb.core.errors import LbError
from testbed.background import Background
from testbed.build import link_commands, node_script, tunnel_commands, tunnel_removal
from testbed.host import (
    NETNS,
    TestbedError,
    claim,
    entered,
    inside,
    kill_all_in,
    python_module,
    run,
    unmount_below,
)
from testbed.programs import PASS, attach, compile_decap
from testbed.servers import nginx_command
from testbed.signals import signals_held
from testbed.topology import CLIENT, DEFAULT_VIPS, HOST_INTERFACE, Node, Topology, flat_topology, routed_topology

STATE_ROOT = Path("/run/lb-testbed")
_LOAD_SECONDS = 300.0
_BACKEND = re.compile(r"b\d+")


@dataclass(frozen=True, slots=True)
class Served:
    """Who answered how many of a client's requests; ``errors``: some of the failures, in words."""

    served: dict[str, int]
    failed: int
    errors: tuple[str, ...]


@cache
def _decap(*addresses: str) -> bytes:
    """Compiled once for all the testbeds of this process, whose backends have the same addresses."""
    try:
        return compile_decap(map(ip_address, addresses))
    except LbError as error:
        raise TestbedError(error.message) from error


class Testbed:
    """A client, a balancer and backends in network namespaces called ``PREFIX-client``, ``PREFIX-b1``, ...

    ``with Testbed(backends=3, name_prefix="lb-x") as bed:`` builds it and removes it. Needs root. Raises
    ``TestbedError``.
    """

    __test__ = False  # the name is no test class's

    def __init__(
        self,
        backends: int = 3,
        routed: bool = False,
        name_prefix: str = "lb-testbed",
        vips: Sequence[str] = DEFAULT_VIPS,
    ) -> None:
        self.topology: Topology = (routed_topology if routed else flat_topology)(backends, vips)
        self.prefix = name_prefix
        self.state_dir = STATE_ROOT / name_prefix
        self._background: list[Background] = []
        self._claim: socket.socket | None = None

    def __enter__(self) -> Testbed:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def backends(self) -> tuple[str, ...]:
        """Names of the backends: "b1", "b2", ..."""
        return self.topology.backends

    @property
    def vip(self) -> str:
        """The first IPv4 VIP."""
        return self.topology.vip(4)

    @property
    def vip6(self) -> str:
        """The first IPv6 VIP."""
        return self.topology.vip(6)

    def address(self, node: str, version: int = 4) -> str:
        """The IPv4 or IPv6 address of a client, balancer or backend."""
        return self.topology.address(node, version)

    def namespace(self, node: str) -> str:
        """The network namespace of a node."""
        return f"{self.prefix}-{node}"

    def run(
        self, node: str, *argv: str, check: bool = True, stdin: str | None = None, timeout_seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a node's namespace, to its end."""
        return run(inside(self.namespace(node), argv), check=check, stdin=stdin, timeout_seconds=timeout_seconds)

    def start(self, node: str, name: str, *argv: str) -> Background:
        """Start a process in a node's namespace; it ends with the testbed. ``name``: of its logs, unique."""
        with signals_held():  # an interrupt finds it either not started, or in our care
            started = Background(name, inside(self.namespace(node), argv), self.state_dir)
            self._background.append(started)
        return started

    def entered(self, node: str) -> AbstractContextManager[None]:
        """Put this thread into a node's namespace, for sockets and system calls of a test's own."""
        return entered(self.namespace(node))

    def mac(self, node: str, interface: str = HOST_INTERFACE) -> str:
        """The Ethernet address of an interface."""
        (found,) = json.loads(self.run(node, "ip", "-json", "link", "show", "dev", interface).stdout)
        return str(found["address"])

    def http(self, url: str, count: int, concurrency: int = 8) -> Served:
        """``count`` HTTP requests from the client, each on a connection of its own."""
        return self._load("http", url, str(count), "--concurrency", str(concurrency))

    def udp(self, host: str, port: int, count: int, concurrency: int = 8) -> Served:
        """``count`` UDP echoes from the client, each from a port of its own."""
        return self._load("udp", host, str(port), str(count), "--concurrency", str(concurrency))

    def _load(self, *args: str) -> Served:
        done = self.run(CLIENT, *python_module("testbed.client", *args), timeout_seconds=_LOAD_SECONDS)
        answer = json.loads(done.stdout)
        return Served(answer["served"], answer["failed"], tuple(answer["errors"]))

    def up(self) -> None:
        """Build it, or nothing at all; raises ``TestbedError``, also when there is one of that name already."""
        self._claim = claim(self.prefix)
        if self.left_behind():
            self.release()
            raise TestbedError(f"testbed {self.prefix!r} is up already, or half of it: `down` removes it")
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        self.state_dir.mkdir(parents=True)
        for node in self.topology.nodes:
            run(["ip", "netns", "add", self.namespace(node)])
        run(["ip", "-batch", "-"], stdin=link_commands(self.topology, self.prefix))
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._set_up, self.topology.nodes.values()))
            list(pool.map(self._serve, self.backends))

    def _set_up(self, node: Node) -> None:
        self.run(node.name, "sh", "-eu", stdin=node_script(self.topology, node))
        if node.infrastructure:
            for interface, _ in self.topology.interfaces(node.name):
                self._attach(node.name, interface, "pass", PASS)

    def _serve(self, name: str) -> None:
        self.unwrap(name)
        self.run(name, *nginx_command(name, self.state_dir / f"nginx-{name}"))
        modules = {f"{protocol}-echo-{name}": f"testbed.{protocol}_echo" for protocol in ("tcp", "udp")}
        for echo in [self.start(name, log, *python_module(module, name)) for log, module in modules.items()]:
            echo.wait_for_line("ready")

    def unwrap(self, name: str) -> None:
        """Let a backend unwrap its tunnel packets: the kernel's own devices where it has them, else our program."""
        made = self.run(name, "ip", "-batch", "-", stdin=tunnel_commands(self.topology, name), check=False)
        if made.returncode != 0:  # the program is in front of whichever of them it could make
            self._attach(name, HOST_INTERFACE, "decap", _decap(*(self.address(name, version) for version in (4, 6))))

    def stop_unwrapping(self, name: str) -> None:
        """Undo ``unwrap``: tunnel packets get no further than the host."""
        self.run(name, "ip", "link", "set", "dev", HOST_INTERFACE, "xdp", "off")
        self.run(name, "ip", "-force", "-batch", "-", stdin=tunnel_removal(), check=False)

    def _attach(self, node: str, interface: str, name: str, instructions: bytes) -> None:
        with self.entered(node):
            attach(interface, name, instructions)

    def left_behind(self) -> list[str]:
        """What exists of this testbed: its namespaces and its state folder."""
        namespaces = [str(NETNS / name) for name in self._namespaces()]
        return namespaces + ([str(self.state_dir)] if self.state_dir.exists() else [])

    def _namespaces(self) -> list[str]:
        """Its namespaces, also those of an earlier one with more backends or another topology."""
        roles = {*self.topology.nodes, *routed_topology(1).nodes}
        found = {path.name: path.name.removeprefix(f"{self.prefix}-") for path in NETNS.glob(f"{self.prefix}-*")}
        return [name for name, role in found.items() if role in roles or _BACKEND.fullmatch(role)]

    def close(self) -> None:
        """Remove every trace, also of half a testbed or of one that another process left up. Idempotent."""
        with signals_held():
            self._claim = self._claim or claim(self.prefix)
            try:
                self._remove()
            finally:
                self.release()

    def _remove(self) -> None:
        namespaces = self._namespaces()
        kill_all_in(namespaces)
        for started in self._background:
            started.kill()
        self._background.clear()
        unmount_below(self.state_dir)
        for namespace in namespaces:
            run(["ip", "netns", "delete", namespace])
        if self.state_dir.exists():
            shutil.rmtree(self.state_dir)
        with suppress(OSError):  # others' testbeds are in it
            STATE_ROOT.rmdir()

    def release(self) -> None:
        """Let other processes have the name; what is up stays up."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None
