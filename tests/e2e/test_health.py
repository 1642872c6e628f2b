# SPDX-License-Identifier: Apache-2.0
"""Backends that fail in every way, seen by checks through the tunnel: found out, explained, avoided, taken back."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from testbed import CLIENT, ECHO_PORT, HOST_INTERFACE, HTTP_PORT, Lbd, Testbed

from lb.v1 import backend_pb2, backend_pb2_grpc

pytestmark = pytest.mark.root

VICTIM = "b2"
CHECK = ("--health-check", "http", "--health-path", "/", "--health-interval", "300ms", "--health-timeout", "300ms",
         "--health-rise", "2", "--health-fall", "2")  # fmt: skip
DEADLINE_SECONDS = 30.0
ANSWER_SECONDS = 5.0
LOOK_SECONDS = 0.05
"""Between two looks."""

State = dict[str, Any]


@dataclass
class Site:
    """Three backends, checked over HTTP through the tunnel, and connections that stay on the echo port."""

    bed: Testbed
    lbd: Lbd
    backends: backend_pb2_grpc.BackendServiceStub
    held: dict[str, list[socket.socket]] = field(default_factory=dict)

    def status(self, name: str = VICTIM) -> State:
        """What `lbctl backend get` shows, but asked in no time."""
        request = backend_pb2.GetBackendRequest(name=f"pools/web/backends/{name}")
        status = self.backends.GetBackend(request, timeout=ANSWER_SECONDS).status
        found = MessageToDict(status, always_print_fields_with_no_presence=True)
        assert isinstance(found, dict)
        return found

    def hold(self, count: int) -> None:
        """Open connections until each backend has at least so many."""
        while min(len(self.held.get(name, ())) for name in self.bed.backends) < count:
            with self.bed.entered(CLIENT):
                sock = socket.socket()
            sock.settimeout(ANSWER_SECONDS)
            sock.connect((self.bed.vip, ECHO_PORT))
            self.held.setdefault(ask(sock), []).append(sock)

    def others_live(self) -> None:
        """Connections to the healthy backends are where they were."""
        for name, socks in self.held.items():
            if name != VICTIM:
                assert {ask(sock) for sock in socks} <= {name}

    def close(self) -> None:
        """End all connections."""
        for socks in self.held.values():
            for sock in socks:
                sock.close()
        self.held.clear()

    def served_by(self, count: int = 60) -> Counter[str]:
        """Who answers new HTTP requests; none may fail."""
        done = self.bed.http(f"http://{self.bed.vip}/", count)
        assert done.failed == 0, done.errors
        return Counter(done.served)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Until it holds; others' connections are used meanwhile."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {self.status()}\n{self.lbd.log[-3000:]}"
            self.others_live()
            time.sleep(LOOK_SECONDS)


def ask(sock: socket.socket) -> str:
    """One echo; returns the backend's name."""
    sock.sendall(b"x\n")
    return sock.recv(100).decode().split()[0]


@pytest.fixture(scope="module")
def site(prefix: str) -> Iterator[Site]:
    """All are UP."""
    with (
        Testbed(backends=3, name_prefix=f"{prefix}-health") as bed,
        Lbd(bed) as lbd,
        grpc.insecure_channel(lbd.target) as channel,
    ):
        made = Site(bed, lbd, backend_pb2_grpc.BackendServiceStub(channel))
        lbd.lbctl("pool", "create", "web", *CHECK, "--slow-start", "3")
        for name in bed.backends:
            lbd.lbctl("backend", "create", f"web/{name}", "--address", bed.address(name))
        for vip, port in (("http", HTTP_PORT), ("echo", ECHO_PORT)):
            words = ("--address", bed.vip, "--port", str(port), "--protocol", "tcp", "--pool", "web")
            lbd.lbctl("vip", "create", vip, *words)
        lbd.lbctl("pool", "update", "web", "--health-port", str(HTTP_PORT))
        try:
            made.wait(lambda: all(is_up(made.status(name)) for name in bed.backends), "not all became UP")
            yield made
        finally:
            made.close()


def is_up(status: State) -> bool:
    """UP, with its whole weight."""
    return bool(status["health"]["state"] == "UP" and status["health"]["weightPercent"] == 100)


# -- ways to fail, each with its end


def nginx_pid(bed: Testbed) -> int:
    """Of the victim's master process."""
    return int((bed.state_dir / f"nginx-{VICTIM}" / "nginx.pid").read_text())


def worker_pids(bed: Testbed) -> list[int]:
    """Those that accept connections."""
    master = nginx_pid(bed)
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    assert children
    return [int(child) for child in children]


class Killed:
    """The process ends: the host refuses connections."""

    words = ("connection refused",)

    def begin(self, bed: Testbed) -> None:
        os.kill(nginx_pid(bed), signal.SIGQUIT)

    def end(self, bed: Testbed) -> None:
        folder = bed.state_dir / f"nginx-{VICTIM}"
        bed.run(VICTIM, "nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf"))


class Hanging:
    """The process stops: the kernel accepts, nobody answers."""

    words = ("timeout", "connected, but no answer")

    def begin(self, bed: Testbed) -> None:
        self._pids = worker_pids(bed)
        for pid in self._pids:
            os.kill(pid, signal.SIGSTOP)

    def end(self, _bed: Testbed) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGCONT)


class Failing:
    """The application says so itself."""

    words = ("HTTP status 500", "expected 200-399")

    def begin(self, bed: Testbed) -> None:
        self._swap(bed, 'return 200 "', 'return 500 "')

    def end(self, bed: Testbed) -> None:
        self._swap(bed, 'return 500 "', 'return 200 "')

    def _swap(self, bed: Testbed, old: str, new: str) -> None:
        config = bed.state_dir / f"nginx-{VICTIM}" / "nginx.conf"
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))
        os.kill(nginx_pid(bed), signal.SIGHUP)


class WithoutVip:
    """The host unwraps, and then does not know the address."""

    words = ("no answer through the tunnel", "direct check answers", "is the VIP on the host's lo?")

    def begin(self, bed: Testbed) -> None:
        bed.run(VICTIM, "ip", "address", "delete", f"{bed.vip}/32", "dev", "lo")

    def end(self, bed: Testbed) -> None:
        bed.run(VICTIM, "ip", "address", "add", f"{bed.vip}/32", "dev", "lo")


class WithoutDecapsulation:
    """Nothing on the host takes the outer header off."""

    words = ("no answer through the tunnel", "nothing unwraps IP-in-IP on the host")

    def begin(self, bed: Testbed) -> None:
        bed.stop_unwrapping(VICTIM)

    def end(self, bed: Testbed) -> None:
        bed.unwrap(VICTIM)


class LinkDown:
    """The host is off the network."""

    words = ("is the host up?",)

    def begin(self, bed: Testbed) -> None:
        bed.run(VICTIM, "ip", "link", "set", "dev", HOST_INTERFACE, "down")

    def end(self, bed: Testbed) -> None:
        bed.run(VICTIM, "ip", "link", "set", "dev", HOST_INTERFACE, "up")


FAILURES = [Killed, Hanging, Failing, WithoutVip, WithoutDecapsulation, LinkDown]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda kind: kind.__name__)
def test_a_backend_that_fails_is_found_out_explained_avoided_and_taken_back(site: Site, failure: type[Any]) -> None:
    """Connections to the others are not touched by any of it."""
    way = failure()
    site.hold(3)
    way.begin(site.bed)
    try:
        site.wait(lambda: site.status()["health"]["state"] == "DOWN", "not found out")
        site.wait(lambda: not site.status()["inRing"], "still in the ring")
        site.wait(
            lambda: all(word in site.status()["health"]["lastError"] for word in failure.words),
            f"does not say {failure.words}",
        )
        assert VICTIM not in site.served_by()
        for sock in site.held.pop(VICTIM):
            sock.close()
    finally:
        way.end(site.bed)
    site.wait(lambda: site.status()["health"]["state"] == "UP", "not taken back")
    assert site.status()["health"]["weightPercent"] < 100, "no slow start"
    site.wait(lambda: is_up(site.status()), "slow start did not end")
    assert VICTIM in site.served_by()
    site.others_live()


def test_when_all_fail_all_are_used(site: Site) -> None:
    """A check that is wrong must not take the service down. (Who is DOWN while others are UP loses its flows.)"""
    site.close()
    site.lbd.lbctl("pool", "update", "web", "--health-path", "/", "--health-status", "418")
    try:
        site.wait(
            lambda: all(site.status(name)["health"]["state"] == "DOWN" for name in site.bed.backends), "not all DOWN"
        )
        site.wait(lambda: site.lbd.lbctl("pool", "get", "web")["failingOpen"], "does not fail open")
        assert set(site.served_by(100)) == set(site.bed.backends)
        site.hold(1)
        site.others_live()
        site.close()
    finally:
        site.lbd.lbctl("pool", "update", "web", "--health-status", "200-399")
    site.wait(lambda: all(is_up(site.status(name)) for name in site.bed.backends), "not all came back")
    site.wait(lambda: not site.lbd.lbctl("pool", "get", "web")["failingOpen"], "still fails open")


def test_the_list_says_state_since_when_and_why(site: Site) -> None:
    done = site.lbd.lbctl_run("backend", "list", "web")
    header, *rows = done.stdout.splitlines()
    assert {"HEALTH", "SINCE", "REASON"} <= set(header.split())
    assert len(rows) == len(site.bed.backends)
