# SPDX-License-Identifier: Apache-2.0
"""Why a backend does not answer through the tunnel: looks at the host by other ways.

A look begins when half of a probe's time is over and nothing has come back, and ends before the probe does. So already
the first probe that fails has the right words, and none waits for them.
"""

from __future__ import annotations

import asyncio
import enum
import math
from dataclasses import dataclass, replace

from lb.core.checks import CheckKind, HealthCheck, Target
from lb.core.model import Address
from lb.probe.ask import ask
from lb.probe.attempt import Attempt
from lb.probe.failures import Failed, Sign, Unable
from lb.probe.tunnel import complaint

FRESH_SECONDS = 3.0
"""For so long the last look at a target, and the last one at a host's tunnel, are believed."""

PING = HealthCheck(CheckKind.ICMP)

MAX_LOOKS = 64
"""At a time. Targets that find no place keep what is known of them, and come again with their next probe."""


class Finding(enum.Enum):
    """What follows "no answer through the tunnel"."""

    UNKNOWN = ""
    NOT_UNWRAPPED = ", nothing unwraps IP-in-IP on the host: is the tunnel device (or the decapsulator) up?"
    ANSWERS = ", direct check answers: is the VIP on the host's lo?"
    REFUSES = ", direct check is refused: is the VIP on the host's lo, and does the service listen on it?"
    DEAF = ", nor directly, but the host answers pings: does the service hang, or a firewall drop what is for it?"
    SILENT = ", nor directly: is the host up?"


@dataclass(slots=True)
class Case:
    """What is known of one target's silence; ``looked_at``: CLOCK_MONOTONIC seconds of the last look's begin."""

    finding: Finding = Finding.UNKNOWN
    looked_at: float = -math.inf

    def close(self) -> None:
        """It answers: what was found is no longer so."""
        self.finding, self.looked_at = Finding.UNKNOWN, -math.inf


@dataclass(frozen=True, slots=True)
class _Host:
    """Whether a host complains of tunnel packets, and whether it answers pings. Both may still be being found out."""

    complains: asyncio.Task[bool]
    answers_pings: asyncio.Task[bool]


class Doctor:
    """Looks at hosts, at a bounded rate."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._looks: set[asyncio.Task[None]] = set()
        self._hosts: dict[tuple[Address, int], _Host] = {}

    def look(self, case: Case, target: Target, seconds: float) -> None:
        """Find out within ``seconds``, unless the last look is fresh or there are too many looks."""
        now = self._loop.time()
        if now - case.looked_at < FRESH_SECONDS or len(self._looks) >= MAX_LOOKS:
            return
        case.looked_at = now
        look = self._loop.create_task(self._look(case, target, seconds))
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)

    async def _look(self, case: Case, target: Target, seconds: float) -> None:
        ends_at = self._loop.time() + seconds
        host = self._host(target, seconds)
        found = await _look_directly(target, seconds)
        await asyncio.wait([host.complains, host.answers_pings], timeout=ends_at - self._loop.time())
        if host.complains.done() and host.complains.result():
            found = Finding.NOT_UNWRAPPED
        elif found is Finding.SILENT and host.answers_pings.done() and host.answers_pings.result():
            found = Finding.DEAF
        case.finding = found

    def _host(self, target: Target, seconds: float) -> _Host:
        """Asked once for all its targets: it may limit its answers."""
        key = target.backend, target.address.version
        if key not in self._hosts:
            tasks = self._loop.create_task(_complains(target, seconds)), self._loop.create_task(_pings(target, seconds))
            self._hosts[key] = _Host(*tasks)
            self._loop.call_later(FRESH_SECONDS, self._hosts.pop, key)
        return self._hosts[key]


async def _complains(target: Target, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await complaint(target)
    except (OSError, Unable):  # a timeout is an OSError, too
        return False
    return True


async def _pings(target: Target, seconds: float) -> bool:
    return await _look_directly(replace(target, check=PING, port=0), seconds) is Finding.ANSWERS


async def _look_directly(target: Target, seconds: float) -> Finding:
    try:
        await ask(Attempt(replace(target, address=target.backend, mark=0)), seconds)
    except Unable:
        return Finding.UNKNOWN
    except Failed as failed:
        return _BY_SIGN[failed.sign]
    return Finding.ANSWERS


_BY_SIGN = {Sign.NONE: Finding.SILENT, Sign.REFUSED: Finding.REFUSES, Sign.ANSWERED: Finding.ANSWERS}
