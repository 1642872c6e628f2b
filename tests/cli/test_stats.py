# SPDX-License-Identifier: Apache-2.0
"""stats: counters, rates, watching."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import yaml
from cli.conftest import Run, cells
from cli.fake_server import FakeServer

from lb.cli.stats_view import packet_rates, stats_sheets
from lb.v1 import stats_pb2


@pytest.mark.usefixtures("fake")
def test_stats_per_vip_backend_and_verdict(run: Run) -> None:
    result = run("stats")
    assert result.exit_code == 0
    assert cells(result.stdout) == [
        ["VIP", "PACKETS", "BYTES", "FORWARDED", "TOO-BIG"],
        ["web", "1,000", "60,000", "990", "3,000"],
        [""],
        ["BACKEND", "PACKETS", "BYTES"],
        ["web/b1", "990", "59,400"],
        [""],
        ["VERDICT", "PACKETS", "BYTES", "MEANING"],
        ["FORWARDED", "990", "59,400", "sent on"],
        ["DROP_NO_BACKEND", "0", "0", "add a backend"],
        ["total", "1,200,000", "90,000,000", "every packet that the program saw"],
        [""],
        ["FLOW-TABLE", "FLOWS", "MEANING"],
        ["entries", "6,001", "of 1,048,576: flows tracked now, in slots that change hands"],
        ["inserted-syn", "5,001", "new flows (TCP SYN) entered"],
        ["inserted-old", "4,001", "flows older than the change entered"],
        ["refused-syn", "3,001", "new flows not entered: the table was too full"],
        ["refused-old", "2,001", "flows older than the change not entered"],
        ["expired", "1,001", "entries removed after their flow's end, since lbd started"],
    ]


@pytest.mark.usefixtures("fake")
def test_stats_as_data(run: Run) -> None:
    as_json = json.loads(run("stats", "-o", "json").stdout)
    assert as_json["received"] == {"packets": "1200000", "bytes": "90000000"}
    assert as_json["verdicts"][1]["count"] == {"packets": "0", "bytes": "0"}
    assert (as_json["flowTable"]["entries"], as_json["vips"][0]["tooBigPackets"]) == ("6001", "3000")
    assert yaml.safe_load(run("stats", "-o", "yaml").stdout)["vips"] == as_json["vips"]


def test_an_older_lbd_without_a_flow_table_shows_none() -> None:
    """An empty table would say that there is room for no flow."""
    assert [sheet.headers[0] for sheet in stats_sheets(stats_pb2.Stats())] == ["VIP", "BACKEND", "VERDICT"]


def stop_after(monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    """Ctrl-C while `stats --watch` sleeps after its ``frames``-th frame."""
    left = iter(range(frames - 1))

    def sleep(_seconds: float) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr("lb.cli.stats.time.sleep", sleep)


@pytest.mark.usefixtures("fake")
def test_watch_shows_rates_and_ends_with_ctrl_c(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate comes from the daemon's clock: 3,000 packets in 2 s, however long the call took."""
    stop_after(monkeypatch, 2)
    result = run("stats", "--watch")
    assert (result.exit_code, result.stderr) == (0, "")
    totals = [row for row in cells(result.stdout) if row[0] == "total"]
    assert [row[:3] for row in totals] == [["total", "-", "1,200,000"], ["total", "1,500", "1,203,000"]]


@pytest.mark.usefixtures("fake")
def test_watch_streams_documents(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(monkeypatch, 3)
    documents = list(yaml.safe_load_all(run("stats", "--watch", "-o", "yaml").stdout))
    stop_after(monkeypatch, 3)
    text = run("stats", "--watch", "-o", "json").stdout
    decoded = []
    while text:
        document, end = json.JSONDecoder().raw_decode(text)
        decoded.append(document)
        text = text[end:].lstrip()
    assert [len(documents), len(decoded)] == [3, 3]


def test_a_real_ctrl_c_ends_watch_with_0(fake: FakeServer) -> None:
    # A shell that starts a job in the background has it ignore SIGINT: undo that.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom lb.cli.main import main; main()"
    )
    arguments = ["--target", fake.target, "stats", "--watch", "--interval", "0.05"]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        frames = 0
        for line in child.stdout:
            frames += line.startswith("total")
            if frames == 2:
                break
        child.send_signal(signal.SIGINT)
        child.stdout.read()
        assert child.wait(60) == 0


def test_watch_ends_when_the_daemon_does(fake: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lb.cli.stats.time.sleep", lambda _seconds: fake.stop())
    result = run("stats", "--watch")
    assert result.exit_code == 5
    assert "lbd does not answer" in result.stderr


def test_rates_are_left_out_where_they_mean_nothing() -> None:
    """New resources, counters that began again, clocks that did not move."""

    def reading(seconds: int, **vips: int) -> stats_pb2.Stats:
        counted = [stats_pb2.VipStats(vip=name, received=stats_pb2.Counter(packets=n)) for name, n in vips.items()]
        stats = stats_pb2.Stats(vips=counted)
        stats.time.seconds = seconds
        return stats

    before = reading(10, same=5, less=9, more=0)
    now = reading(14, same=5, less=1, more=8, new=7)
    assert packet_rates(before, now) == {"total": 0, "same": 0, "more": 2}
    assert packet_rates(before, reading(10, more=8)) == {}
    assert packet_rates(None, now) == {}


def test_a_verdict_of_a_newer_lbd_is_shown_by_number() -> None:
    stats = stats_pb2.Stats(verdicts=[stats_pb2.VerdictStats(verdict=9999)])
    assert stats_sheets(stats)[2].rows[0][0] == "9999"
