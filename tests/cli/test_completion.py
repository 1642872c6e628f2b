# SPDX-License-Identifier: Apache-2.0
"""completion: the scripts, and what TAB offers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable

import click
import pytest
from cli.conftest import Run
from cli.fake_server import FakeServer
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from lb.cli.main import cli


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script(run: Run, shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert f"_LBCTL_COMPLETE={shell}_complete" in result.stdout


def test_bash_accepts_the_script() -> None:
    check = 'eval "$("$0" -m lb.cli completion bash)" && complete -p lbctl'
    child = subprocess.run(
        ["bash", "-c", check, sys.executable], capture_output=True, text=True, timeout=60, check=True
    )
    assert "lbctl" in child.stdout


def complete(args: Iterable[str], incomplete: str = "") -> list[str]:
    """What TAB offers after these words."""
    items = BashComplete(cli, {}, "lbctl", "_LBCTL_COMPLETE").get_completions(list(args), incomplete)
    return [item.value for item in items]


@pytest.mark.parametrize(
    ("args", "incomplete", "offered"),
    [
        (["vip"], "", ["create", "delete", "get", "list", "update"]),
        (["vip", "get"], "", ["alt", "dns", "web"]),
        (["vip", "get"], "d", ["dns"]),
        (["pool", "delete"], "", ["blue", "spare", "web"]),
        (["backend", "update"], "web/", ["web/b1", "web/b2"]),
        (["backend", "list"], "w", ["web"]),
        (["backend", "create"], "w", ["web/"]),
        (["vip", "update", "web", "--pool"], "b", ["blue"]),
        (["vip", "create", "x", "--protocol"], "", ["tcp", "udp"]),
        (["vip", "list", "-o"], "", ["table", "json", "yaml"]),
    ],
)
def test_tab_completes_verbs_values_and_names(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, args: list[str], incomplete: str, offered: list[str]
) -> None:
    monkeypatch.setenv("LB_TARGET", fake.target)
    assert complete(args, incomplete) == offered


def test_tab_uses_the_target_on_the_line(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LB_TARGET", "/nowhere")
    assert complete(["--target", fake.target, "vip", "get"]) == ["alt", "dns", "web"]
    assert complete(["vip", "get", "--target", fake.target], "w") == ["web"]


def test_tab_is_silent_when_the_daemon_is_away(capfd: pytest.CaptureFixture[str]) -> None:
    assert complete(["--target", "/nowhere", "vip", "get"]) == []
    assert complete(["--target", "unix://no", "vip", "get"]) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        (BashComplete, {"COMP_WORDS": "lbctl vip get w", "COMP_CWORD": "3"}),
        (ZshComplete, {"COMP_WORDS": "lbctl vip get w", "COMP_CWORD": "3"}),
        (FishComplete, {"COMP_WORDS": "lbctl vip get w", "COMP_CWORD": "w"}),
    ],
)
def test_the_installed_program_answers_the_shells(
    fake: FakeServer, shell: type[click.shell_completion.ShellComplete], words: dict[str, str]
) -> None:
    """The whole way, as the script of each shell calls it."""
    environment = {**os.environ, **words, "LB_TARGET": fake.target, "_LBCTL_COMPLETE": f"{shell.name}_complete"}
    child = subprocess.run(
        [sys.executable, "-m", "lb.cli"], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert "web" in child.stdout
    assert "dns" not in child.stdout
