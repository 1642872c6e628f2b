# SPDX-License-Identifier: Apache-2.0
"""watch and verify."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest
import yaml
from cli.conftest import Run, cells
from cli.fake_server import FakeServer
from fakes.controller import FakeController
from google.protobuf import json_format

from lb.cli.event_view import event_line
from lb.core.errors import UnavailableError
from lb.v1.events_pb2 import WatchResponse


@pytest.mark.usefixtures("fake")
def test_watch_prints_a_line_for_each_event(run: Run) -> None:
    result = run("watch")
    assert result.exit_code == 0
    assert result.stdout == "12:03:07 web/b1 UP\n12:03:07 web/b1 DOWN: connection refused\n"
    assert result.stderr == "that is how it is now; what follows happens (Ctrl-C ends)\n"


@pytest.mark.usefixtures("fake")
def test_watch_as_data(run: Run) -> None:
    """One JSON object a line, as tools that read line by line want it; the marker is one of them."""
    lines = [json.loads(line) for line in run("watch", "-o", "json").stdout.splitlines()]
    assert [next(key for key in line if key not in ("time", "revision")) for line in lines] == [
        "snapshot",
        "sync",
        "health",
    ]
    assert lines[2]["health"]["reason"] == "connection refused"
    assert list(yaml.safe_load_all(run("watch", "-o", "yaml").stdout)) == lines


def test_watch_goes_on_from_a_revision(fake: FakeServer, run: Run) -> None:
    run("watch", "--start-revision", "17")
    run("watch")
    assert [request.start_revision for request in fake.requests] == [17, 0]
    assert run("watch", "--start-revision", "0").exit_code == 2


B1 = "pools/web/backends/b1"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"snapshot": {"name": "vips/web", "state": "balanced over 2"}}, "vip web balanced over 2"),
        ({"snapshot": {"name": "pools/web", "state": "2 of 2"}}, "pool web 2 of 2"),
        (
            {"config": {"who": "root", "differences": [{"action": "ADDED", "name": "vips/web"}]}},
            "revision 9 by root: added vip web",
        ),
        ({"config": {"who": "lbd"}}, "revision 9 by lbd: no object"),
        ({"health": {"backend": B1, "state": "UP"}}, "web/b1 UP"),
        ({"drain": {"backend": B1, "flows": 1}}, "web/b1 drains: 1 flow left"),
        ({"drain": {"backend": B1, "flows": 1200}}, "web/b1 drains: 1,200 flows left"),
        ({"drain": {"backend": B1, "done": "drained"}}, "web/b1 drained"),
        (
            {"drain": {"backend": B1, "flows": 3, "done": "deadline"}},
            "web/b1 reached its deadline: 3 flows were cut",
        ),
        ({"nextHop": {"backend": B1, "problem": "no route"}}, "web/b1 no next hop: no route"),
        (
            {"nextHop": {"backend": B1, "via": "02:00:00:00:00:01 via eth0"}},
            "web/b1 next hop 02:00:00:00:00:01 via eth0",
        ),
        (
            {"moves": {"pool": "pools/web", "protocol": "UDP"}},
            "pool web udp: moves are held back, because flows cannot be tracked: see the flow table in `lbctl stats`",
        ),
        ({}, "an event that this lbctl does not know: it is older than lbd"),
    ],
)
def test_every_event_in_words(body: dict[str, Any], text: str) -> None:
    event = json_format.ParseDict({"time": "2026-01-02T12:03:07Z", "revision": 9, **body}, WatchResponse())
    assert event_line(event) == f"12:03:07 {text}"


def test_a_real_ctrl_c_ends_watch_with_0(real: Run, controller: FakeController) -> None:
    """There is no other way to end it. What was there before comes first."""
    assert real("status").exit_code == 0
    # A shell that starts a job in the background has it ignore SIGINT: undo that.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom lb.cli.main import main; main()"
    )
    with subprocess.Popen([sys.executable, "-c", code, "watch"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = [child.stdout.readline().split(maxsplit=1)[1].strip() for _ in range(3)]
        assert first == [
            "pool web 1 of 1 backends take new flows",
            "web/b1 UP",
            "vip web balanced over 1 backend of pools/web",
        ]
        assert real("backend", "update", "web/b1", "--weight", "3").exit_code == 0
        assert child.stdout.readline().rstrip().endswith(": changed backend web/b1: weight -> 3")
        child.send_signal(signal.SIGINT)
        assert child.stdout.read() == ""
        assert child.wait(60) == 0
    assert controller.view().revision == 4


def test_watch_says_why_it_can_not_go_on(real: Run) -> None:
    result = real("watch", "--start-revision", "99")
    assert result.exit_code == 2
    assert "Error: revision 99 is not in force yet, 3 is: list again, then watch" in result.stderr


def test_watch_ends_with_5_when_lbd_stops(real: Run, controller: FakeController) -> None:
    controller.failure = UnavailableError("lbd stops: watch again when it is back")
    result = real("watch")
    assert (result.exit_code, result.stderr) == (5, "Error: lbd stops: watch again when it is back\n")


def test_verify_when_nothing_differs(real: Run) -> None:
    result = real("verify")
    assert (result.exit_code, result.stderr) == (0, "")
    assert cells(result.stdout) == [["REVISION", "3"], ["COMPARED", "131,074 words and entries"], ["DIFFERENT", "0"]]


def test_verify_lists_what_differs_and_exits_1(real: Run, controller: FakeController) -> None:
    controller.problems = ("ring web TCP: slot 7 is 3, not 4", "vip web: is not in the map")
    result = real("verify", "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["problems"]) == (1, list(controller.problems))
    assert result.stderr.splitlines() == [
        "Error: the data plane differs from the configuration:",
        "  ring web TCP: slot 7 is 3, not 4",
        "  vip web: is not in the map",
    ]
