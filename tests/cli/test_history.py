# SPDX-License-Identifier: Apache-2.0
"""history, show, and export of earlier revisions."""

from __future__ import annotations

import json

import pytest
import yaml
from cli.conftest import Run, cells
from cli.fake_server import FakeServer
from google.protobuf import json_format

from lb.v1 import config_pb2


@pytest.mark.usefixtures("fake")
def test_history_shows_who_did_what_from_where(run: Run) -> None:
    """All pages of it; calls that were denied stand out."""
    result = run("history")
    assert (result.exit_code, result.stderr) == (0, "")
    assert cells(result.stdout) == [
        ["REV", "TIME", "WHO", "FROM", "WHAT", "NOTE"],
        ["18", "2026-01-02 03:04:05", "root (uid 0)", "unix, pid 4711", "changed backend web/b1: weight -> 3", "-"],
        ["denied", "2026-01-02 03:04:04", "guest", "192.0.2.7:53142", "VipService.DeleteVip", "needs role operate"],
        ["17", "2026-01-01 00:00:00", "lbd", "-", "-", "rollback to revision 3"],
    ]


def test_history_sums_large_changes_up(fake: FakeServer, run: Run) -> None:
    """A file that changes thousands is one line."""
    actions = ["ADDED"] * 3 + ["CHANGED"] + ["REMOVED"] * 2
    differences = [{"action": action, "name": f"vips/v{n}"} for n, action in enumerate(actions)]
    fake.revisions[:] = [json_format.ParseDict({"revision": 5, "differences": differences}, config_pb2.Revision())]
    assert cells(run("history").stdout)[1][-2] == "3 added, 1 changed, 2 removed"


def test_history_tells_what_became_of_one_object(fake: FakeServer, run: Run) -> None:
    """Whether a backend was drained or given another weight; a pool may have twenty fields."""
    fields = [
        {"name": "admin_state", "old": "ENABLED", "new": "DRAINING"},
        {"name": "drain_deadline", "old": "0", "new": "1767323047"},
        {"name": "weight", "old": "1", "new": "2"},
    ]
    difference = {"action": "CHANGED", "name": "pools/web/backends/b1", "fields": fields}
    fake.revisions[:] = [json_format.ParseDict({"revision": 5, "differences": [difference]}, config_pb2.Revision())]
    assert cells(run("history").stdout)[1][-2] == (
        "changed backend web/b1: admin_state -> DRAINING, drain_deadline -> 2026-01-02 03:04:07 UTC, ..."
    )
    assert run("show", "5").stdout.splitlines()[-3:] == [
        "    admin_state: ENABLED -> DRAINING",
        "    drain_deadline: (none) -> 2026-01-02 03:04:07 UTC",
        "    weight: 1 -> 2",
    ]


def test_history_reads_no_more_than_it_shows(fake: FakeServer, run: Run) -> None:
    found = json.loads(run("history", "--limit", "2", "-o", "json").stdout)
    assert [item["revision"] for item in found["revisions"]] == ["18", "0"]
    assert [request.page_size for request in fake.requests] == [2]
    assert run("history", "--limit", "0").exit_code == 2


def test_an_empty_history(run: Run) -> None:
    result = run("history")
    assert (result.exit_code, result.stderr) == (0, "nothing has been changed yet\n")


@pytest.mark.usefixtures("fake")
def test_show_tells_everything_of_a_revision(run: Run) -> None:
    assert run("show", "18").stdout.splitlines() == [
        "revision: 18",
        "time:     2026-01-02 03:04:05 UTC",
        "who:      root (uid 0)",
        "from:     unix, pid 4711",
        "call:     BackendService.UpdateBackend",
        "",
        "~ backend web/b1",
        "    weight: 1 -> 3",
    ]
    lines = run("show", "17").stdout.splitlines()
    assert (lines[3:], "note:     rollback to revision 3" in lines) == (
        ["note:     rollback to revision 3", "", "no object changed"],
        True,
    )
    as_json = json.loads(run("show", "18", "-o", "json").stdout)
    assert as_json["differences"][0]["fields"] == [{"name": "weight", "old": "1", "new": "3"}]
    assert yaml.safe_load(run("show", "18", "-o", "yaml").stdout) == as_json


@pytest.mark.parametrize(("revision", "code"), [("19", 3), ("16", 3), ("0", 2), ("x", 2), (str(2**64), 2)])
@pytest.mark.usefixtures("fake")
def test_revisions_that_are_not_there(run: Run, revision: str, code: int) -> None:
    result = run("show", revision)
    assert (result.exit_code, result.stdout) == (code, "")
    assert "`lbctl history`" in result.stderr


def test_the_configuration_of_a_revision(fake: FakeServer, run: Run) -> None:
    """`show --config` and `export --revision` are the same file."""
    shown = run("show", "16", "--config")
    exported = run("export", "--revision", "16")
    assert shown.stdout == exported.stdout == run("export").stdout
    assert [request.revision for request in fake.requests] == [16, 16, 0]
    assert json.loads(run("show", "16", "--config", "-o", "json").stdout) == json.loads(
        run("export", "-o", "json").stdout
    )


def test_history_of_the_real_api(real: Run) -> None:
    """What an operator did a moment ago is on top, and its configuration can be had back."""
    assert real("backend", "update", "web/b1", "--weight", "3").exit_code == 0
    rows = cells(real("history").stdout)
    assert [(row[0], row[-2]) for row in rows[1:]] == [
        ("4", "changed backend web/b1: weight -> 3"),
        ("3", "added vip web"),
        ("2", "added backend web/b1"),
        ("1", "added pool web"),
    ]
    assert real("show", "4").stdout.endswith("~ backend web/b1\n    weight: 1 -> 3\n")
    (pool,) = yaml.safe_load(real("export", "--revision", "2").stdout)["pools"]
    assert [member["weight"] for member in pool["backends"]] == [1]
    assert real("export", "--revision", "9").exit_code == 3
