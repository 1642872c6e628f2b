# SPDX-License-Identifier: Apache-2.0
"""What a host says to a tunnel packet that it does not unwrap, between namespaces and by the kernel's own voice."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from e2e.next_hops_lab import Lab, in_new_namespace

from lb.core.checks import PROBE_MARK, CheckKind, HealthCheck, Target
from lb.core.model import Address
from lb.probe.diagnosis import Case
from lb.probe.icmp import ECHO_REPLY, echo, quiet_packet
from lb.probe.rounds import Rounds
from lb.probe.tunnel import complaint

BACKENDS = ["10.9.0.11", "fd00:9::11"]
VIPS = ["203.0.113.1", "2001:db8::1"]
NOBODY = "10.9.0.77"
PORT = 8080
WAIT_SECONDS = 5.0

UNWRAPPING_HOST = f"""
import socket, sys
# A raw socket takes tunnel packets, so that the kernel does not complain of them.
taken = [socket.socket(family, socket.SOCK_RAW, protocol)
         for family in (socket.AF_INET, socket.AF_INET6) for protocol in (4, 41)]
server = socket.create_server(("::", {PORT}), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
sys.stdin.read()
"""


def tunnelled(backend: str, vip: str) -> Target:
    check = HealthCheck(CheckKind.TCP, timeout_ms=900)
    return Target(check, ip_address(backend), ip_address(vip), PORT, PROBE_MARK | 1)


def in_lab(body: Callable[[Lab], Coroutine[None, None, None]]) -> None:
    """Run where hosts have the backends' addresses, and the way to the VIPs leads to them; they drop those packets."""

    async def run() -> None:
        with Lab() as lab:
            for backend, routed in zip(BACKENDS, ("203.0.113.0/24", "2001:db8::/32"), strict=True):
                lab.host(backend)
                lab.ip(f"route add {routed} via {backend}")
            await body(lab)

    in_new_namespace(run)


@contextlib.contextmanager
def unwrapping(lab: Lab) -> Iterator[None]:
    """The hosts take tunnel packets, have a service on their own addresses, and do not have the VIP."""
    command = lab.peer_command(sys.executable, "-c", UNWRAPPING_HOST)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        assert host.stdin is not None
        try:
            assert host.stdout.readline() == b"ready\n"
            yield
        finally:
            host.stdin.close()


async def errors(*targets: Target) -> list[str]:
    """What one probe of each finds, after what all of them say."""
    made = Rounds()
    outcomes = await asyncio.gather(*[made.probe(target, Case(), be_patient=False) for target in targets])
    made.stop()
    begin = "timeout after 900 ms: no answer through the tunnel, "
    return [outcome.error.removeprefix(begin) for outcome in outcomes if outcome]


@pytest.mark.root
def test_a_host_complains_of_tunnel_packets_that_nothing_unwraps() -> None:
    """IPv4 and IPv6 in IPv4 and IPv6: protocol unreachable, or parameter problem."""

    async def body(_: Lab) -> None:
        for vip in VIPS:
            for backend in BACKENDS:
                async with asyncio.timeout(WAIT_SECONDS):
                    await complaint(tunnelled(backend, vip))

    in_lab(body)


@pytest.mark.root
def test_the_words_of_a_silent_tunnel_name_what_is_wrong_on_the_host() -> None:
    """Decapsulation off; VIP not on lo; service nowhere; host gone."""

    async def body(lab: Lab) -> None:
        wrapped, gone = await errors(tunnelled(BACKENDS[0], VIPS[0]), tunnelled(NOBODY, VIPS[0]))
        assert wrapped == "nothing unwraps IP-in-IP on the host: is the tunnel device (or the decapsulator) up?"
        assert gone == "nor directly: is the host up?"
        with unwrapping(lab):
            served = tunnelled(BACKENDS[1], VIPS[0])
            answers, refuses = await errors(served, replace(served, port=PORT + 1))
        assert answers == "direct check answers: is the VIP on the host's lo?"
        assert refuses == "direct check is refused: is the VIP on the host's lo, and does the service listen on it?"

    in_lab(body)


@pytest.mark.root
def test_without_a_way_to_the_vip_nobody_is_accused() -> None:
    """There is no source address for the packet inside."""

    async def body() -> None:
        with pytest.raises(OSError, match="unreachable"):
            await complaint(tunnelled("10.9.0.11", "203.0.113.1"))

    in_new_namespace(body)


# --- the packet inside


def internet_sum(data: bytes) -> int:
    """0 when the checksum in it is right."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return (total % 0xFFFF) % 0xFFFF


@pytest.mark.parametrize(("source", "vip"), [("192.0.2.1", "203.0.113.1"), ("2001:db8::2", "2001:db8::1")])
def test_the_packet_inside_is_whole_and_goes_nowhere_else(source: str, vip: str) -> None:
    """A host that does unwrap it must neither answer nor forward it."""
    ends: tuple[Address, Address] = ip_address(source), ip_address(vip)
    packet = quiet_packet(*ends)
    if ends[0].version == 4:
        header, message, hops = packet[:20], packet[20:], packet[8]
        assert (header[0], struct.unpack("!H", header[2:4])[0], header[9]) == (0x45, len(packet), 1)
        assert (header[12:16], header[16:20]) == (ends[0].packed, ends[1].packed)
        assert internet_sum(header) == internet_sum(message) == 0
    else:
        header, message, hops = packet[:40], packet[40:], packet[7]
        assert (header[0] >> 4, struct.unpack("!H", header[4:6])[0], header[6]) == (6, len(message), 58)
        assert (header[8:24], header[24:40]) == (ends[0].packed, ends[1].packed)
        assert internet_sum(header[8:40] + struct.pack("!II", len(message), 58) + message) == 0
    assert hops == 1
    assert message[0] == ECHO_REPLY[ends[0].version]


@pytest.mark.parametrize("body", [b"\0\1\0\2odd", b"\0\1\0\2even"])
def test_echo_messages_have_right_checksums(body: bytes) -> None:
    """Also of an odd length."""
    message = echo(8, body)
    assert message[4:] == body
    assert internet_sum(message + bytes(len(message) % 2)) == 0
