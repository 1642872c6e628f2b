# SPDX-License-Identifier: Apache-2.0
"""The client: flows to the VIP's echo services, each of a source port of its own."""

from __future__ import annotations

import secrets
import socket

from interop.recipe import Recipe
from interop.variants import Variant
from interop.wire import CLIENT4, CLIENT6, Wire
from lb.core.model import Protocol

ECHO_PORT = 7
FLOWS = {Protocol.UDP: 16, Protocol.TCP: 6}

_ANSWER_SECONDS = 5.0
_DATAGRAM_BYTES = 64
_STREAM_BYTES = 20_000
"""Many full segments."""


def talk(wire: Wire, recipe: Recipe, variant: Variant) -> str:
    """Run all flows of a variant, one after the other; returns what went wrong with the first that did, else ""."""
    exchange = _udp if variant.protocol is Protocol.UDP else _tcp
    for flow in range(FLOWS[variant.protocol]):
        try:
            problem = exchange(wire, recipe, variant)
        except OSError as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            return f"flow {flow + 1}: {problem}"
    return ""


def _socket(wire: Wire, variant: Variant, kind: int) -> socket.socket:
    ipv6 = variant.encapsulation.vip_is_ipv6
    made = wire.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, kind)
    made.settimeout(_ANSWER_SECONDS)
    made.bind((str(CLIENT6 if ipv6 else CLIENT4), 0))
    return made


def _udp(wire: Wire, recipe: Recipe, variant: Variant) -> str:
    """Not a connected socket: it would hide an answer that comes from another address than the VIP."""
    vip, question = str(variant.vip(recipe)), secrets.token_bytes(_DATAGRAM_BYTES)
    with _socket(wire, variant, socket.SOCK_DGRAM) as client:
        client.sendto(question, (vip, ECHO_PORT))
        answer, sender = client.recvfrom(_STREAM_BYTES)
    if sender[:2] != (vip, ECHO_PORT):
        return f"an answer from {sender[0]} port {sender[1]}, expected {vip} port {ECHO_PORT}"
    return "" if answer == question else "the answer is not what was sent"


def _tcp(wire: Wire, recipe: Recipe, variant: Variant) -> str:
    question = secrets.token_bytes(_STREAM_BYTES)
    with _socket(wire, variant, socket.SOCK_STREAM) as client:
        client.connect((str(variant.vip(recipe)), ECHO_PORT))
        mss, largest = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG), variant.largest_mss_bytes(recipe)
        if mss > largest:
            return f"the backend asked for segments of up to {mss} bytes; {largest} fit once wrapped"
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        answer = bytearray()
        while chunk := client.recv(_STREAM_BYTES):
            answer += chunk
    return "" if answer == question else "the answer is not what was sent"
