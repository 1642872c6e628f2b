# SPDX-License-Identifier: Apache-2.0
"""One probe in virtual time: a prober that did not run blames no backend, and silence is explained in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest
from unit.probe_time import run, stall

from lb.core.checks import PROBE_MARK, CheckKind, HealthCheck, Outcome, Target
from lb.probe import ask as module_ask
from lb.probe import diagnosis, rounds
from lb.probe.attempt import Attempt, Stage
from lb.probe.diagnosis import FRESH_SECONDS, MAX_LOOKS, Case
from lb.probe.failures import Failed, Sign, TimedOut, Unable
from lb.probe.rounds import LATE_SHARE, Rounds

TIMEOUT_SECONDS = 2.0
VIP, BACKEND = ip_address("203.0.113.1"), ip_address("10.0.0.1")


async def probe(asked: Target, case: Case | None = None, *, be_patient: bool = True) -> Outcome | None:
    """Once."""
    made = Rounds()
    try:
        return await made.probe(asked, case or Case(), be_patient=be_patient)
    finally:
        made.stop()


def stall_later(after_seconds: float, seconds: float) -> None:
    asyncio.get_running_loop().call_later(after_seconds, stall, seconds)


def takes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Target:
    """A backend that takes so long to pass."""

    async def answer(attempt: Attempt) -> None:
        attempt.stage = Stage.CONNECTED
        await asyncio.sleep(seconds)

    monkeypatch.setattr(module_ask, "_PROBES", {CheckKind.TCP: answer})
    return Target(HealthCheck(CheckKind.TCP, timeout_ms=int(TIMEOUT_SECONDS * 1000)), BACKEND, BACKEND, 80)


# --- time


def test_an_outcome_has_its_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLOCK_MONOTONIC, as the verdicts need it."""
    slow = takes(monkeypatch, 60)

    async def body() -> None:
        now = asyncio.get_running_loop().time()
        outcome = await probe(slow)
        assert outcome is not None
        assert outcome.error == "timeout after 2 s: connected, but no answer"
        assert (outcome.started_at, outcome.ended_at) == pytest.approx((now, now + TIMEOUT_SECONDS))

    run(body())


@pytest.mark.parametrize("after_seconds", [0.1, 1.0, 1.99])
@pytest.mark.parametrize("share", [LATE_SHARE + 0.05, 1.0, 50.0])
def test_a_timeout_of_a_prober_that_did_not_run_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, after_seconds: float, share: float
) -> None:
    """At whatever moment it was stopped: the backend may well have answered."""
    slow = takes(monkeypatch, 600)

    async def body() -> None:
        stall_later(after_seconds, share * TIMEOUT_SECONDS)
        assert await probe(slow) is None
        stall_later(after_seconds, share * TIMEOUT_SECONDS)
        outcome = await probe(slow, be_patient=False)
        assert outcome is not None
        assert outcome.error.startswith("timeout")

    run(body())


def test_being_a_little_late_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process is."""
    slow = takes(monkeypatch, 60)

    async def body() -> None:
        stall_later(1.0, 0.8 * LATE_SHARE * TIMEOUT_SECONDS)
        assert await probe(slow) is not None

    run(body())


@pytest.mark.parametrize("after_seconds", [0.1, 0.6, 1.0])
def test_an_answer_is_not_taken_for_a_timeout_because_it_was_read_late(
    monkeypatch: pytest.MonkeyPatch, after_seconds: float
) -> None:
    """Both may be due when the prober runs again."""
    fine = takes(monkeypatch, 1.0)

    async def body() -> None:
        stall_later(after_seconds, 5 * TIMEOUT_SECONDS)
        outcome = await probe(fine)
        assert outcome is None or outcome.error == ""

    run(body())


# --- diagnosis


@dataclass
class Network:
    """What probes of the VIP and of the backend's address come to, and whether the host complains of tunnels."""

    tunnel: Callable[[Attempt], Failed | None] = lambda _: TimedOut("timeout after 2 s: no answer", Sign.NONE)
    direct: Failed | Unable | None = None
    complains: bool = False
    pings: bool = False
    directly: int = 0
    wrapped: list[Target] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rounds, "ask", self._ask)
        monkeypatch.setattr(diagnosis, "ask", self._ask)
        monkeypatch.setattr(diagnosis, "complaint", self._complain)

    async def _ask(self, attempt: Attempt, timeout_seconds: float) -> None:
        if attempt.target.mark:
            error = self.tunnel(attempt)
        elif attempt.target.check.kind is CheckKind.ICMP:
            error = None if self.pings else TimedOut("timeout after 2 s: no answer", Sign.NONE)
        else:
            assert (attempt.target.address, attempt.target.port) == (BACKEND, 80)
            self.directly += 1
            error = self.direct
        await asyncio.sleep(timeout_seconds if isinstance(error, TimedOut) else 0.01)
        if error:
            raise error

    async def _complain(self, asked: Target) -> None:
        self.wrapped.append(asked)
        await asyncio.sleep(0.01 if self.complains else 1_000)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """The VIP times out, the host answers directly and does not complain."""
    made = Network()
    made.install(monkeypatch)
    return made


def tunnelled(number: int = 1) -> Target:
    return Target(HealthCheck(CheckKind.TCP), BACKEND, VIP, 80, PROBE_MARK | number)


UNWRAPS_NOT = ", nothing unwraps IP-in-IP on the host: is the tunnel device (or the decapsulator) up?"
ANSWERS = ", direct check answers: is the VIP on the host's lo?"
REFUSES = ", direct check is refused: is the VIP on the host's lo, and does the service listen on it?"
SILENT = ", nor directly: is the host up?"
DEAF = ", nor directly, but the host answers pings: does the service hang, or a firewall drop what is for it?"


@pytest.mark.parametrize(
    ("direct", "complains", "pings", "suffix"),
    [
        (None, False, True, ANSWERS),
        (Failed("HTTP status 500, expected 200-399"), False, True, ANSWERS),
        (TimedOut("timeout after 2 s: connected, but no answer", Sign.ANSWERED), False, True, ANSWERS),
        (Failed("connection refused", Sign.REFUSED), False, True, REFUSES),
        (Failed("no route to host", Sign.NONE), False, False, SILENT),
        (TimedOut("timeout after 2 s: no answer", Sign.NONE), False, False, SILENT),
        (TimedOut("timeout after 2 s: no answer", Sign.NONE), False, True, DEAF),
        (Unable("too many open files"), False, True, ""),
        (None, True, True, UNWRAPS_NOT),
        (Failed("connection refused", Sign.REFUSED), True, True, UNWRAPS_NOT),
    ],
)
def test_silence_through_the_tunnel_is_explained_by_the_first_probe_that_fails(
    network: Network, direct: Failed | Unable | None, complains: bool, pings: bool, suffix: str
) -> None:
    """And no later than it would end anyway."""
    network.direct, network.complains, network.pings = direct, complains, pings

    async def body() -> None:
        outcome = await probe(tunnelled())
        assert outcome is not None
        assert outcome.error == f"timeout after 2 s: no answer through the tunnel{suffix}"
        assert outcome.ended_at - outcome.started_at == pytest.approx(TIMEOUT_SECONDS)

    run(body())


@pytest.mark.parametrize(
    "result",
    [
        None,
        Failed("connection refused: is the service running?", Sign.REFUSED),
        Failed("HTTP status 500, expected 200-399"),
    ],
)
def test_what_is_no_silence_needs_no_explanation(network: Network, result: Failed | None) -> None:
    """Nothing else is sent to the host."""
    network.tunnel = lambda _: result

    async def body() -> None:
        outcome = await probe(tunnelled())
        assert outcome is not None
        assert outcome.error == (result.words if result else "")

    run(body())
    assert (network.directly, network.wrapped) == (0, [])


def test_a_service_that_hangs_behind_the_tunnel_needs_no_explanation(network: Network) -> None:
    """The connection proves the way."""

    def connects(attempt: Attempt) -> Failed:
        attempt.stage = Stage.CONNECTED
        return TimedOut("timeout after 2 s: connected, but no answer")

    network.tunnel = connects

    async def body() -> None:
        outcome = await probe(tunnelled())
        assert outcome is not None
        assert outcome.error == "timeout after 2 s: connected, but no answer"

    run(body())
    assert (network.directly, network.wrapped) == (0, [])


def test_a_direct_check_needs_no_explanation_either(network: Network) -> None:
    """There is no other way to try."""
    network.direct = TimedOut("timeout after 2 s: no answer", Sign.NONE)

    async def body() -> None:
        outcome = await probe(replace(tunnelled(), address=BACKEND, mark=0))
        assert outcome is not None
        assert outcome.error == "timeout after 2 s: no answer"

    run(body())
    assert (network.directly, network.wrapped) == (1, [])


def test_what_was_found_is_believed_for_a_while_and_forgotten_when_the_target_answers(network: Network) -> None:
    """A target that keeps failing costs no second probe each time; the next trouble may be another one."""

    async def body() -> None:
        made, case = Rounds(), Case()

        async def error() -> str:
            outcome = await made.probe(tunnelled(), case, be_patient=True)
            assert outcome is not None
            return outcome.error

        assert (await error()).endswith(ANSWERS)
        network.direct = TimedOut("timeout after 2 s: no answer", Sign.NONE)
        assert (await error()).endswith(ANSWERS)
        assert network.directly == 1
        await asyncio.sleep(FRESH_SECONDS)
        assert (await error()).endswith(SILENT)
        tunnel, network.tunnel = network.tunnel, lambda _: None
        assert await error() == ""
        network.tunnel, network.direct = tunnel, None
        assert (await error()).endswith(ANSWERS)
        made.stop()

    run(body())


def test_when_hundreds_fail_together_explanations_are_bounded(network: Network) -> None:
    """Each still fails in time; those that found no place say what they know. A host's tunnel is asked about once."""

    async def body() -> None:
        made = Rounds()
        probes = [made.probe(tunnelled(number), Case(), be_patient=True) for number in range(1, 501)]
        outcomes = await asyncio.gather(*probes)
        assert network.directly == MAX_LOOKS
        assert len(network.wrapped) == 1
        explained = [outcome for outcome in outcomes if outcome and outcome.error.endswith(ANSWERS)]
        assert len(explained) == MAX_LOOKS
        assert all(outcome and outcome.error.startswith("timeout after 2 s: no answer through") for outcome in outcomes)
        made.stop()

    run(body())


@pytest.mark.usefixtures("network")
def test_a_host_that_cannot_be_asked_about_its_tunnel_is_not_accused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CAP_NET_RAW, or without a route."""

    async def refuse(_: Target) -> None:
        raise PermissionError

    monkeypatch.setattr(diagnosis, "complaint", refuse)

    async def body() -> None:
        outcome = await probe(tunnelled())
        assert outcome is not None
        assert outcome.error.endswith(ANSWERS)

    run(body())
