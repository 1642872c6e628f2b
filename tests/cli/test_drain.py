# SPDX-License-Identifier: Apache-2.0
"""drain, undrain, disable, enable: what goes over the wire, and how a wait ends."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from cli.conftest import Run, cells
from cli.fake_server import NOW, FakeServer, make_status
from google.rpc import code_pb2
from rich.console import Console

from lb.cli import bars, drain_wait
from lb.cli.drain_wait import Progress
from lb.v1.backend_pb2 import Backend, DrainBackendRequest, GetBackendRequest, UpdateBackendRequest

B1, B2 = "pools/web/backends/b1", "pools/web/backends/b2"


class Play:
    """What happens while lbctl sleeps: a step each time; the clock stands still unless a step moves it."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.now = float(NOW)
        self.steps = list(steps)

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds == 1
        self.steps.pop(0)()


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    scene = Play()
    monkeypatch.setattr(drain_wait, "time", scene)
    return scene


def draining(fake: FakeServer, name: str, **fields: object) -> None:
    """Have a backend's drain be so far; ``admin_state`` and ``cut_flows`` among the fields as they are in the API."""
    backend = fake.backends[name]
    state = fields.pop("admin_state", "DRAINING")
    backend.MergeFrom(Backend(admin_state=state))
    backend.status.drain.Clear()
    backend.status.drain.MergeFrom(type(backend.status.drain)(**fields))
    backend.status.drain.SetInParent()


def test_drain_sends_each_name_and_the_deadline(fake: FakeServer, run: Run) -> None:
    """All are checked before the first one is changed."""
    result = run("backend", "drain", "web/b1", "web/b2", "web/b1", "--deadline", "10m")
    assert (result.exit_code, result.stderr) == (0, "draining backend web/b1 web/b2\n")
    assert [row[0] for row in cells(result.stdout)] == ["NAME", "web/b1", "web/b2"]
    assert fake.requests == [
        DrainBackendRequest(name=name, deadline_seconds=600, validate_only=check)
        for check in (True, False)
        for name in (B1, B2)
    ] + [GetBackendRequest(name=name) for name in (B1, B2)], "the shares of one time, when all were changed"


def test_drain_of_one_needs_one_call(fake: FakeServer, run: Run) -> None:
    result = run("backend", "drain", "web/b1", "-o", "json")
    assert [backend["name"] for backend in json.loads(result.stdout)["backends"]] == [B1]
    assert fake.requests == [DrainBackendRequest(name=B1)]


@pytest.mark.parametrize("verb", ["drain", "undrain", "disable", "enable"])
def test_none_is_changed_when_one_cannot_be(fake: FakeServer, run: Run, verb: str) -> None:
    before = {name: backend.SerializeToString() for name, backend in fake.backends.items()}
    result = run("backend", verb, "web/b1", "web/no")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "backend 'pools/web/backends/no' does not exist" in result.stderr
    assert {name: backend.SerializeToString() for name, backend in fake.backends.items()} == before


@pytest.mark.parametrize("verb", ["drain", "undrain", "disable", "enable"])
def test_validate_only_changes_nothing(fake: FakeServer, run: Run, verb: str) -> None:
    extra = ["--wait"] if verb == "drain" else []
    result = run("backend", verb, "web/b1", "web/b2", "--validate-only", *extra)
    assert (result.exit_code, result.stderr) == (0, "valid, nothing was changed: backend web/b1 web/b2\n")
    changes = [request for request in fake.requests if not isinstance(request, GetBackendRequest)]
    assert [request.validate_only for request in changes] == [True, True]


@pytest.mark.parametrize("verb", ["drain", "undrain", "disable", "enable"])
def test_a_name_is_needed(fake: FakeServer, run: Run, verb: str) -> None:
    result = run("backend", verb)
    assert (result.exit_code, fake.requests) == (2, [])
    assert "Missing argument 'POOL/NAME...'" in result.stderr


@pytest.mark.parametrize(("verb", "state"), [("disable", "DISABLED"), ("enable", "ENABLED")])
def test_disable_and_enable_set_the_admin_state_alone(fake: FakeServer, run: Run, verb: str, state: str) -> None:
    assert run("backend", verb, "web/b1").stderr == f"{verb}d backend web/b1\n"
    (request,) = fake.requests
    assert request == UpdateBackendRequest(
        backend={"name": B1, "admin_state": state}, update_mask={"paths": ["admin_state"]}
    )


def test_undrain_enables_what_drains(fake: FakeServer, run: Run) -> None:
    """Guarded: between look and change somebody may have disabled it."""
    etag = fake.backends[B2].etag
    assert run("backend", "undrain", "web/b2").stderr == "undrained backend web/b2\n"
    assert fake.requests[-1].backend == Backend(name=B2, admin_state="ENABLED", etag=etag)
    assert fake.backends[B2].admin_state == Backend.ENABLED


@pytest.mark.usefixtures("fake")
def test_undrain_does_not_enable_what_was_disabled(run: Run) -> None:
    """A disabled host may be switched off: bringing it back is another word."""
    result = run("backend", "undrain", "spare/b9")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "spare/b9 is disabled, not draining: `lbctl backend enable spare/b9` enables it" in result.stderr


@pytest.mark.parametrize("text", ["-1", "soon", "0.5"])
def test_deadlines_that_are_no_times(fake: FakeServer, run: Run, text: str) -> None:
    result = run("backend", "drain", "web/b1", "--deadline", text)
    assert (result.exit_code, fake.requests) == (2, [])
    assert "is not a time in whole seconds" in result.stderr


def test_wait_returns_when_all_are_drained(fake: FakeServer, run: Run, play: Play) -> None:
    """Lines only for news: a log of a drain that takes an hour stays short."""
    draining(fake, B1, flows=2, packets_per_second=7.4)
    draining(fake, B2, flows=1, untracked_until={"seconds": NOW + 100})
    play.steps = [
        lambda: draining(fake, B1, flows=2, packets_per_second=9, untracked_until={"seconds": NOW + 90}),
        lambda: draining(fake, B1, flows=2, packets_per_second=8, untracked_until={"seconds": NOW + 80}),
        lambda: draining(fake, B2, drained=True),
        lambda: draining(fake, B1, flows=0, closing_flows=1),
        lambda: draining(fake, B1, drained=True),
    ]
    result = run("backend", "drain", "web/b1", "web/b2", "--wait")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "draining backend web/b1 web/b2",
        "web/b1: 2 live flows, 7 packets/s",
        "web/b2: 1 live flow, 0 packets/s, silent flows possible for 1m 40s",
        "web/b1: 2 live flows, 9 packets/s, silent flows possible for 1m 30s",
        "web/b2: drained: nothing names it any more, it may be switched off",
        "web/b1: 0 live flows and 1 closing, 0 packets/s",
        "web/b1: drained: nothing names it any more, it may be switched off",
    ]
    assert [row[0] for row in cells(result.stdout)] == ["NAME", "web/b1", "web/b2"]
    assert not play.steps


def test_a_deadline_that_comes_is_a_success_that_says_what_it_cost(fake: FakeServer, run: Run, play: Play) -> None:
    draining(fake, B1, flows=3)

    def cut() -> None:
        draining(fake, B1, drained=True, cut_flows=3, admin_state="DISABLED")
        fake.backends[B1].drain_deadline_at_seconds = 0

    play.steps = [cut]
    result = run("backend", "drain", "web/b1", "--deadline", "4m", "--wait")
    assert (result.exit_code, result.stderr.splitlines()[1:]) == (
        0,
        ["web/b1: 3 live flows, 0 packets/s, deadline in 4m", "web/b1: deadline reached: 3 flows were cut"],
    )


def test_a_deadline_that_cuts_nothing(fake: FakeServer, run: Run, play: Play) -> None:
    """lbd does not remember it then: the deadline that was seen before tells it from a disable."""
    draining(fake, B1, flows=0)

    def cut() -> None:
        draining(fake, B1, admin_state="DISABLED")
        fake.backends[B1].status.ClearField("drain")
        fake.backends[B1].drain_deadline_at_seconds = 0
        play.now += 60

    play.steps = [cut]
    result = run("backend", "drain", "web/b1", "--deadline", "60", "--wait")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == "web/b1: deadline reached: 0 flows were cut"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("ENABLED", "Error: web/b1 takes new flows again: its drain was ended meanwhile\n"),
        ("DISABLED", "Error: web/b1 was disabled meanwhile: its flows were cut\n"),
    ],
)
def test_a_drain_that_others_end_is_no_success(fake: FakeServer, run: Run, play: Play, state: str, words: str) -> None:
    """`drain --wait && poweroff` must not go on."""
    draining(fake, B1, flows=3)
    play.steps = [lambda: draining(fake, B1, admin_state=state)]
    result = run("backend", "drain", "web/b1", "--deadline", "1h", "--wait")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(words)


def test_a_backend_that_is_deleted_meanwhile_is_no_success(fake: FakeServer, run: Run, play: Play) -> None:
    draining(fake, B1, flows=3)
    play.steps = [lambda: fake.backends.pop(B1)]
    result = run("backend", "drain", "web/b1", "--wait")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("Error: web/b1 was deleted meanwhile: its flows were cut\n")


def interrupt() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_ends_the_waiting_not_the_drain(fake: FakeServer, run: Run, play: Play) -> None:
    draining(fake, B1, flows=3)
    play.steps = [interrupt]
    result = run("backend", "drain", "web/b1", "web/b2", "--wait")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(
        "Error: stopped waiting\n"
        "  the drain of web/b1, web/b2 goes on\n"
        "  `lbctl backend get web/b1` shows it, `lbctl backend undrain web/b1` ends it\n"
    )
    assert fake.backends[B1].admin_state == Backend.DRAINING


def test_a_daemon_that_goes_away_ends_the_waiting_not_the_drain(fake: FakeServer, run: Run, play: Play) -> None:
    draining(fake, B1, flows=3)

    def away() -> None:
        fake.failure = make_status(code_pb2.UNAVAILABLE, "shutting down")

    play.steps = [away]
    result = run("backend", "drain", "web/b1", "--wait")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "shutting down\n  the drain of web/b1 goes on\n" in result.stderr


def test_a_drain_that_was_not_counted_yet(fake: FakeServer, run: Run, play: Play) -> None:
    draining(fake, B1, flows=3)
    play.steps = [lambda: fake.backends[B1].status.ClearField("drain"), lambda: draining(fake, B1, drained=True)]
    result = run("backend", "drain", "web/b1", "--wait")
    assert result.stderr.splitlines()[2] == "web/b1: flows not counted yet"


def test_bars_fill_as_flows_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full only at the end: without flows, a drain may still have to wait for silent clients."""
    paper = io.StringIO()
    console = Console(file=paper, force_terminal=True, width=100, color_system=None, legacy_windows=False)
    monkeypatch.setattr(bars, "Console", lambda *, stderr: console)  # noqa: ARG005
    pictures = []
    with bars.DrainBars() as shown:
        for flows, done in ((4, False), (2, False), (0, False), (0, True)):
            shown.show([Progress("web/b1", flows, f"{flows} [live] flows", "" if done else "deadline in 4m", done)])
            pictures.append(paper.getvalue().splitlines()[-1])
            paper.truncate(0)
    filled = [picture.count("━") for picture in pictures]
    assert filled == sorted(filled)
    assert all("web/b1" in picture and "[live] flows" in picture for picture in pictures)
    assert ["deadline in 4m" in picture for picture in pictures] == [True, True, True, False]


def test_a_terminal_shows_a_bar(fake: FakeServer) -> None:
    """The whole way on a pseudo-terminal, whose stderr is the terminal and whose stdout is data."""
    master, slave = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "lb.cli", "--target", fake.target, "backend", "drain", "web/b1", "--wait", "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"},
    ) as child:
        os.close(slave)
        data = child.communicate(timeout=60)[0]
        assert child.returncode == 0
    picture = os.read(master, 65536).decode()
    os.close(master)
    assert [backend["name"] for backend in json.loads(data)["backends"]] == [B1]
    assert "web/b1 " in picture
    assert "━" in picture
    assert "it may be switched off" in " ".join(picture.split())


def test_a_deadline_comes_by_the_clock_of_lbd() -> None:
    """Which may be a little ahead of ours."""
    backend = Backend(name=B1, admin_state="DISABLED")
    assert drain_wait.progress_of(backend, 1_000, 997.0).done
    with pytest.raises(drain_wait.Failure, match="was disabled meanwhile"):
        drain_wait.progress_of(backend, 1_000, 900.0)
