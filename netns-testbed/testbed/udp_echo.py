# SPDX-License-Identifier: Apache-2.0
"""A UDP echo server: answers "NAME payload", from the address that it was asked at.

``python -m testbed.udp_echo NAME [--port PORT]`` prints "ready" when it listens.
"""

from __future__ import annotations

import argparse
import socket
import struct
import sys
from collections.abc import Sequence

from testbed.servers import ECHO_PORT

# The socket module has no name for it before Python 3.14.
_IP_PKTINFO = 8
_PKTINFO = struct.Struct("=i4s4s")
"""struct in_pktinfo: interface index, local address, destination address of the header."""
_MAX_BYTES = 65_535
_BUFFER_BYTES = 4 << 20


def serve(name: str, port: int) -> None:
    """Answer for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        sock.bind(("0.0.0.0", port))
        print("ready", flush=True)
        while True:
            answer_one(sock, name)


def answer_one(sock: socket.socket, name: str) -> None:
    """Receive one datagram and answer it. Without IP_PKTINFO the answer would come from the host's own address."""
    payload, control, _, client = sock.recvmsg(_MAX_BYTES, socket.CMSG_SPACE(_PKTINFO.size))
    _, _, asked_at = _PKTINFO.unpack(control[0][2])
    answer_from = _PKTINFO.pack(0, asked_at, bytes(4))
    try:
        sock.sendmsg([name.encode() + b" " + payload], [(socket.IPPROTO_IP, _IP_PKTINFO, answer_from)], 0, client)
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
