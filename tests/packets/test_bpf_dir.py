# SPDX-License-Identifier: Apache-2.0
"""The folder that everything is pinned in: who may write there, and whether it outlives the daemon."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lb.core.errors import UnavailableError
from lb.dataplane.pins import DirLock, is_bpffs, prepare_bpf_dir

pytestmark = pytest.mark.root

PREPARE = "import sys, pathlib; from lb.dataplane.pins import prepare_bpf_dir as p; print(p(pathlib.Path(sys.argv[1])))"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A bpffs in the mount namespace that this test shares with process 1."""
    folder = tmp_path / "bpf"
    assert prepare_bpf_dir(folder) == ""
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def prepare_elsewhere(folder: Path) -> str:
    """What is said of it in a mount namespace of its own, as hardened services and `ip netns exec` have one."""
    argv = ["unshare", "--mount", sys.executable, "-c", PREPARE, str(folder)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def test_a_bpffs_is_mounted_where_there_is_none(mounted: Path) -> None:
    assert is_bpffs(mounted)


def test_a_mount_of_the_host_is_no_reason_to_warn(mounted: Path) -> None:
    """Seen from a private mount namespace, too: what is pinned there stays."""
    assert prepare_elsewhere(mounted) == ""


def test_a_mount_that_only_we_see_is_warned_of(tmp_path: Path) -> None:
    """It ends with us, and forwarding with it."""
    words = prepare_elsewhere(tmp_path / "bpf")
    assert "private mount namespace" in words
    assert "nsenter --net" in words


def test_a_link_to_the_folder_is_followed(mounted: Path, tmp_path: Path) -> None:
    """/var/run is one."""
    (tmp_path / "link").symlink_to(mounted)
    assert prepare_elsewhere(tmp_path / "link") == ""


def test_a_folder_has_one_owner_at_a_time(mounted: Path) -> None:
    """The second is told what to do; when the first lets go, or dies, it may."""
    first = DirLock(mounted)
    with pytest.raises(UnavailableError, match=f"another lbd owns {mounted}: stop it first, or .*--bpf-dir"):
        DirLock(mounted)
    first.release()
    DirLock(mounted).release()


def test_without_the_right_to_mount_the_remedies_are_named(tmp_path: Path) -> None:
    """Least capabilities: then somebody else has to mount it."""
    argv = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", PREPARE, str(tmp_path / "bpf")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"mount -t bpf bpf {tmp_path / 'bpf'}" in done.stderr
    assert "CAP_SYS_ADMIN" in done.stderr
