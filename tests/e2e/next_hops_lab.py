# SPDX-License-Identifier: Apache-2.0
"""A box and its neighbours, in network namespaces without a name: nothing is left when the test ends.

The test's body runs in a thread that is alone in the box's namespace (``in_new_namespace``). The machines on the other
ends of its links live in a second namespace, held by a sleeping process (``Lab``).
"""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any

from lb.core.model import Address, Hop
from lb.ports import NextHops

_CLONE_NEWNET = 0x40000000
DEADLINE_SECONDS = 5.0


def in_new_namespace(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine in a loop and thread of its own, in a network namespace that ends with it."""
    failures: list[BaseException] = []

    def run() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            if libc.unshare(_CLONE_NEWNET):  # of this thread alone; what it starts inherits it
                raise OSError(ctypes.get_errno(), "no unshare of a network namespace")
            asyncio.run(body())
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            failures.append(error)

    thread = threading.Thread(target=run, name="next-hops-lab")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


class Lab:
    """Links "a0" and "b0" of the box, to "a1" and "b1" of the machines around: 10.9.0.0/24, 10.8.0.0/24 and IPv6."""

    def __enter__(self) -> Lab:
        self._peer = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        try:
            wait_now(lambda: _namespace(str(self._peer.pid)) != _namespace("thread-self"))
            self.tune("ipv6/conf/default/dad_transmits", "0")  # link-local addresses are of use at once, not in 2 s
            self.tune_peer("ipv6/conf/default/dad_transmits", "0")
            self.ip("link set lo up")
            self.peer("link set lo up")
            for name, digit in (("a", 9), ("b", 8)):
                self.link(name)
                self.ip(f"address add 10.{digit}.0.1/24 dev {name}0")
                self.ip(f"address add fd00:{digit}::1/64 dev {name}0 nodad")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def ip(self, *commands: str) -> None:
        """Run ``ip`` commands in the box, all in one process."""
        _ip([], commands)

    def peer(self, *commands: str) -> None:
        """Run ``ip`` commands among the machines around."""
        _ip(self.peer_command(), commands)

    def peer_command(self, *command: str) -> list[str]:
        """The words that run a command among the machines around."""
        return ["nsenter", f"--net=/proc/{self._peer.pid}/ns/net", *command]

    def link(self, name: str) -> None:
        """Make (again) the link between ``name``0 here and ``name``1 there, both ends up."""
        self.ip(f"link add {name}0 type veth peer name {name}1 netns {self._peer.pid}", f"link set {name}0 up")
        self.peer(f"link set {name}1 up")

    def host(self, address: str, link: str = "a") -> None:
        """A machine that answers for ``address`` on that link."""
        length = ip_address(address).max_prefixlen
        nodad = " nodad" if length == 128 else ""
        self.peer(f"address add {address}/{length} dev {link}1{nodad}")
        # It answers only those that it has a route to; a subnet with each address would not let hosts come and go.
        self.peer(f"route replace {'10.0.0.0/8' if length == 32 else 'fd00::/16'} dev {link}1")

    def tune(self, setting: str, value: str) -> None:
        """Write a file below /proc/sys/net of the box ("ipv4/neigh/a0/locktime")."""
        Path("/proc/sys/net", setting).write_text(value)

    def tune_peer(self, setting: str, value: str) -> None:
        """The same among the machines around."""
        command = self.peer_command("tee", f"/proc/sys/net/{setting}")
        subprocess.run(command, input=value, text=True, check=True, stdout=subprocess.DEVNULL)

    def mac(self, interface: str) -> bytes:
        """Ethernet address of one end: "a0" of the box, "a1" of the machines."""
        where = [] if interface.endswith("0") else self.peer_command()
        command = [*where, "ip", "-brief", "link", "show", "dev", interface]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return bytes.fromhex(out.split()[2].replace(":", ""))

    def _stop(self) -> None:
        self._peer.terminate()
        self._peer.wait()


async def until(condition: Callable[[], object], what: Callable[[], object] | None = None) -> float:
    """Wait for a condition; returns the seconds that it took."""
    began = time.monotonic()
    while not condition():
        seconds = time.monotonic() - began
        assert seconds < DEADLINE_SECONDS, f"still not so after {DEADLINE_SECONDS} s{f': {what()}' if what else ''}"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


async def until_hop(hops: NextHops, address: Address, wanted: Callable[[Hop], bool]) -> float:
    """Wait until the hop of an address is as wanted; returns the seconds that it took."""
    return await until(lambda: wanted(hops.hop(address)), lambda: hops.hop(address))


def wait_now(condition: Callable[[], object]) -> None:
    """Wait for a condition where no loop runs."""
    give_up_at = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at, "timed out"
        time.sleep(0.002)


def _namespace(process: str) -> Path:
    return Path(f"/proc/{process}/ns/net").readlink()


def _ip(prefix: list[str], commands: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*prefix, "ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, f"ip {'; '.join(commands)[:200]}: {done.stderr}"
