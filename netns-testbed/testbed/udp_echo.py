# SPDX-License-Identifier: Apache-2.0
"""A UDP echo server: answers "NAME payload", from the address that it was asked at.

``python -m testbed.udp_echo NAME [--port PORT]`` prints "ready" when it listens, on IPv4 and IPv6.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence

from testbed.servers import ECHO_PORT

_ADDRESS_BYTES = 16
_INTERFACE_BYTES = 4
_PKTINFO_BYTES = _ADDRESS_BYTES + _INTERFACE_BYTES
"""struct in6_pktinfo: the address asked at (IPv4: mapped), the interface index."""
_MAX_BYTES = 65_535
_BUFFER_BYTES = 4 << 20


def serve(name: str, port: int) -> None:
    """Answer for ever."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        sock.bind(("::", port))
        print("ready", flush=True)
        while True:
            answer_one(sock, name)


def answer_one(sock: socket.socket, name: str) -> None:
    """Receive one datagram and answer it. Without control data the answer would come from the host's own address."""
    payload, control, _, client = sock.recvmsg(_MAX_BYTES, socket.CMSG_SPACE(_PKTINFO_BYTES))
    asked_at = control[0][2][:_ADDRESS_BYTES]
    answer_from = asked_at + bytes(_INTERFACE_BYTES)
    try:
        sock.sendmsg(
            [name.encode() + b" " + payload], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, answer_from)], 0, client
        )
    except OSError as error:  # one client's trouble (no route back, answer too long) is not the others'
        print(f"{client}: {error}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs until it is killed."""
    parser = argparse.ArgumentParser(prog="python -m testbed.udp_echo", description="Answer UDP with a name.")
    parser.add_argument("name")
    parser.add_argument("--port", type=int, default=ECHO_PORT)
    args = parser.parse_args(argv)
    serve(args.name, args.port)


if __name__ == "__main__":
    main()
