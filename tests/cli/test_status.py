# SPDX-License-Identifier: Apache-2.0
"""status and version."""

from __future__ import annotations

import json

import pytest
from cli.conftest import STATUS, Run, cells
from cli.fake_server import FakeServer
from google.protobuf import json_format


@pytest.mark.usefixtures("fake")
def test_status_ready_exits_0(run: Run) -> None:
    result = run("status")
    assert (result.exit_code, result.stderr) == (0, "")
    assert cells(result.stdout) == [
        ["READY", "yes"],
        ["REASON", "-"],
        ["VERSION", "9.9.9"],
        ["STARTED", "2026-01-02 03:04:05 UTC"],
        ["REVISION", "17"],
        ["INTERFACE", "eth0 native"],
        ["VIPS", "3"],
        ["POOLS", "3"],
        ["BACKENDS", "3 (1 in the ring)"],
        ["BPF-DIR", "/run/lb/bpf"],
    ]


def test_status_not_ready_exits_1_and_says_why(fake: FakeServer, run: Run) -> None:
    json_format.ParseDict({**STATUS, "ready": False, "reason": "compiling"}, fake.status)
    result = run("status", "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["ready"]) == (1, False)
    assert result.stderr == "Error: the balancer does not work:\n  not ready: compiling\n"


@pytest.mark.parametrize(
    ("interface", "line"),
    [
        ({"interface": "eth1", "attached": False, "reason": "detached"}, "eth1: not attached: detached"),
        ({"interface": "eth1"}, "eth1: not attached"),
    ],
)
def test_status_exits_1_while_an_interface_is_not_attached(
    fake: FakeServer, run: Run, interface: dict[str, object], line: str
) -> None:
    """Half attached is not attached: traffic on that interface is not balanced."""
    fake.status.interfaces.append(json_format.ParseDict(interface, type(fake.status.interfaces[0])()))
    result = run("status")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [f"  {line}"]
    assert "eth1 not attached" in result.stdout


def test_status_warns_of_generic_mode(fake: FakeServer, run: Run) -> None:
    fake.status.interfaces[0].mode = 2
    result = run("status")
    assert (result.exit_code, result.stderr.startswith("warning: eth0 runs XDP in generic mode")) == (0, True)


@pytest.mark.usefixtures("fake")
def test_version_names_both_programs(run: Run) -> None:
    assert json.loads(run("version", "-o", "json").stdout) == {"lbctl": "0.1.0", "lbd": "9.9.9"}


def test_version_works_without_the_daemon(run: Run) -> None:
    result = run("version", "--target", "/nowhere")
    assert (result.exit_code, result.stdout) == (0, "lbctl  0.1.0\n")
    assert "lbd is not running" in result.stderr
