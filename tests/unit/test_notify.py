# SPDX-License-Identifier: Apache-2.0
"""What systemd hears of the daemon, on a real socket."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lb.daemon.notify import Notifier, Watchdog, watchdog_seconds

DEADLINE_SECONDS = 10.0
INTERVAL_SECONDS = 0.02


class Systemd:
    """The other end."""

    def __init__(self, address: str) -> None:
        self.name = address.replace("\0", "@", 1)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(DEADLINE_SECONDS)

    def heard(self) -> list[str]:
        """The lines of the next message."""
        return self._socket.recv(4096).decode().split("\n")

    def has_heard_nothing(self) -> bool:
        self._socket.setblocking(False)
        try:
            return not self._socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(DEADLINE_SECONDS)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    """Its socket is a path, or in containers an abstract name."""
    address = str(tmp_path / "notify") if request.param == "path" else f"\0lb-test-{os.getpid()}-{tmp_path.name}"
    made = Systemd(address)
    yield made
    made.close()


@pytest.fixture
def notifier(systemd: Systemd) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": systemd.name})


def test_a_daemon_tells_what_it_is_about(systemd: Systemd, notifier: Notifier) -> None:
    """systemd starts what depends on it when it is ready, and waits while it stops."""
    notifier.ready()
    assert systemd.heard()[0] == "READY=1"
    notifier.status("pool web\nis empty")
    assert systemd.heard() == ["STATUS=pool web is empty"]
    notifier.alive()
    assert systemd.heard() == ["WATCHDOG=1"]
    notifier.stopping()
    assert systemd.heard()[0] == "STOPPING=1"


def test_a_reload_carries_its_time(systemd: Systemd, notifier: Notifier) -> None:
    """So that systemd knows which of two reloads is over."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    lines = dict(line.split("=", 1) for line in systemd.heard())
    assert lines["RELOADING"] == "1"
    assert before <= int(lines["MONOTONIC_USEC"]) <= after


def test_without_systemd_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    """From a shell, in a container."""
    Notifier({}).ready()
    assert not caplog.records


def test_a_socket_that_is_gone_is_logged_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A balancer forwards whether or not somebody listens."""
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}).ready()
    assert "READY=1" in caplog.text


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "10000000"}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "42"}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "43"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_interval_is_systemds_and_for_its_own_process_only(environment: dict[str, str], seconds: float) -> None:
    """A child that inherits the environment is not the one that is watched."""
    assert watchdog_seconds(environment, pid=42) == seconds


async def test_a_healthy_daemon_feeds_the_watchdog_until_it_stops(systemd: Systemd, notifier: Notifier) -> None:
    watchdog = Watchdog(notifier, lambda: "", INTERVAL_SECONDS)
    watchdog.start()
    for _ in range(3):
        assert await asyncio.to_thread(systemd.heard) == ["WATCHDOG=1"]
    await watchdog.stop()


async def test_a_failing_check_starves_the_watchdog_and_says_why(
    systemd: Systemd, notifier: Notifier, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, not at every check; when it passes again, that is said as well."""
    answers = iter(["no ring", "no ring", "no ring", ""])
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def check() -> str:
        answer = next(answers, None)
        if answer is None:
            loop.call_soon_threadsafe(done.set)
        return answer or ""

    caplog.set_level(logging.INFO)
    watchdog = Watchdog(notifier, check, INTERVAL_SECONDS)
    watchdog.start()
    assert await asyncio.to_thread(systemd.heard) == ["STATUS=the self-check fails: no ring"]
    assert await asyncio.to_thread(systemd.heard) == ["WATCHDOG=1"]
    assert await asyncio.to_thread(systemd.heard) == ["STATUS=forwarding"]
    async with asyncio.timeout(DEADLINE_SECONDS):
        await done.wait()
    await watchdog.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "the self-check fails: no ring; systemd will restart lbd",
        "the self-check passes again",
    ]


async def test_it_stops_only_when_the_check_under_way_has_ended(notifier: Notifier) -> None:
    """The check uses what is closed next."""
    import threading

    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def check() -> str:
        begun.set()
        assert may_end.wait(DEADLINE_SECONDS)
        ended.set()
        return ""

    watchdog = Watchdog(notifier, check, INTERVAL_SECONDS)
    watchdog.start()
    assert await asyncio.to_thread(begun.wait, DEADLINE_SECONDS)
    stop = asyncio.create_task(watchdog.stop())
    await asyncio.sleep(0)
    assert not stop.done()
    may_end.set()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await stop
    assert ended.is_set()


async def test_without_an_interval_nothing_is_checked(systemd: Systemd, notifier: Notifier) -> None:
    """`lbd` from a shell does not run packets through itself all day."""
    watchdog = Watchdog(notifier, lambda: pytest.fail("checked"), 0.0)
    watchdog.start()
    await watchdog.stop()
    assert systemd.has_heard_nothing()
