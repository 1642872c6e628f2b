# SPDX-License-Identifier: Apache-2.0
"""Asks backends both ways, once, and says what follows from the difference."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lb.core.checks import Outcome, Target
from lb.core.model import Address
from lb.observe.findings import ok, problem, warning
from lb.observe.ways import Question
from lb.ports import Finding
from lb.probe.diagnosis import Case
from lb.probe.diagnosis import Finding as Silence
from lb.probe.failures import Unable
from lb.probe.rounds import Rounds
from lb.probe.tls import CANNOT_VERIFY

MAX_AT_ONCE = 64
MAX_SECONDS = 30.0
"""For all backends together; those that had no turn by then are reported as such."""

MAX_REPEATS = 3
"""Of a probe that timed out while this process did not run."""

CHECK = "tunnel and direct check"

_TUNNEL_DEVICES: Mapping[tuple[int, int], tuple[str, str]] = {
    (4, 4): ("lb-ipip", "type ipip local {} remote any"),
    (6, 4): ("lb-sit", "type sit mode ip6ip local {} remote any"),
    (4, 6): ("lb-ip6tnl", "type ip6tnl mode any local {} remote ::"),
    (6, 6): ("lb-ip6tnl", "type ip6tnl mode any local {} remote ::"),
}
"""What unwraps, by the IP versions of the VIP and of the backend."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a backend, to one question.

    ``error``: "" = it passed. ``silence``: what is known of one that does not answer through the tunnel.
    ``unable``: why it could not be asked, which says nothing about it.
    """

    error: str = ""
    silence: Silence = Silence.UNKNOWN
    unable: str = ""


async def examine_reach(questions: Sequence[Question], max_seconds: float = MAX_SECONDS) -> list[Finding]:
    """Ask them all, within ``max_seconds``."""
    targets = {target for question in questions for target in (question.direct, question.tunnel) if target}
    answers = await _ask_all(targets, max_seconds)
    return [compare(question, answers) for question in questions]


async def _ask_all(targets: Collection[Target], max_seconds: float) -> dict[Target, Answer]:
    """Those that answered, or failed to, in time."""
    if not targets:
        return {}
    gate = asyncio.Semaphore(MAX_AT_ONCE)
    rounds = Rounds()

    async def one(target: Target) -> Answer:
        async with gate:
            return await _ask(rounds, target)

    tasks = {target: asyncio.create_task(one(target)) for target in targets}
    try:
        await asyncio.wait(tasks.values(), timeout=max_seconds)
        return {target: task.result() for target, task in tasks.items() if task.done()}
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        rounds.stop()


async def _ask(rounds: Rounds, target: Target) -> Answer:
    case = Case()
    for left in reversed(range(MAX_REPEATS)):
        try:
            outcome: Outcome | None = await rounds.probe(target, case, be_patient=left > 0)
        except Unable as error:
            return Answer(unable=str(error))
        if outcome is not None:
            return Answer(outcome.error, case.finding)
    raise AssertionError("an impatient probe has an outcome")


def compare(question: Question, answers: Mapping[Target, Answer]) -> Finding:
    """What the answers to both ways say; one that is missing was not given in time."""
    subject = question.member.subject
    if any(target and target not in answers for target in (question.direct, question.tunnel)):
        remedy = "look again; `lbctl backend list` shows what its health check says"
        return warning(subject, CHECK, "not asked in time: too many backends do not answer", remedy)
    direct = answers[question.direct] if question.direct else None
    tunnel = answers[question.tunnel] if question.tunnel else None
    for answer in (tunnel, direct):
        if answer and answer.unable:
            observation, _, remedy = answer.unable.partition(": ")
            return warning(subject, CHECK, f"not asked: {observation}", remedy or "look again")
    observation = f"tunnel: {_words(tunnel) or question.no_tunnel}; directly: {_words(direct) or 'not asked'}"
    decisive = tunnel or direct
    if decisive is None or not decisive.error:
        # Clients come through the tunnel: a service that listens on the VIP alone is none the worse.
        return ok(subject, CHECK, observation)
    return problem(subject, CHECK, observation, _remedy(question, decisive, direct))


def _words(answer: Answer | None) -> str:
    return (answer.error or "passes") if answer else ""


def _remedy(question: Question, decisive: Answer, direct: Answer | None) -> str:
    backend = question.member.backend.address
    if question.tunnel is None or decisive.silence is Silence.SILENT:
        return f"look at {backend}: whether it is up, its firewall, its service"
    vip = question.tunnel.address
    if decisive.silence is Silence.NOT_UNWRAPPED:
        return _unwrap(vip, backend)
    if decisive.silence in (Silence.ANSWERS, Silence.REFUSES):
        return (
            f"on {backend}: `ip address add {vip}/{vip.max_prefixlen} dev lo`; if it is there: is rp_filter 0, of all "
            "and of the tunnel device, and does no firewall drop what comes out of it?"
        )
    if decisive.error.startswith(CANNOT_VERIFY):
        return "on the balancer: put the CA there, or `lbctl pool update --health-ca-file`; the backend was not judged"
    if direct is not None and not direct.error:
        return f"on {backend}: let the service listen on {vip}, too, or on every address"
    return f"look at the service on {backend} and its log"


def _unwrap(vip: Address, backend: Address) -> str:
    name, kind = _TUNNEL_DEVICES[vip.version, backend.version]
    return (
        f"on {backend}: `ip link add {name} {kind.format(backend)}` and `ip link set {name} up`, or attach the XDP "
        "decapsulator"
    )
