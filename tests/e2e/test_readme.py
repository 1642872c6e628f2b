# SPDX-License-Identifier: Apache-2.0
"""README.md does what it says: its commands, its configuration file and its client are run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from testbed import Lbd

from lb.api.config_file import merge, parse
from lb.core.model import Config

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Fenced code of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_configuration_file_is_accepted() -> None:
    """The first file that somebody writes is a copy of this one."""
    (text,) = blocks("yaml")
    config, _ = merge(Config(), parse(text, "README.md"))
    assert set(config.pools) == {"web"}
    assert set(config.vips) == {"web"}


def test_links_lead_somewhere() -> None:
    """Every relative link."""
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_make_targets_exist() -> None:
    """Every `make TARGET` that is named."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.root
def test_the_commands_and_the_client_work(lbd: Lbd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed as they stand, beside the file, they configure a VIP; the Python client then lists it."""
    monkeypatch.chdir(tmp_path)
    (file,) = blocks("yaml")
    (tmp_path / "lb.yaml").write_text(file)
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("lbctl ")]
    assert len(lines) >= 5
    for line in lines:
        done = lbd.lbctl_run(*line.split()[1:])
        assert done.returncode == 0, f"{line}: {done.stderr}"
    (client,) = blocks("python")
    code = client.replace("unix:///run/lb/lbd.sock", lbd.target)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "vips/web 192.0.2.1 80\n"


def test_lbd_help_names_every_flag_of_the_contract() -> None:
    """Unit files and other people's scripts rely on them."""
    text = subprocess.run(
        [sys.executable, "-m", "lb.daemon.main", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for flag in ("--interface", "--config", "--state-dir", "--bpf-dir", "--listen", "--xdp-mode", "/var/lib/lb"):
        assert flag in text
