# SPDX-License-Identifier: Apache-2.0
"""What the doctor says about backends: from what lbd knows, and from asking them both ways."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

import pytest
from fakes.next_hops import hop_to

from lb.core.allocation import Allocation, allocate
from lb.core.checks import PROBE_MARK, CheckKind, CheckVia, HealthCheck, Target
from lb.core.health import UNCHECKED, Health, Status
from lb.core.model import (
    AdminState,
    Backend,
    BackendState,
    Config,
    Hop,
    Pool,
    Protocol,
    Unresolved,
    View,
    Vip,
)
from lb.observe import backends
from lb.observe.backends import Member, examine_backends, members_to_ask
from lb.observe.findings import MAX_FINDINGS, ok, problem, warning, worst_first
from lb.observe.reach import Answer, compare, examine_reach
from lb.observe.ways import MAX_TIMEOUT_MS, Question, questions
from lb.ports import Finding, Severity
from lb.probe.diagnosis import Finding as Silence

OK, WARNING, PROBLEM = Severity.OK, Severity.WARNING, Severity.PROBLEM
B1, B2 = (Backend(f"b{i}", ip_address(f"10.0.0.{i}")) for i in (1, 2))
HTTP = HealthCheck(CheckKind.HTTP, timeout_ms=60_000)
WEB = Vip("web", ip_address("192.0.2.1"), 80, Protocol.TCP, "web")
DNS = Vip("dns", ip_address("192.0.2.53"), 53, Protocol.UDP, "web")
ANY = Vip("any", ip_address("192.0.2.9"), 0, Protocol.TCP, "web")


def view(
    *members: Backend,
    check: HealthCheck | None = None,
    vips: Collection[Vip] = (WEB,),
    health: Mapping[str, Health] | None = None,
    hops: Mapping[str, Hop] | None = None,
    failing_open: bool = False,
) -> View:
    """One pool; ``health`` and ``hops`` that are not as they should be, by backend."""
    pool = Pool("web", backends={member.name: member for member in members or (B1,)}, health_check=check)
    states = {
        ("web", name): BackendState(
            1, "", (hops or {}).get(name, hop_to(member.address)), (health or {}).get(name, UNCHECKED)
        )
        for name, member in pool.backends.items()
    }
    config = Config(pools={"web": pool}, vips={vip.name: vip for vip in vips})
    return View(1, config, states, failing_open=frozenset({"web"} if failing_open else ()))


def passive(shown: View) -> dict[str, Finding]:
    """Findings by check."""
    found = list(examine_backends(shown))
    assert [each for each in found if bool(each.remedy) != (each.severity is not OK)] == []
    return {each.check: each for each in found}


# --- What lbd knows


@pytest.mark.parametrize(
    ("hop", "state", "severity", "observation", "remedy"),
    [
        (hop_to(B1.address), AdminState.ENABLED, OK, "02:00:0a:00:00:01 on eth0", ""),
        (
            replace(hop_to(B1.address), gateway=ip_address("10.0.9.1")),
            AdminState.ENABLED,
            OK,
            "02:00:0a:00:00:01 on eth0 (gateway 10.0.9.1)",
            "",
        ),
        (Unresolved("no route to 10.0.0.1: add one"), AdminState.ENABLED, PROBLEM, "no route to 10.0.0.1", "add one"),
        (Unresolved("looked up"), AdminState.DRAINING, PROBLEM, "looked up", "wait a moment, then look again"),
        (Unresolved("no route: add"), AdminState.DISABLED, OK, "not needed while it is disabled: no route: add", ""),
    ],
)
def test_next_hops(hop: Hop, state: AdminState, severity: Severity, observation: str, remedy: str) -> None:
    found = passive(view(replace(B1, admin_state=state), hops={"b1": hop}))["next hop"]
    assert found == Finding(severity, "pools/web/backends/b1", "next hop", observation, remedy)


@pytest.mark.parametrize(
    ("health", "state", "severity", "words"),
    [
        (Health(Status.UP), AdminState.ENABLED, OK, "UP"),
        (Health(Status.UP, reason="connection refused"), AdminState.ENABLED, WARNING, "last probe failed: connection"),
        (Health(Status.DOWN, reason="timeout"), AdminState.DRAINING, PROBLEM, "DOWN: timeout"),
        (
            Health(Status.UNKNOWN, reason="no port is known"),
            AdminState.ENABLED,
            WARNING,
            "no verdict: no port is known",
        ),
        (Health(Status.UNKNOWN), AdminState.ENABLED, WARNING, "no verdict: not probed yet"),
        (Health(Status.DOWN, reason="timeout"), AdminState.DISABLED, OK, "disabled by the operator"),
    ],
)
def test_verdicts_of_the_health_checks(health: Health, state: AdminState, severity: Severity, words: str) -> None:
    found = passive(view(replace(B1, admin_state=state), check=HTTP, health={"b1": health}))["health check"]
    assert found.severity is severity
    assert words in found.observation


def test_a_pool_without_a_check_has_no_verdict() -> None:
    assert set(passive(view())) == {"next hop"}


def test_a_pool_that_fails_open_is_a_warning() -> None:
    """It works, on backends whose checks fail."""
    found = passive(view(failing_open=True))["fail open"]
    assert (found.severity, found.subject) == (WARNING, "pools/web")
    assert "--min-healthy" not in found.remedy, "none is set"


@pytest.mark.parametrize(
    ("members", "vips", "observation", "remedy"),
    [
        (
            (B1, B2),
            (WEB, DNS),
            "no backend takes new flows: those to vip dns, web are dropped",
            "`lbctl backend list web` says why",
        ),
        (
            (),
            tuple(replace(WEB, name=f"v{i}", port=i) for i in range(1, 6)),
            "no backend takes new flows: those to vip v1, v2, v3 and 2 more are dropped",
            "`lbctl backend create` adds one",
        ),
        ((B1,), (), "", ""),
    ],
)
def test_a_pool_that_drops_new_flows_is_a_problem(
    members: Sequence[Backend], vips: Collection[Vip], observation: str, remedy: str
) -> None:
    """Each backend's own row does not say that clients get nothing. Without a VIP there are no clients."""
    made = view(check=HTTP, vips=vips)
    pool = replace(made.config.pools["web"], backends={member.name: member for member in members})
    states = {
        ("web", member.name): BackendState(0, "disabled by the operator", hop_to(member.address)) for member in members
    }
    shown = replace(made, config=replace(made.config, pools={"web": pool}), backends=states)
    found = passive(shown).get("ring")
    assert found == (problem("pools/web", "ring", observation, remedy) if observation else None)


def test_a_member_that_cannot_be_probed_is_not_waited_for() -> None:
    """The reason has the remedy in it."""
    health = Health(Status.UNKNOWN, reason="not checked: no port is known: set the health check's port")
    found = passive(view(check=HTTP, health={"b1": health}))["health check"]
    assert found == warning(
        "pools/web/backends/b1", "health check", "not checked: no port is known", "set the health check's port"
    )


def test_those_that_are_not_up_are_asked_first_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large configuration must not become a scan of the network."""
    monkeypatch.setattr(backends, "MAX_ASKED", 2)
    b3, b4, b5 = (Backend(f"b{i}", ip_address(f"10.0.0.{i}")) for i in (3, 4, 5))
    shown = view(
        B1,
        replace(B2, admin_state=AdminState.DISABLED),
        b3,
        b4,
        b5,
        check=HTTP,
        health={"b4": Health(Status.DOWN)},
        hops={"b3": Unresolved("no route")},
    )
    found, left_out = members_to_ask(shown)
    assert ([member.backend.name for member in found], left_out) == (["b4", "b1"], 1)


def test_findings_are_sorted() -> None:
    """The worst first, and what is about one backend together."""
    made = [ok("a", "c", "1"), problem("b", "c", "2", "r"), problem("a", "c", "3", "r"), warning("b", "c", "4", "r")]
    found = worst_first([*made, problem("b", "c", "5", "r"), problem("a", "c", "6", "r")])
    assert "".join(each.observation for each in found) == "362541"


@pytest.mark.parametrize(("severity", "worse"), [(OK, 2), (WARNING, MAX_FINDINGS + 1)])
def test_findings_are_bounded(severity: Severity, worse: int) -> None:
    """The worst are kept, and the rest is counted; if that is bad, so is the count."""
    made = [
        *(ok("s", "c", "fine") for _ in range(MAX_FINDINGS)),
        *(warning("s", "c", "bad", "r") for _ in range(worse)),
    ]
    found = worst_first(made)
    assert len(found) == MAX_FINDINGS + 1
    assert [each.observation for each in found[: min(worse, MAX_FINDINGS)]] == ["bad"] * min(worse, MAX_FINDINGS)
    assert (found[-1].observation, found[-1].severity) == (f"{worse} more, none worse than these", severity)


# --- Ways to ask


def ask_of(shown: View, tunnel_problem: str = "", allocation: Allocation | None = None) -> list[Question]:
    """Of every backend."""
    members, _ = members_to_ask(shown)
    return questions(
        members, shown, allocation or allocate(shown.config, Allocation()), lambda _version: tunnel_problem
    )


@pytest.mark.parametrize(
    ("check", "vips", "kind", "vip", "port", "no_tunnel"),
    [
        # The pool's own check, at the first VIP with a port.
        (HTTP, (WEB, ANY), CheckKind.HTTP, WEB, 80, ""),
        (replace(HTTP, via=CheckVia.DIRECT, port=8080), (WEB,), CheckKind.HTTP, WEB, 8080, ""),
        (replace(HTTP, port=8080), (), CheckKind.HTTP, None, 8080, "no VIP uses the pool"),
        # Without one: a connection to what is served by TCP, else a ping.
        (None, (DNS, WEB), CheckKind.TCP, WEB, 80, ""),
        (None, (DNS,), CheckKind.ICMP, DNS, 0, ""),
        (None, (ANY,), CheckKind.ICMP, ANY, 0, ""),
    ],
)
def test_what_is_asked_both_ways(
    check: HealthCheck | None, vips: Collection[Vip], kind: CheckKind, vip: Vip | None, port: int, no_tunnel: str
) -> None:
    """The same question by both ways, whatever the pool's own check takes: the difference is what tells."""
    (question,) = ask_of(view(check=check, vips=vips))
    assert question.direct is not None
    assert (question.direct.check.kind, question.direct.address, question.direct.port) == (kind, B1.address, port)
    assert question.direct.mark == 0
    assert question.no_tunnel == no_tunnel
    if vip is None:
        assert question.tunnel is None
    else:
        assert question.tunnel is not None
        assert (question.tunnel.check, question.tunnel.port) == (question.direct.check, port)
        assert (question.tunnel.address, question.tunnel.backend) == (vip.address, B1.address)
        assert question.tunnel.mark == PROBE_MARK | 1


def test_a_backend_that_nothing_can_be_asked_of() -> None:
    """No check, no VIP: nobody can reach it. No port: a check that cannot be made. No index: it has just gone."""
    assert ask_of(view(vips=())) == []
    (question,) = ask_of(view(check=HTTP, vips=(ANY,)))
    assert (question.direct, question.tunnel) == (None, None)
    assert question.no_tunnel == "no port is known: none of its VIPs has one"
    assert ask_of(view(), allocation=Allocation()) == []


def test_without_the_tunnel_backends_are_asked_directly() -> None:
    (question,) = ask_of(view(), tunnel_problem="no tc")
    assert (question.direct is not None, question.tunnel, question.no_tunnel) == (
        True,
        None,
        "cannot be used",
    )


def test_nobody_waits_a_minute_for_a_slow_check() -> None:
    (question,) = ask_of(view(check=HTTP))
    assert question.direct is not None
    assert question.direct.check.timeout_ms == MAX_TIMEOUT_MS


# --- What the answers say

PASSES = Answer()
REFUSED = Answer("connection refused: is the service running?")
NO_CA = Answer("cannot verify the certificate: ca_file /no.pem: No such file or directory: put the CA there, as PEM")


def silent(silence: Silence) -> Answer:
    return Answer(f"timeout after 2 s: no answer through the tunnel{silence.value}", silence)


def judge(tunnel: Answer | None, direct: Answer | None, vip: Vip = WEB, backend: Backend = B1) -> Finding:
    """Of a backend that answered so; None: it was not asked that way."""
    member = Member("pools/web/backends/b1", Pool("web"), backend, hop_to(backend.address))
    by_direct = Target(HTTP, backend.address, backend.address, 80)
    by_tunnel = Target(HTTP, backend.address, vip.address, 80, PROBE_MARK | 1)
    question = Question(member, direct and by_direct, tunnel and by_tunnel, "" if tunnel else "no VIP uses the pool")
    answers = {target: answer for target, answer in ((by_direct, direct), (by_tunnel, tunnel)) if answer}
    return compare(question, answers)


@pytest.mark.parametrize(
    ("tunnel", "direct", "severity", "words"),
    [
        (PASSES, PASSES, OK, "tunnel: passes; directly: passes"),
        # The service may listen on the VIP alone.
        (PASSES, REFUSED, OK, "tunnel: passes; directly: connection refused"),
        (REFUSED, PASSES, PROBLEM, "let the service listen on 192.0.2.1, too, or on every address"),
        (REFUSED, REFUSED, PROBLEM, "look at the service on 10.0.0.1"),
        (silent(Silence.ANSWERS), PASSES, PROBLEM, "on 10.0.0.1: `ip address add 192.0.2.1/32 dev lo`"),
        (silent(Silence.REFUSES), REFUSED, PROBLEM, "rp_filter"),
        (silent(Silence.NOT_UNWRAPPED), PASSES, PROBLEM, "`ip link add lb-ipip type ipip local 10.0.0.1 remote any`"),
        (silent(Silence.SILENT), REFUSED, PROBLEM, "whether it is up"),
        (silent(Silence.UNKNOWN), PASSES, PROBLEM, "let the service listen on 192.0.2.1"),
        (None, PASSES, OK, "tunnel: no VIP uses the pool; directly: passes"),
        (None, REFUSED, PROBLEM, "look at 10.0.0.1: whether it is up"),
        # The balancer's own fault.
        (NO_CA, NO_CA, PROBLEM, "on the balancer: put the CA there"),
    ],
)
def test_the_difference_between_both_ways_says_what_to_do(
    tunnel: Answer | None, direct: Answer | None, severity: Severity, words: str
) -> None:
    found = judge(tunnel, direct)
    assert (found.severity, found.check) == (severity, "tunnel and direct check")
    assert words in f"{found.observation} {found.remedy}"
    assert bool(found.remedy) == (severity is not OK)


@pytest.mark.parametrize(
    ("vip", "backend", "device"),
    [
        ("2001:db8::1", "10.0.0.1", "lb-sit type sit mode ip6ip local 10.0.0.1"),
        ("192.0.2.1", "2001:db8::11", "lb-ip6tnl type ip6tnl mode any local 2001:db8::11"),
        ("2001:db8::1", "2001:db8::11", "lb-ip6tnl type ip6tnl mode any local 2001:db8::11"),
    ],
)
def test_what_unwraps_depends_on_both_families(vip: str, backend: str, device: str) -> None:
    found = judge(
        silent(Silence.NOT_UNWRAPPED),
        PASSES,
        replace(WEB, address=ip_address(vip)),
        replace(B1, address=ip_address(backend)),
    )
    assert device in found.remedy


async def test_backends_are_asked_on_real_sockets() -> None:
    """On loopback: one that answers, one that refuses, and one target for two backends of one address."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        host = ip_address("127.0.0.1")
        members = [Member(name, Pool("web"), Backend(name, host), hop_to(B1.address)) for name in ("a", "b", "c")]
        good, bad = (Target(HealthCheck(CheckKind.TCP), host, host, sock.getsockname()[1]) for sock in (server, held))
        asked = [Question(member, target, None, "-") for member, target in zip(members, (good, bad, good), strict=True)]
        found = await examine_reach(asked)
    assert [(each.subject, each.severity) for each in found] == [("a", OK), ("b", PROBLEM), ("c", OK)]
    assert "connection refused" in found[1].observation


async def test_a_diagnosis_ends_in_time() -> None:
    """A backend that keeps silent for long is reported as such; nothing is left behind."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = ip_address("127.0.0.1"), server.getsockname()[1]
        member = Member("slow", Pool("web"), Backend("slow", host), hop_to(B1.address))
        check = HealthCheck(CheckKind.HTTP, timeout_ms=60_000)
        (found,) = await examine_reach([Question(member, Target(check, host, host, port), None)], max_seconds=0.05)
    assert (found.severity, "not asked in time" in found.observation) == (WARNING, True)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert await examine_reach([]) == []


async def test_a_probe_that_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of files, for example: that is lbd's trouble, and must not look like the backend's."""

    def no_files(*_args: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    host = ip_address("127.0.0.1")
    member = Member("b", Pool("web"), Backend("b", host), hop_to(B1.address))
    monkeypatch.setattr("lb.probe.sockets.socket.socket", no_files)
    (found,) = await examine_reach([Question(member, Target(HealthCheck(CheckKind.TCP), host, host, 9), None, "-")])
    assert (found.severity, found.observation) == (WARNING, "not asked: too many open files")
    assert found.remedy == "raise the limit (LimitNOFILE)"
