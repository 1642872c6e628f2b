# SPDX-License-Identifier: Apache-2.0
"""Another release, whose maps are laid out otherwise, takes over under real traffic; or says what that would cost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.survival_lab import flows
from e2e.test_hitless import CONFIG, Upgradable
from testbed import ECHO_PORT, Testbed, wait_until

pytestmark = pytest.mark.root

PROJECT = Path(__file__).resolve().parents[2]
CONNECTIONS = 60
END_SECONDS = 30.0
TABLE = "FLOW_ENTRIES = 1_048_576"
FLOWS = "FLOW_KEY.size, FLOW.size, FLOW_ENTRIES)"


@dataclass(frozen=True, slots=True)
class Site:
    """A balancer that serves, with slots that move and flows that are tracked."""

    bed: Testbed
    lbd: Upgradable
    folder: Path

    def weigh(self, weight: int) -> None:
        """Move slots: b3 gets this weight."""
        path = self.folder / "lb.yaml"
        addresses = {name: self.bed.address(name) for name in ("b1", "b2", "b3")}
        path.write_text(CONFIG.format(**addresses, weight=weight, vip=self.bed.vip, port=ECHO_PORT))
        self.lbd.lbctl("apply", "-f", str(path), "--yes")

    def tracked(self) -> int:
        """Entries of the flow table."""
        return int(self.lbd.lbctl("stats")["flowTable"]["entries"])

    def release(self, name: str, file: str, before: str, after: str) -> Path:
        """A copy of the product in which one line differs."""
        tree = self.folder / name
        for part in ("lb", "xdp"):
            shutil.copytree(PROJECT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        text = (tree / file).read_text()
        assert before in text
        (tree / file).write_text(text.replace(before, after))
        return tree

    def restart(self, tree: Path | None) -> None:
        """With another release; None = this one."""
        self.lbd.stop()
        self.lbd.tree = tree
        self.lbd.start()


@pytest.fixture
def site(flat_bed: Testbed, tmp_path: Path) -> Iterator[Site]:
    with Upgradable(flat_bed) as lbd:
        made = Site(flat_bed, lbd, tmp_path)
        made.weigh(1)
        yield made


@contextmanager
def traffic(site: Site) -> Iterator[None]:
    """Lasting connections of which some are tracked: none may break or change its backend."""
    with flows(site.bed, "tcp", CONNECTIONS) as load:
        site.weigh(0)
        site.weigh(2)
        wait_until(site.tracked, END_SECONDS, "no flow is tracked")
        yield
        report = load.stop()
    assert not report.broken
    assert not report.moved


def test_a_larger_flow_table_and_back_is_not_felt(site: Site) -> None:
    """Entries, slots and epochs go over; the maps are as planned afterwards."""
    larger = site.release("larger", "lb/core/limits.py", TABLE, "FLOW_ENTRIES = 2_097_152")
    with traffic(site):
        for tree in (larger, None):
            before = site.tracked()
            site.restart(tree)
            assert "flows are made anew" in site.lbd.log
            wait_until(lambda before=before: site.tracked() >= before, END_SECONDS, "entries are missing")
            assert site.lbd.lbctl("verify")["problems"] == []


def test_flows_that_cannot_be_carried_over_are_the_operators_to_give_up(site: Site) -> None:
    """Refused with the cost, while everything goes on; then done as asked."""
    other = site.release("other", "lb/dataplane/maps.py", FLOWS, f"{FLOWS[:-1]}, meaning=1)")
    with traffic(site):
        site.lbd.stop()
        site.lbd.tree = other
        refused = site.lbd.start(wait=False)
        wait_until(lambda: not refused.running, END_SECONDS, "lbd did not refuse")
        assert refused.process.returncode == 1
        assert "tracked flows lose their entry" in refused.stderr
        assert "lbd --replace" in refused.stderr
        site.restart(None)
    site.lbd.stop()
    with_replace = Upgradable(site.bed, args=["--replace"])
    with_replace.tree = other
    with with_replace:
        assert with_replace.lbctl("verify")["problems"] == []
        assert int(with_replace.lbctl("stats")["flowTable"]["entries"]) == 0
