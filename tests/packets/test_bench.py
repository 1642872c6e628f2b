# SPDX-License-Identifier: Apache-2.0
"""The benchmark measures what it says it does. Never the times: those are for an idle machine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from bench.arena import Arena, arena
from bench.driver import Toolkit, toolkit
from bench.measure import cases
from bench.report import console, print_report, to_json
from bench.results import Settings, spread
from bench.run import FULL, bench
from bench.tables import count_entries
from bench.targets import Outcome, Target
from bench.workloads import FLOWS, TCP4, TCP6, UDP4, VIPS, WORKLOADS, Program, Workload
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from lb.dataplane import libbpf

pytestmark = pytest.mark.root

TINY = Settings(repeat=3_000, rounds=2, live_frames=3_000, workloads=(TCP4,), patience_seconds=0, max_flows=1_000)


@pytest.fixture(scope="module")
def tools() -> Iterator[Toolkit]:
    """driver.c, loaded."""
    with toolkit() as loaded:
        yield loaded


@pytest.fixture(scope="module")
def many_vips(tools: Toolkit) -> Iterator[Arena]:
    """A balancer with 1,000 VIPs."""
    with arena(VIPS, tools, moving=False) as built:
        yield built


@pytest.mark.parametrize(
    ("workload", "layer3", "layer4"), [(TCP4, IP, TCP), (UDP4, IP, UDP), (TCP6, IPv6, TCP)], ids=lambda v: str(v)[:12]
)
def test_the_driver_sends_valid_packets(tools: Toolkit, workload: Workload, layer3: type, layer4: type) -> None:
    """A malformed frame would time the way out of the parser."""
    driver = tools.drivers[workload.shape]
    driver.aim(workload, 1_000, tools.empty)
    packet = layer3(driver.run(1, 1).data[14:])
    assert packet[layer4].dport == 80
    if layer3 is IP:
        given = packet.chksum
        del packet.chksum
        assert IP(bytes(packet)).chksum == given
        assert packet.len == driver.frame_bytes - 14
    else:
        assert packet.plen == driver.frame_bytes - 54


@pytest.mark.parametrize(("workload", "layer3"), [(TCP4, IP), (TCP6, IPv6)], ids=["IPv4", "IPv6"])
def test_the_floor_writes_a_valid_outer_header(tools: Toolkit, workload: Workload, layer3: type) -> None:
    """A yardstick that wrote rubbish would be shorter than what it stands for."""
    driver = tools.drivers[workload.shape]
    driver.aim(workload, 1, tools.floor4 if layer3 is IP else tools.floor6)
    outer = layer3(driver.run(1, 1).data[14:])
    assert isinstance(outer.payload, layer3)
    if layer3 is IP:
        given = outer.chksum
        del outer.chksum
        assert IP(bytes(outer)).chksum == given
        assert outer.len == driver.frame_bytes - 14 + 20
    else:
        assert outer.plen == driver.frame_bytes - 14


def test_every_flow_is_sent_and_each_goes_its_own_way(tools: Toolkit, many_vips: Arena) -> None:
    """One flow over and over would be measured as a thousand, out of a warm cache."""
    driver = tools.drivers[VIPS.shape]
    many_vips.enter()
    driver.aim(VIPS, 1_000, many_vips.programs[Program.STABLE])
    wrapped = [driver.run(many_vips.ifindex, 1).data for _ in range(2_000)]
    assert {len(frame) for frame in wrapped} == {80}
    flows = Counter((frame[46:54], frame[54:58]) for frame in wrapped)
    assert len(flows) == 1_000
    assert max(flows.values()) <= 4
    assert len({frame[50:54] for frame in wrapped}) > 500
    assert len({ip_address(frame[30:34]) for frame in wrapped}) == 100


def test_a_whole_run_has_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    """Structure only: programs run, forward what they get, and every row and target is in table and JSON."""
    results = bench(TINY, lambda _: None)
    report = json.loads(json.dumps(to_json({"cpu": "some"}, TINY, results)))
    found = {(row["workload"], row["program"], row["flows"]) for row in report["rows"]}
    assert found == {(case.workload.name, case.program.value, case.flows) for case in cases(TINY)}
    for row in report["rows"]:
        assert (row["gross_ns"] is not None) == (row["status"] == "measured")
    assert len(report["live"]) == 2
    assert all(live["delivered"] > 0 for live in report["live"])
    assert len(report["targets"]) == 17
    print_report(console(), {"cpu": "some"}, TINY, results)
    shown = capsys.readouterr().out
    assert all(program in shown for program in Program)
    assert "reached" in shown or "missed" in shown


def test_a_full_run_covers_what_it_promises() -> None:
    """Programs x flows for both families, SYN and established, UDP, and many VIPs."""
    listed = list(cases(FULL))
    assert len(listed) == len(set(listed)) == 5 * len(FLOWS) * len(Program) + 2 * 3 * 2
    assert FULL.repeat >= 2_000_000
    assert FULL.rounds >= 11
    assert FULL.workloads == WORKLOADS


def test_targets_are_judged_by_their_limits() -> None:
    """A line that was not measured is neither reached nor missed."""
    assert Target("t", 1.0, 1.0).outcome is Outcome.REACHED
    assert Target("t", 1.1, 1.0).outcome is Outcome.MISSED
    assert Target("t", 1.1, 1.0, at_least=True).outcome is Outcome.REACHED
    assert Target("t", 0.9, 1.0, at_least=True).outcome is Outcome.MISSED
    assert Target("t", 1.0, None).outcome is Outcome.REPORTED
    assert Target("t", None, 1.0).outcome is Outcome.ABSENT


def test_spread_of_samples() -> None:
    """Medians, so that one disturbed round changes nothing."""
    found = spread([5, 1, 2, 3, 400])
    assert (found.median, found.minimum, found.maximum) == (3, 1, 400)
    assert spread([7]).median == 7


def test_entries_of_a_hash_map_are_counted(many_vips: Arena) -> None:
    """The kernel keeps no count, so they are read in batches."""
    path = many_vips.box.bpf_dir / "counted"
    fd = libbpf.map_create(1, "counted", 4, 4, 1_000)
    libbpf.obj_pin(fd, path)
    assert count_entries(path) == 0
    for number in range(700):
        libbpf.map_update(fd, number.to_bytes(4, "little"), bytes(4))
    assert count_entries(path) == 700
    path.unlink()
