# SPDX-License-Identifier: Apache-2.0
"""What is done to the daemon is not felt by clients: crash, restart, upgrade, large changes, under steady traffic."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.survival_lab import Flows, flows
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from testbed import BALANCER, CLIENT, ECHO_PORT, SWITCH, Lbd, Testbed

from lb.core.model import RING_SIZE

pytestmark = pytest.mark.root

ROUNDS = 10 if os.environ.get("LB_DEEP") else 2
"""Of each kind of disturbance."""

LASTING, SHORT = 100, 80
"""Connections that stay; and those, each for one request, that follow one another 12 times a second at most."""

SHORT_OPTIONS = ("--echoes", "1", "--interval", "0.08")
ETH_P_ALL = 3
"""A bridge takes frames of its ports away before anybody sees them who asks for one protocol."""

PACKET_SECONDS = 10.0
PROJECT = Path(__file__).resolve().parents[2]

CONFIG = """\
pools:
  - name: web
    backends:
      - {{name: b1, address: {b1}}}
      - {{name: b2, address: {b2}}}
      - {{name: b3, address: {b3}, weight: {weight}}}
vips:
  - {{name: echo, address: {vip}, port: {port}, protocol: TCP, pool: web}}
"""


class Upgradable(Lbd):
    """Runs from ``tree`` instead of the installed package once that is set."""

    tree: Path | None = None

    @property
    def argv(self) -> list[str]:
        """Its command line."""
        words = super().argv
        if self.tree is None:
            return words
        # -P: not from the folder that we happen to be in.
        return ["env", f"PYTHONPATH={self.tree}", sys.executable, "-P", "-m", "lb.daemon.main", *words[1:]]


@dataclass(frozen=True, slots=True)
class Site:
    """A balancer that serves."""

    bed: Testbed
    lbd: Upgradable
    folder: Path

    def file(self, weight: int) -> Path:
        """A configuration file in which b3 has this weight."""
        path = self.folder / f"weight-{weight}.yaml"
        addresses = {name: self.bed.address(name) for name in ("b1", "b2", "b3")}
        path.write_text(CONFIG.format(**addresses, weight=weight, vip=self.bed.vip, port=ECHO_PORT))
        return path

    def restart(self) -> None:
        """Without a goodbye."""
        self.lbd.kill()
        self.lbd.start()

    def apply(self, weight: int) -> dict[str, object]:
        """`lbctl apply`; returns the impact on the one ring."""
        answer = self.lbd.lbctl("apply", "-f", str(self.file(weight)), "--yes")
        (impact,) = answer["impacts"]
        assert isinstance(impact, dict)
        return impact


@pytest.fixture(scope="module")
def site(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three backends behind the VIP's echo port."""
    with Testbed(backends=3, name_prefix=f"{prefix}-hitless") as bed, Upgradable(bed) as lbd:
        made = Site(bed, lbd, tmp_path_factory.mktemp("hitless"))
        # Else the client runs out of ports: those of closed connections rest for a minute.
        bed.run(CLIENT, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse")
        lbd.lbctl("apply", "-f", str(made.file(weight=1)), "--yes")
        yield made


@contextmanager
def traffic(site: Site) -> Iterator[tuple[Flows, Flows]]:
    """Lasting connections and a stream of short ones; none may break or change its backend."""
    with ExitStack() as stack:
        lasting = stack.enter_context(flows(site.bed, "tcp", LASTING))
        short = stack.enter_context(flows(site.bed, "tcp", SHORT, *SHORT_OPTIONS))
        yield lasting, short
        for load in (lasting, short):
            report = load.stop()
            assert not report.broken
            assert not report.moved
            assert report.answers > (LASTING if load is lasting else SHORT)
            print(f"\n{report.opened} connections, {report.answers} answers, none failed")


def changed_tree(folder: Path, number: int) -> Path:
    """A copy of the product that writes another identification into outer headers: see ``variant``."""
    for part in ("lb", "xdp"):
        shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    header = folder / "xdp" / "outer.h"
    before = header.read_text()
    after = before.replace("__be16 id = pkt->id ^ (", f"__be16 id = pkt->id ^ bpf_htons({number}) ^ (")
    assert after != before
    header.write_text(after)
    return folder


def variant(site: Site) -> int:
    """Number of the program that has just sent a packet to a backend; 0 for the product's own."""
    with site.bed.entered(SWITCH):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    with wire:
        wire.bind((BALANCER, ETH_P_ALL))
        wire.settimeout(PACKET_SECONDS)
        deadline = time.monotonic() + PACKET_SECONDS
        while time.monotonic() < deadline:
            packet = Ether(wire.recv(2048))
            if IP in packet and packet[IP].proto == socket.IPPROTO_IPIP:
                return int(packet[IP].id ^ packet[IP].payload[IP].id)
    raise AssertionError("no packet to a backend")


def test_a_daemon_that_is_killed_and_comes_back_is_not_felt(site: Site) -> None:
    """Also the counters go on, and no slot moves."""
    before = site.lbd.lbctl("stats")["received"]["packets"]
    rings = site.lbd.lbctl("pool", "get", "web")["rings"]
    with traffic(site):
        for _ in range(ROUNDS):
            site.restart()
            assert site.lbd.lbctl("pool", "get", "web")["rings"] == rings
            assert site.lbd.lbctl("verify")["problems"] == []
    assert int(site.lbd.lbctl("stats")["received"]["packets"]) > int(before)


def test_an_upgrade_to_another_program_is_not_felt(site: Site) -> None:
    """The new one takes the place of the old one under the same link; maps, flows and counters stay."""
    with traffic(site):
        for number in range(1, ROUNDS + 1):
            site.lbd.tree = changed_tree(site.folder / f"tree-{number}", number)
            site.restart()
            assert variant(site) == number
    site.lbd.tree = None
    site.restart()
    with flows(site.bed, "tcp", 1):
        assert variant(site) == 0


def test_a_change_that_moves_a_third_of_the_slots_is_not_felt(site: Site) -> None:
    """And it moves what it said it would."""
    with traffic(site):
        for number in range(ROUNDS):
            impact = site.apply(weight=number % 2)
            assert impact["movedSlots"] == impact["measuredMovedSlots"]
            assert RING_SIZE / 4 < int(str(impact["movedSlots"])) < RING_SIZE / 2
            assert impact["cutSlots"] == 0
    if ROUNDS % 2:
        site.apply(weight=1)
