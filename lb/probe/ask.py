# SPDX-License-Identifier: Apache-2.0
"""Any probe, within its time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from lb.core.checks import CheckKind
from lb.probe.attempt import Attempt, Probe, Stage
from lb.probe.datagram import probe_icmp, probe_udp
from lb.probe.failures import Sign, TimedOut, judge, span
from lb.probe.web import probe_http, probe_https, probe_tcp


async def ask(attempt: Attempt, timeout_seconds: float) -> None:
    """Return when the backend passed.

    Raises:
        TimedOut: Nothing decided it within ``timeout_seconds``.
        Failed: It did not pass.
        Unable: The probe could not be made.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            await _PROBES[attempt.target.check.kind](attempt)
    except TimeoutError:
        stage = attempt.stage
        words = f"timeout after {span(attempt.target.check.timeout_ms)}: {stage.value}"
        raise TimedOut(words, Sign.NONE if stage is Stage.SENT else Sign.ANSWERED) from None
    except OSError as error:
        raise judge(error, at_vip=bool(attempt.target.mark)) from error


async def _probe_grpc(attempt: Attempt) -> None:
    # gRPC brings 20 MB and threads: for those who want it.
    from lb.probe.grpc_health import probe_grpc

    await probe_grpc(attempt)


_PROBES: Final[Mapping[CheckKind, Probe]] = {
    CheckKind.TCP: probe_tcp,
    CheckKind.HTTP: probe_http,
    CheckKind.HTTPS: probe_https,
    CheckKind.UDP: probe_udp,
    CheckKind.GRPC: _probe_grpc,
    CheckKind.ICMP: probe_icmp,
}
