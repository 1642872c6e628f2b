# SPDX-License-Identifier: Apache-2.0
"""TCP, HTTP and HTTPS probes."""

from __future__ import annotations

import socket
import ssl

from lb.core.checks import HealthCheck
from lb.probe import tls
from lb.probe.attempt import Attempt, Stage
from lb.probe.failures import Failed, quote
from lb.probe.http import MAX_BODY_BYTES, Answer, is_expected, request
from lb.probe.sockets import open_connection, receive, send, shake_hands

_READ_BYTES = 16_384


async def probe_tcp(attempt: Attempt) -> None:
    """Passes when a connection is accepted."""
    (await open_connection(attempt)).close()


async def probe_http(attempt: Attempt) -> None:
    """Passes when one request gets the expected status and body; redirects are an answer like any other."""
    with await open_connection(attempt) as sock:
        await _ask(attempt, sock)


async def probe_https(attempt: Attempt) -> None:
    """The same over TLS."""
    target = attempt.target
    context, name = tls.context(target), tls.server_name(target)
    sock = await open_connection(attempt)
    attempt.stage = Stage.HANDSHAKE
    try:
        with await shake_hands(sock, context, name) as wrapped:
            attempt.stage = Stage.CONNECTED
            await _ask(attempt, wrapped)
    except (ssl.SSLError, ValueError) as error:
        raise tls.judge(error, target) from error


async def _ask(attempt: Attempt, sock: socket.socket) -> None:
    check = attempt.target.check
    await send(sock, request(attempt.target))
    answer = Answer(head_only=check.method == "HEAD")
    searched = 0
    while True:
        data = await receive(sock, _READ_BYTES)
        attempt.stage = Stage.ANSWERING
        if data:
            answer.feed(data)
        else:
            answer.end()
        if _has_passed(check, answer, searched):
            return
        searched = len(answer.body)


def _has_passed(check: HealthCheck, answer: Answer, searched: int) -> bool:
    """False when more must come; ``searched`` bytes of the body were looked at before. Raises ``Failed``."""
    if not answer.status:
        return False
    if not is_expected(check.expected_status, answer.status):
        raise Failed(f"HTTP status {answer.status}, expected {check.expected_status}")
    wanted = check.expected_body.encode()
    if answer.body.find(wanted, max(0, searched - len(wanted))) >= 0:
        return True
    if answer.is_over:
        where = f" in its first {MAX_BODY_BYTES // 1024} KiB" if len(answer.body) == MAX_BODY_BYTES else ""
        raise Failed(f"body does not contain {quote(wanted)}{where}")
    return False
