# SPDX-License-Identifier: Apache-2.0
"""Drains, seen from clients: nobody is broken, nobody new arrives, and the operator knows when it is over."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from testbed import CLIENT, ECHO_PORT, Lbd, Testbed
from testbed.lbd import script

pytestmark = pytest.mark.root

LIVE = 50
"""Connections on the backend that is drained."""

IDLE_SECONDS = 4
"""Short, so that a drain ends within the test; the connections are busier than that."""

DEADLINE_SECONDS = 60.0
ANSWER_SECONDS = 10.0


@dataclass
class Clients:
    """Connections of the client to the VIP's echo port, by the backend that answers."""

    bed: Testbed
    held: dict[str, list[socket.socket]] = field(default_factory=dict)

    def open(self) -> str:
        """One more; returns who answered."""
        with self.bed.entered(CLIENT):
            sock = socket.socket()
        sock.settimeout(ANSWER_SECONDS)
        sock.connect((self.bed.vip, ECHO_PORT))
        name = ask(sock)
        self.held.setdefault(name, []).append(sock)
        return name

    def ask_all(self) -> None:
        """One question on each; nobody may have gone, or moved."""
        for name, socks in self.held.items():
            assert {ask(sock) for sock in socks} <= {name}

    def close(self, name: str, count: int) -> None:
        """End some of those of a backend."""
        for _ in range(count):
            self.held[name].pop().close()

    def close_all(self) -> None:
        """End all."""
        for name, socks in self.held.items():
            self.close(name, len(socks))


def ask(sock: socket.socket) -> str:
    """One echo; returns the backend's name. Raises ``OSError`` when the connection is reset."""
    sock.sendall(b"x\n")
    answer = b""
    while not answer.endswith(b"\n"):
        piece = sock.recv(100)
        if not piece:
            raise ConnectionResetError("closed by the other end")
        answer += piece
    return answer.decode().split()[0]


@pytest.fixture(scope="module")
def bed(prefix: str) -> Iterator[Testbed]:
    """Three backends."""
    with Testbed(backends=3, name_prefix=f"{prefix}-drain") as made:
        yield made


@pytest.fixture(scope="module")
def lbd(bed: Testbed) -> Iterator[Lbd]:
    """A pool of three behind the VIP's echo port."""
    with Lbd(bed) as made:
        made.lbctl("pool", "create", "web", "--drain-idle-seconds", str(IDLE_SECONDS))
        for name in ("b1", "b2", "b3"):
            made.lbctl("backend", "create", f"web/{name}", "--address", bed.address(name))
        port = str(ECHO_PORT)
        made.lbctl("vip", "create", "echo", "--address", bed.vip, "--port", port, "--protocol", "tcp", "--pool", "web")
        yield made


@pytest.fixture
def clients(bed: Testbed, lbd: Lbd) -> Iterator[Clients]:
    """Fifty on b2, and as many on the others as that takes; all take flows, whatever the test before did."""
    lbd.lbctl("backend", "enable", "web/b1", "web/b2", "web/b3")
    made = Clients(bed)
    try:
        while len(made.held.get("b2", ())) < LIVE:
            made.open()
        yield made
    finally:
        made.close_all()


@contextmanager
def waiting(lbd: Lbd, *args: str) -> Iterator[subprocess.Popen[str]]:
    """`lbctl backend drain ... --wait`, running."""
    argv = [str(script("lbctl")), "--target", lbd.target, "backend", "drain", *args, "--wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def drain_of(lbd: Lbd, name: str = "web/b2") -> dict[str, object]:
    """Progress as `lbctl backend get` shows it."""
    found = lbd.lbctl("backend", "get", name)["status"].get("drain", {})
    assert isinstance(found, dict)
    return found


def flows_left(lbd: Lbd) -> int:
    """Open flows of b2."""
    return int(str(drain_of(lbd).get("flows", 0)))


def until(condition: Callable[[], object], busy: Callable[[], None]) -> None:
    """Keep clients busy until the condition holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        busy()


def test_a_drain_breaks_nobody_and_ends_when_the_last_has_gone(lbd: Lbd, clients: Clients) -> None:
    """With 50 live connections: the count falls as they close, and --wait returns."""
    with waiting(lbd, "web/b2") as process:
        until(lambda: flows_left(lbd) == LIVE, clients.ask_all)
        for _ in range(30):
            assert clients.open() != "b2", "a new connection arrived at the backend that drains"

        clients.close("b2", 20)
        until(lambda: flows_left(lbd) == LIVE - 20, clients.ask_all)
        clients.close("b2", LIVE - 20)
        until(lambda: flows_left(lbd) == 0, clients.ask_all)
        until(lambda: process.poll() is not None, clients.ask_all)
        output = process.stdout.read() if process.stdout else ""
        assert process.returncode == 0, output
        assert "web/b2" in output
        assert "drained" in output
    assert drain_of(lbd)["drained"]
    clients.ask_all()

    lbd.lbctl("backend", "undrain", "web/b2")
    assert not drain_of(lbd)
    until(lambda: clients.open() == "b2", clients.ask_all)


def test_at_the_deadline_the_rest_is_reset_and_counted(lbd: Lbd, clients: Clients) -> None:
    """The backends that the flows go to reset them; others' connections live on."""
    with waiting(lbd, "web/b2", "--deadline", "6s") as process:
        until(lambda: flows_left(lbd) == LIVE, clients.ask_all)
        clients.close("b2", 10)
        victims = clients.held.pop("b2")
        assert len(victims) == LIVE - 10
        state = lambda: lbd.lbctl("backend", "get", "web/b2")["adminState"]  # noqa: E731
        until(lambda: state() == "DISABLED", lambda: keep_busy(victims))
        for sock in victims:
            with pytest.raises(OSError, match=r"reset|closed|[Bb]roken pipe"):
                ask(sock)
            sock.close()
        until(lambda: process.poll() is not None, clients.ask_all)
        output = process.stdout.read() if process.stdout else ""
        assert process.returncode == 0, output
        cut = int(str(drain_of(lbd)["cutFlows"]))
        assert LIVE - 10 <= cut <= LIVE, "those that had just closed may still have counted"
        assert f"{cut} flows" in output
    clients.ask_all()
    newest = lbd.lbctl("history", "--limit", "1")["revisions"][0]
    assert newest["who"] == "lbd"
    assert "deadline" in newest["note"]


def keep_busy(socks: list[socket.socket]) -> None:
    """One question on each; the deadline may come in between."""
    for sock in socks:
        try:
            ask(sock)
        except OSError:
            return


def test_many_may_drain_at_once(lbd: Lbd, clients: Clients) -> None:
    """The one that is left takes what is new."""
    done = lbd.lbctl_run("backend", "drain", "web/b1", "web/b2", "-o", "json")
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    for _ in range(20):
        assert clients.open() == "b3"
    clients.ask_all()


def test_disable_cuts_at_once_where_drain_does_not(lbd: Lbd, clients: Clients) -> None:
    lbd.lbctl("backend", "disable", "web/b2")
    for sock in clients.held.pop("b2"):
        with pytest.raises(OSError, match=r"reset|closed|[Bb]roken pipe"):
            ask(sock)
        sock.close()
    clients.ask_all()
