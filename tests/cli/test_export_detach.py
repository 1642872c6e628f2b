# SPDX-License-Identifier: Apache-2.0
"""export and detach."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from cli.conftest import Run
from cli.fake_server import FakeServer
from google.protobuf import json_format

from lb.api.config_file import parse
from lb.core.errors import LimitError, NotFoundError, RefusedError, UnavailableError
from lb.dataplane import pins
from lb.v1 import config_pb2


def test_export_is_a_file_that_lbd_reads(fake: FakeServer, run: Run) -> None:
    """Out and in again, an explicit weight of 0 included."""
    result = run("export")
    assert result.exit_code == 0
    message = parse(result.stdout, "export").message
    assert message.settings == fake.config.settings
    assert message.pools[0].backends[0].HasField("weight")
    assert (message.pools[0].backends[0].weight, message.vips[0].port) == (0, 80)


def test_export_as_json_is_the_protobuf_mapping(fake: FakeServer, run: Run) -> None:
    result = run("export", "-o", "json")
    assert json_format.ParseDict(json.loads(result.stdout), config_pb2.Config()) == fake.config
    assert "etag" not in result.stdout


@pytest.fixture
def detached(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str | None]]:
    """What `pins.detach` was asked; it takes off eth0 and eth1."""
    calls: list[tuple[Path, str | None]] = []

    def detach(bpf_dir: Path, interface: str | None = None) -> list[str]:
        calls.append((bpf_dir, interface))
        return [name for name in ("eth0", "eth1") if interface in (None, name)]

    monkeypatch.setattr(pins, "detach", detach)
    return calls


def test_detach_works_without_the_daemon(run: Run, detached: list[tuple[Path, str | None]]) -> None:
    result = run("detach", "--target", "/nowhere")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "detached eth0\ndetached eth1\n")
    assert detached == [(Path("/run/lb/bpf"), None)]


def test_detach_of_one_interface(run: Run, tmp_path: Path, detached: list[tuple[Path, str | None]]) -> None:
    result = run("detach", "--interface", "eth1", "--bpf-dir", str(tmp_path), "-o", "json")
    assert json.loads(result.stdout) == {"interfaces": ["eth1"]}
    assert detached == [(tmp_path, "eth1")]
    assert yaml.safe_load(run("detach", "-o", "yaml").stdout) == {"interfaces": ["eth0", "eth1"]}


def test_detach_with_nothing_attached_is_no_error(run: Run, tmp_path: Path) -> None:
    """Against the real pins: scripts that clean up run it twice."""
    result = run("detach", "--bpf-dir", str(tmp_path / "none"))
    assert (result.exit_code, result.stderr) == (0, f"nothing is attached under {tmp_path / 'none'}\n")


def test_detach_of_an_unknown_interface_is_not_found(run: Run, tmp_path: Path) -> None:
    result = run("detach", "--bpf-dir", str(tmp_path), "--interface", "eth7")
    assert result.exit_code == 3
    assert "eth7" in result.stderr


def caused(error: Exception, cause: Exception) -> Exception:
    """``error`` as if raised from ``cause``."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError("no"), 3),
        (RefusedError("no"), 4),
        (UnavailableError("no"), 5),
        (LimitError("no"), 1),
        (caused(UnavailableError("no"), PermissionError(1, "not permitted")), 6),
        (PermissionError(13, "no"), 6),
        (OSError(5, "no"), 1),
    ],
)
def test_detach_errors_have_their_exit_codes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def detach(_bpf_dir: Path, _interface: str | None) -> list[str]:
        raise error

    monkeypatch.setattr(pins, "detach", detach)
    result = run("detach", "--bpf-dir", str(tmp_path))
    assert result.exit_code == code
    assert result.stderr.startswith("Error: ")


def test_detach_without_the_right_is_denied(tmp_path: Path) -> None:
    """An unprivileged user must not hear "nothing is attached" about a folder that they can't see into."""
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0)
    code = (
        "import os, lb.dataplane.pins, lb.net.probe_route; from lb.cli.main import main\n"
        "os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534)); main()"
    )
    # The way to the last one is open, as it is to /run/lb/bpf.
    with tempfile.TemporaryDirectory() as reachable:
        for folder in (locked, locked / "below", reachable):
            child = subprocess.run(
                [sys.executable, "-c", code, "detach", "--bpf-dir", str(folder)],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert child.returncode == 6
            assert "detaching needs root" in child.stderr
    locked.chmod(0o700)
