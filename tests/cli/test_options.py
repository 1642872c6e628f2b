# SPDX-License-Identifier: Apache-2.0
"""Global options, targets, help, start-up."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from cli.conftest import Run, fill
from cli.fake_server import FakeServer
from click.testing import CliRunner

from lb import __version__
from lb.api.config_file import dump_message
from lb.cli.main import cli
from lb.cli.target import parse_target
from lb.dataplane import pins


@pytest.mark.parametrize(
    "args",
    [
        ["-o", "json", "--target", "{}", "--timeout", "5", "vip", "list"],
        ["vip", "-o", "json", "--target", "{}", "--timeout", "5", "list"],
        ["vip", "list", "-o", "json", "--target", "{}", "--timeout", "5"],
        ["--target", "{}", "vip", "--timeout=5", "list", "--output=json"],
    ],
)
def test_global_options_work_before_and_after_the_verb(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    """A default at the inner level must not undo what was given at the outer one."""
    monkeypatch.delenv("LB_TARGET", raising=False)
    result = CliRunner().invoke(cli, [arg.format(fake.target) for arg in args])
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.stdout)["vips"]) == 3


def test_the_innermost_option_wins(fake: FakeServer, run: Run) -> None:
    result = run("--target", "/nowhere", "-o", "yaml", "vip", "list", "-o", "json", "--target", fake.target)
    assert len(json.loads(result.stdout)["vips"]) == 3


def test_an_option_beats_the_environment(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LB_TARGET", "/nowhere")
    assert CliRunner().invoke(cli, ["vip", "list"]).exit_code == 5
    assert CliRunner().invoke(cli, ["--target", fake.target, "vip", "list"]).exit_code == 0


@pytest.mark.parametrize(
    ("text", "address", "is_unix"),
    [
        ("unix:///run/lb/lbd.sock", "unix:///run/lb/lbd.sock", True),
        ("unix:/run/lb/lbd.sock", "unix:///run/lb/lbd.sock", True),
        ("/run/lb/lbd.sock", "unix:///run/lb/lbd.sock", True),
        ("/run/a:b/lbd.sock", "unix:///run/a:b/lbd.sock", True),
        ("lbd.sock", f"unix://{Path.cwd()}/lbd.sock", True),
        ("unix:lbd.sock", f"unix://{Path.cwd()}/lbd.sock", True),
        ("localhost:50051", "localhost:50051", False),
        ("dns:///lb1.example:50051", "dns:///lb1.example:50051", False),
        ("ipv6:[::1]:50051", "ipv6:[::1]:50051", False),
    ],
)
def test_targets(text: str, address: str, is_unix: bool) -> None:
    target = parse_target(text)
    assert (target.address, target.path is not None) == (address, is_unix)


def commands() -> list[list[str]]:
    """Every command and group, as the words that call it."""

    def walk(command: click.Command, words: list[str]) -> list[list[str]]:
        found = [words]
        for name, child in getattr(command, "commands", {}).items():
            found += walk(child, [*words, name])
        return found

    return walk(cli, [])


def examples(words: list[str]) -> list[str]:
    """The example lines of a command's help."""
    result = CliRunner().invoke(cli, [*words, "--help"], prog_name="lbctl")
    assert result.exit_code == 0
    return [line.strip() for line in result.stdout.partition("\nExamples:\n")[2].splitlines() if line.strip()]


ALL_EXAMPLES = sorted({line for words in commands() for line in examples(words)})


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_help_has_examples_of_its_command(words: list[str]) -> None:
    shown = examples(words)
    assert shown
    assert all(line.startswith(" ".join(["lbctl", *words])) for line in shown)


@pytest.mark.parametrize("line", ALL_EXAMPLES)
def test_every_example_works(
    empty: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str
) -> None:
    """What the help tells people to type must work, as it stands."""
    fill(empty)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lb.yaml").write_text(dump_message(empty.config))
    program, *args = shlex.split(line)
    assert program == "lbctl"
    if "create" in args:
        # The examples create what the other examples then use.
        for table in (empty.vips, empty.backends, *([empty.pools] if args[0] == "pool" else [])):
            table.clear()
    if args[0] == "detach":
        monkeypatch.setattr(pins, "detach", lambda _bpf_dir, _interface: ["eth0"])
    if "--watch" in args:
        # Ctrl-C after the first frame.
        monkeypatch.setattr("lb.cli.stats.time.sleep", lambda _seconds: (_ for _ in ()).throw(KeyboardInterrupt))
    result = run(*args)
    assert result.exit_code == 0, result.stderr


def test_help_fits_80_columns() -> None:
    """Examples excepted: they are to be copied, so they are never folded."""
    for words in commands():
        text = CliRunner().invoke(cli, [*words, "--help"]).stdout.partition("\nExamples:\n")[0]
        assert max(map(len, text.splitlines())) <= 80


def test_help_loads_neither_grpc_nor_rich() -> None:
    """They take 100 ms and more: TAB and --help must feel instant."""
    code = (
        "import sys; sys.argv = ['lbctl', 'vip', 'create', '--help']\n"
        "from lb.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print([m for m in ('grpc', 'google', 'rich', 'yaml', 'lb.v1') if m in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert child.stdout.splitlines()[-1] == "[]"


def test_version_option() -> None:
    child = subprocess.run(
        [sys.executable, "-m", "lb.cli", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert child.stdout == f"lbctl {__version__}\n"


def test_a_terminal_gets_colour_unless_no_color(fake: FakeServer) -> None:
    """On a real pseudo-terminal; and long cells are folded there, never cut. Names in brackets are no markup."""
    status = fake.backends["pools/web/backends/b2"].status
    status.reason = "[red]" + " no route to host" * 9
    status.ClearField("health")
    plain = _on_terminal(fake, {"NO_COLOR": "1"}, "backend", "list")
    assert "\x1b[" in _on_terminal(fake, {}, "backend", "list")
    assert "\x1b[" not in plain
    assert "NAME" in plain
    words = plain.split()
    assert "[red]" in words
    assert [words.count(word) for word in ("no", "route", "to", "host")] == [9, 9, 9, 9]
    assert max(map(len, plain.splitlines())) <= 120


def test_a_terminal_shows_one_resource_as_lines(fake: FakeServer) -> None:
    shown = _on_terminal(fake, {"NO_COLOR": "1"}, "vip", "get", "web")
    assert [line.split() for line in shown.splitlines()][:3] == [
        ["NAME", "web"],
        ["ADDRESS", "192.0.2.1"],
        ["PORT", "80"],
    ]


def _on_terminal(fake: FakeServer, extra: dict[str, str], *words: str) -> str:
    """Output of ``lbctl`` on a terminal of 120 columns."""
    master, slave = os.openpty()
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "lb.cli", "--target", fake.target, *words],
        stdout=slave,
        env={**inherited, "TERM": "xterm-256color", "COLUMNS": "120", **extra},
    ) as child:
        os.close(slave)
        output = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # EIO: the child closed the other end.
                break
            if not piece:
                break
            output += piece
        assert child.wait(60) == 0
    os.close(master)
    return output.decode()
