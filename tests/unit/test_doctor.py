# SPDX-License-Identifier: Apache-2.0
"""The daemon's doctor: everything is looked at, once at a time, and what is worst comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
from fakes.data_plane import FakeDataPlane
from fakes.next_hops import hop_to

from lb.core.allocation import Allocation, allocate
from lb.core.model import Backend, BackendState, Config, Pool, Protocol, View, Vip
from lb.daemon import doctor as module
from lb.daemon.doctor import Doctor
from lb.observe import backends
from lb.observe.backends import Member
from lb.observe.findings import ok, problem
from lb.observe.ways import Question
from lb.ports import Finding, Severity


class InForce:
    """A reconciler, as far as the doctor knows it."""

    def __init__(self, config: Config, failure: str = "") -> None:
        self.failure = failure
        self.allocation = allocate(config, Allocation())


def view(count: int) -> View:
    """One pool with a VIP and so many backends."""
    members = {f"b{i}": Backend(f"b{i}", ip_address(f"10.0.0.{i}")) for i in range(1, count + 1)}
    states = {("web", name): BackendState(1, "", hop_to(member.address)) for name, member in members.items()}
    vip = Vip("web", ip_address("192.0.2.1"), 80, Protocol.TCP, "web")
    return View(1, Config(pools={"web": Pool("web", backends=members)}, vips={"web": vip}), states)


class Network:
    """Stands for the backends. ``asked``: names of those that were sent anything, for each diagnosis."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[list[str]] = []
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        monkeypatch.setattr(module, "examine_paths", self._paths)
        monkeypatch.setattr(module, "examine_reach", self._reach)

    async def _paths(self, members: Sequence[Member]) -> list[Finding]:
        return [ok(member.subject, "path MTU", "1500") for member in members]

    async def _reach(self, questions: Sequence[Question]) -> list[Finding]:
        self.asked.append([question.member.backend.name for question in questions])
        self.began.set()
        await self.may_end.wait()
        return [problem(question.member.subject, "reach", "no answer", "look") for question in questions]


@pytest.fixture
async def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


def make(shown: View, failure: str = "", tunnel_problem: str = "") -> Doctor:
    return Doctor(FakeDataPlane(), InForce(shown.config, failure), Path("/run/lb/bpf"), lambda _version: tunnel_problem)


async def test_a_diagnosis_covers_everything_the_worst_first(network: Network) -> None:
    """Machine, interfaces, next hops, paths, and each backend."""
    shown = view(2)
    found = await make(shown).diagnose(shown)
    checks = {finding.check for finding in found}
    assert checks >= {"kernel", "bpffs", "clock", "capabilities", "maps", "tunnel of health checks, IPv4", "XDP mode"}
    assert checks >= {"MTU", "next hop", "path MTU", "reach"}
    assert network.asked == [["b1", "b2"]]
    order = [Severity.PROBLEM, Severity.WARNING, Severity.OK]
    assert [order.index(finding.severity) for finding in found] == sorted(
        order.index(finding.severity) for finding in found
    )


@pytest.mark.usefixtures("network")
async def test_what_lbd_itself_has_trouble_with_is_there() -> None:
    """Maps that are not as the configuration says, and a tunnel that could not be made."""
    shown = view(0)
    found = {each.check: each for each in await make(shown, "map full", "no clsact").diagnose(shown)}
    assert (found["maps"].severity, found["maps"].observation) == (Severity.PROBLEM, "map full")
    tunnel = found["tunnel of health checks, IPv4"]
    assert (tunnel.severity, tunnel.observation) == (Severity.WARNING, "no clsact")
    assert "restart lbd" in tunnel.remedy


@pytest.mark.usefixtures("network")
async def test_backends_that_were_not_asked_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "MAX_ASKED", 1)
    shown = view(3)
    assert any("2 more backends were not asked" in each.observation for each in await make(shown).diagnose(shown))


async def test_who_asks_meanwhile_gets_the_same_diagnosis(network: Network) -> None:
    """Many callers must not multiply what backends are sent; and one that hangs up takes nothing from the others."""
    shown = view(1)
    doctor = make(shown)
    network.may_end.clear()
    first, second = asyncio.create_task(doctor.diagnose(shown)), asyncio.create_task(doctor.diagnose(shown))
    await network.began.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    network.may_end.set()
    assert any(each.check == "reach" for each in await second)
    assert len(network.asked) == 1
    await doctor.diagnose(shown)
    assert len(network.asked) == 2
