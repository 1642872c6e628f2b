# SPDX-License-Identifier: Apache-2.0
"""`make demo` is the first thing that a newcomer runs: it must work, be able to fail, and leave nothing."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed import BALANCER, Testbed, wait_until
from testbed import bed as bed_module
from testbed import lbd as lbd_module
from testbed.__main__ import main
from testbed.guide import guide
from testbed.host import NETNS, environment, mounts_below
from testbed.servers import nginx_command

pytestmark = pytest.mark.root

DEMO_SECONDS = 60


@pytest.fixture
def bed(prefix: str) -> Iterator[Testbed]:
    """What the demo is to build, and must have removed."""
    found = Testbed(name_prefix=f"{prefix}-demo")
    yield found
    assert not list(NETNS.glob(f"{found.prefix}-*"))
    assert not mounts_below(found.state_dir)
    assert not found.state_dir.exists()
    assert processes_mentioning(str(found.state_dir)) == []


def processes_mentioning(text: str) -> list[str]:
    """Command lines of live processes with ``text`` in them: lbd, nginx and whatever they started."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        if text in line:
            lines.append(line)
    return lines


def start_demo(bed: Testbed) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "testbed", "demo", "--prefix", bed.prefix],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )


def test_demo_balances_real_traffic(bed: Testbed) -> None:
    """The promise of the last line, and the commands that a newcomer learns from."""
    with start_demo(bed) as demo:
        output, errors = demo.communicate(timeout=DEMO_SECONDS)
    lines = output.splitlines()
    assert (demo.returncode, errors) == (0, ""), output + errors
    assert lines[-1] == "demo ok: 800 requests, 3 backends, 0 failed"
    assert any(line.endswith("$ lbctl pool create web") for line in lines)
    assert any("/lbd --interface eth0" in line for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_nothing(bed: Testbed, number: signal.Signals) -> None:
    """Ctrl-C while it balances."""
    with start_demo(bed) as demo:
        wait_until((bed.state_dir / "lbd.sock").exists, DEMO_SECONDS, "lbd did not come up")
        demo.send_signal(number)
        output, errors = demo.communicate(timeout=DEMO_SECONDS)
    assert (demo.returncode, errors) == (128 + number, "")
    assert output.splitlines()[-1] == f"demo failed: interrupted by {number.name}"


def test_demo_works_after_one_that_was_killed(bed: Testbed) -> None:
    """SIGKILL leaves everything behind: the next one tidies up first."""
    with start_demo(bed) as demo:
        wait_until((bed.state_dir / "lbd.sock").exists, DEMO_SECONDS, "lbd did not come up")
        demo.kill()
    assert (NETNS / bed.namespace(BALANCER)).exists()
    with start_demo(bed) as demo:
        output, _ = demo.communicate(timeout=DEMO_SECONDS)
    assert output.splitlines()[-1] == "demo ok: 800 requests, 3 backends, 0 failed"


def test_demo_fails_when_a_server_is_down(
    bed: Testbed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which backend, and exits 1."""
    monkeypatch.setattr(
        bed_module, "nginx_command", lambda name, folder: ["true"] if name == "b2" else nginx_command(name, folder)
    )
    assert main(["demo", "--prefix", bed.prefix]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.match(r"demo failed: a request failed: ConnectionRefusedError.*HTTP: b2 served 0, expected", last), last


def test_demo_fails_when_lbd_does_not_start(
    bed: Testbed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lbd_module, "script", lambda _: Path("/bin/false"))
    assert main(["demo", "--prefix", bed.prefix]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "demo failed: lbd-1 ended with 1:"


def test_without_root_the_demo_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, no traceback."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["demo"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("demo failed: root is needed")
    assert main(["up"]) == 1
    assert capsys.readouterr().err.startswith("testbed up: root is needed")


def test_every_command_of_the_guide_works(bed: Testbed) -> None:
    """`make testbed` prints what to type: typed in that order, it balances."""
    bed.up()
    try:
        daemon, *commands, remove = [line.strip() for line in guide(bed).splitlines() if line.startswith("  ")]
        lbd = bed.start(BALANCER, "lbd-guide", *shlex.split(daemon.partition(" -- ")[2]))
        lbd.wait_for_line("ready")
        typed = subprocess.run(
            ["sh", "-eux"], input="\n".join(commands), text=True, capture_output=True, timeout=60, check=False
        )
        assert typed.returncode == 0, typed.stderr
        assert typed.stdout.count('"failed": 0') == 2
        lbd.stop()
        bed.release()
        assert subprocess.run(["sh", "-c", remove], timeout=30, check=False, capture_output=True).returncode == 0
        assert bed.left_behind() == []
    finally:
        bed.close()
