# SPDX-License-Identifier: Apache-2.0
"""A TCP echo server for connections that stay: answers each line with "NAME line".

``python -m testbed.tcp_echo NAME [--port PORT]`` prints "ready" when it listens.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from testbed.servers import ECHO_PORT

_BACKLOG = 4096


class Echo(asyncio.Protocol):
    """One connection; the answer says which backend holds it."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._transport.write(b"".join(b"%s %s\n" % (self._name, line) for line in lines))


async def serve(name: str, port: int) -> None:
    """Answer for ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Echo(name), None, port, backlog=_BACKLOG)
    print("ready", flush=True)
    await server.serve_forever()


def main(argv: Sequence[str] | None = None) -> None:
    """Runs until it is killed."""
    parser = argparse.ArgumentParser(prog="python -m testbed.tcp_echo", description="Answer lines with a name.")
    parser.add_argument("name")
    parser.add_argument("--port", type=int, default=ECHO_PORT)
    args = parser.parse_args(argv)
    asyncio.run(serve(args.name, args.port))


if __name__ == "__main__":
    main()
