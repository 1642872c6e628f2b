# SPDX-License-Identifier: Apache-2.0
"""Load from a client's namespace: counts who answered.

``python -m testbed.client http URL N [--concurrency C]``: N requests, each on a TCP connection of its own.
``python -m testbed.client udp HOST PORT N [--concurrency C]``: N echoes, each from a socket (source port) of its own.
Prints {"served": {backend: count}, "failed": n, "errors": [some of them]}. Nothing is tried twice.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 5.0
_MAX_ERRORS = 5
_MAX_ANSWER_BYTES = 2048


def http_request(host: str, port: int, path: str) -> str:
    """One request; returns the body's first word. Raises ``OSError`` or ``ValueError``."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read()
    except http.client.HTTPException as error:
        raise ValueError(f"bad answer: {error!r}") from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise ValueError(f"status {response.status}")
    return body.decode().split()[0]


def udp_echo(host: str, port: int, number: int) -> str:
    """One echo; returns the answerer's name. Raises ``OSError`` or ``ValueError``."""
    payload = f"echo-{number}"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_TIMEOUT_SECONDS)
        # Connected: only an answer from the address that was asked gets through.
        sock.connect((host, port))
        sock.send(payload.encode())
        name, _, echoed = sock.recv(_MAX_ANSWER_BYTES).decode().partition(" ")
    if echoed != payload:
        raise ValueError(f"sent {payload!r}, got {echoed!r}")
    return name


def tally(request: Callable[[int], str], count: int, concurrency: int) -> dict[str, object]:
    """Make ``count`` requests, at most ``concurrency`` at a time; each gets its number."""

    def attempt(number: int) -> tuple[str, str]:
        try:
            return request(number), ""
        except (OSError, ValueError, IndexError) as error:
            return "", f"{type(error).__name__}: {error}"

    with ThreadPoolExecutor(concurrency) as pool:
        results = list(pool.map(attempt, range(count)))
    served = Counter(name for name, _ in results if name)
    errors = [error for name, error in results if not name]
    return {"served": dict(sorted(served.items())), "failed": len(errors), "errors": errors[:_MAX_ERRORS]}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 whatever failed: the counts are the answer."""
    parser = argparse.ArgumentParser(prog="python -m testbed.client", description="Count who answers.")
    commands = parser.add_subparsers(dest="command", required=True)
    web = commands.add_parser("http")
    web.add_argument("url")
    udp = commands.add_parser("udp")
    udp.add_argument("host")
    udp.add_argument("port", type=int)
    for command in (web, udp):
        command.add_argument("count", type=int)
        command.add_argument("--concurrency", type=int, default=8)
    args = parser.parse_args(argv)
    if args.command == "http":
        url = urlsplit(args.url)
        fetch = partial(http_request, url.hostname or "", url.port or 80, url.path or "/")
        answer = tally(lambda _: fetch(), args.count, args.concurrency)
    else:
        answer = tally(partial(udp_echo, args.host, args.port), args.count, args.concurrency)
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
