# SPDX-License-Identifier: Apache-2.0
"""lbctl doctor: with lbd, and without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from cli.conftest import Run, cells
from cli.fake_server import FakeServer, make_status
from fakes.controller import FakeController
from google.protobuf import json_format
from google.rpc import code_pb2

from lb.cli.exits import Exit, Failure
from lb.cli.target import Target
from lb.ports import Finding, InterfaceState, Severity, XdpMode
from lb.v1.system_pb2 import DiagnoseResponse

PROBLEM = {
    "severity": "PROBLEM",
    "subject": "pools/web/backends/b1",
    "check": "next hop",
    "observation": "no route to 10.0.0.11",
    "remedy": "add one with `ip route add`",
}
WARNING = {
    "severity": "WARNING",
    "subject": "interface eth0",
    "check": "MTU",
    "observation": "1500 bytes",
    "remedy": "`ip link set dev eth0 mtu 1540`",
}
FINE = {"severity": "OK", "subject": "machine", "check": "kernel", "observation": "6.1.0", "remedy": ""}
HEADERS = ["SEVERITY", "SUBJECT", "CHECK", "SEEN", "REMEDY"]


def diagnosed(fake: FakeServer, *findings: dict[str, str]) -> None:
    json_format.ParseDict({"findings": findings}, fake.diagnosed)


def row(finding: dict[str, str]) -> list[str]:
    """As the table shows it."""
    severity, *rest = finding.values()
    return [severity.lower(), *(value or "-" for value in rest)]


@pytest.mark.parametrize(
    ("findings", "exit_code", "count"),
    [
        ((PROBLEM, WARNING, FINE), 1, "1 problem, 1 warning, 1 ok\n"),
        ((PROBLEM, PROBLEM), 1, "2 problems, 0 warnings, 0 ok\n"),
        ((WARNING, WARNING, FINE), 0, "0 problems, 2 warnings, 1 ok\n"),
        ((FINE,), 0, "0 problems, 0 warnings, 1 ok\n"),
    ],
)
def test_what_is_wrong_is_shown_and_the_rest_is_counted(
    fake: FakeServer, run: Run, findings: tuple[dict[str, str], ...], exit_code: int, count: str
) -> None:
    """A script goes by the exit code: a warning works, a problem does not."""
    diagnosed(fake, *findings)
    result = run("doctor")
    assert (result.exit_code, result.stderr) == (exit_code, count)
    assert cells(result.stdout) == [HEADERS, *(row(each) for each in findings if each is not FINE)]


def test_all_shows_what_is_fine_too(fake: FakeServer, run: Run) -> None:
    diagnosed(fake, PROBLEM, FINE)
    assert cells(run("doctor", "--all").stdout) == [HEADERS, row(PROBLEM), row(FINE)]


@pytest.mark.parametrize(("output", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_data_are_the_message(fake: FakeServer, run: Run, output: str, parse: type) -> None:
    """The protobuf JSON mapping, of what is shown."""
    diagnosed(fake, PROBLEM, FINE)
    result = run("doctor", "-o", output)
    assert result.exit_code == 1
    assert parse(result.stdout) == {"findings": [PROBLEM]}
    assert parse(run("doctor", "--all", "-o", output).stdout) == {"findings": [PROBLEM, FINE]}


def test_the_real_api_says_the_same(real: Run, controller: FakeController) -> None:
    controller.findings = (Finding(Severity.PROBLEM, "lbd", "maps", "map full", "look at its log"),)
    result = real("doctor")
    assert (result.exit_code, cells(result.stdout)[1:]) == (
        1,
        [["problem", "lbd", "maps", "map full", "look at its log"]],
    )


def test_without_lbd_the_machine_is_looked_at(run: Run, tmp_path: Path) -> None:
    """When lbd does not start, that is when a doctor is wanted."""
    result = run("doctor", "--all", "-o", "json", "--target", str(tmp_path / "nothing"), "--bpf-dir", str(tmp_path))
    assert result.exit_code == 5
    found = json_format.Parse(result.stdout, DiagnoseResponse()).findings
    assert (found[0].severity, found[0].subject, found[0].check) == (found[0].PROBLEM, "lbd", "running")
    assert found[0].observation == f"lbd is not running on unix://{tmp_path}/nothing"
    assert "start it with `lbd --interface IF`" in found[0].remedy
    by_check = {each.check: each for each in found}
    assert {"kernel", "BPF JIT", "clock"} <= by_check.keys()
    assert str(tmp_path) in by_check["bpffs"].observation
    assert result.stderr.endswith(" ok\n")


def test_a_data_plane_that_outlives_its_lbd_is_looked_at(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on forwarding; interfaces that are not here may be in lbd's own network namespace."""
    states = (InterfaceState("lo", True, XdpMode.GENERIC, ""), InterfaceState("eth9", False, None, "gone"))
    monkeypatch.setattr("lb.observe.local.is_bpffs", lambda _path: True)
    monkeypatch.setattr("lb.observe.local.Links.states", lambda _self: states)
    result = run("doctor", "--target", str(tmp_path / "nothing"), "--bpf-dir", str(tmp_path))
    shown = [line for line in cells(result.stdout) if line[1].startswith("interface")]
    assert [line[:4] for line in shown] == [["warning", "interface lo", "XDP mode", "generic"]]


def test_pins_that_may_not_be_read_are_left_out(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lb.observe.local.is_bpffs", lambda _path: True)
    monkeypatch.setattr("lb.observe.local.linked_interfaces", denied)
    result = run("doctor", "--target", str(tmp_path / "nothing"), "--bpf-dir", str(tmp_path))
    subjects = {line[1] for line in cells(result.stdout)[1:]}
    assert (result.exit_code, subjects - {"machine"}) == (5, {"lbd"})


@pytest.mark.parametrize(
    ("code", "exit_code"), [(code_pb2.PERMISSION_DENIED, 6), (code_pb2.UNIMPLEMENTED, 1), (code_pb2.INTERNAL, 1)]
)
def test_an_lbd_that_refuses_is_no_reason_to_look_here(empty: FakeServer, run: Run, code: int, exit_code: int) -> None:
    empty.failure = make_status(code, "the very reason")
    result = run("doctor")
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert "the very reason" in result.stderr


def test_the_machine_of_a_tcp_target_is_not_this_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found here would be taken for the other machine's."""

    def unreachable(_self: Target) -> None:
        raise Failure(Exit.UNAVAILABLE, "lbd does not answer on lb1:50051")

    monkeypatch.setattr(Target, "check", unreachable)
    result = run("doctor", "--target", "lb1:50051")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "lbd does not answer on lb1:50051" in result.stderr
