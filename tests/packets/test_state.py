# SPDX-License-Identifier: Apache-2.0
"""What one packet leaves behind for the next: fragment records, the rate of ICMP errors, counters."""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from packets.box import Box, box
from packets.case import CLIENT, CLIENT6, to_vip
from packets.cases.fragments import first, first6, later, later6
from packets.cases.icmp_v4 import QUOTE, error
from packets.cases.mtu import exactly
from packets.runner import Runner
from packets.world import BACKEND_INDEX, EPOCH, VIP_INDEX, VIPS, build, per_cpu_sum, pinned, set_icmp_tokens

from lb.core.hashing import v4_mapped
from lb.core.layout import FRAGMENT_KEY_SIZE, FRAGMENT_SIZE, VIP_COUNTER
from lb.core.operations import SetEpoch
from lb.core.verdicts import Verdict
from lb.dataplane import libbpf

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def world() -> Iterator[Box]:
    """A box with the configuration of the table of cases."""
    with box() as made:
        build(made)
        yield made


def counters(world: Box, vip: str) -> tuple[int, ...]:
    """(received packets, bytes, forwarded packets, bytes, too big) of a VIP."""
    return per_cpu_sum(world, "vip_counters", VIP_INDEX[vip], VIP_COUNTER)


def record_key(vip: str, ident: int) -> bytes:
    """Key of the record that a first UDP fragment leaves."""
    address = ip_address(VIPS[vip][0])
    if address.version == 4:
        tail = struct.pack("!H", ident) + bytes(2) + struct.pack("=I", 17)
    else:
        tail = struct.pack("!I", ident) + bytes(4)
    key = v4_mapped(ip_address(CLIENT if address.version == 4 else CLIENT6)) + v4_mapped(address) + tail
    assert len(key) == FRAGMENT_KEY_SIZE
    return key


@pytest.mark.parametrize(("vip", "head", "tail"), [("44-udp", first, later), ("66-udp", first6, later6)])
def test_a_record_is_void_once_its_backend_changes(world: Box, vip: str, head: object, tail: object) -> None:
    """The pieces of one datagram at two backends are two datagrams that nobody can put together."""
    assert callable(head)
    assert callable(tail)
    index = BACKEND_INDEX[vip[:2]]
    assert world.verdict(head(vip, 500))[0] is Verdict.FORWARDED
    assert world.verdict(tail(vip, 500))[0] is Verdict.FORWARDED_FRAGMENT
    try:
        for epoch in (EPOCH + 1, EPOCH + 2):
            world.data_plane.apply([SetEpoch(index, epoch)])
            assert world.verdict(tail(vip, 500))[0] is Verdict.DROP_FRAGMENT
        assert world.verdict(head(vip, 500))[0] is Verdict.FORWARDED
        assert world.verdict(tail(vip, 500))[0] is Verdict.FORWARDED_FRAGMENT
    finally:
        world.data_plane.apply([SetEpoch(index, EPOCH)])


@pytest.mark.parametrize(("vip", "head", "tail"), [("44-udp", first, later), ("66-udp", first6, later6)])
def test_a_record_is_void_after_30_seconds(world: Box, vip: str, head: object, tail: object) -> None:
    """Identifications come round: a stale record would send strangers' fragments astray."""
    assert callable(head)
    assert callable(tail)
    world.run(head(vip, 501))
    with pinned(world, "fragments") as fd:
        found = libbpf.map_lookup(fd, record_key(vip, 501), FRAGMENT_SIZE)
        for age_ns, verdict in ((29 * 10**9, Verdict.FORWARDED_FRAGMENT), (31 * 10**9, Verdict.DROP_FRAGMENT)):
            seen_at_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - age_ns
            libbpf.map_update(fd, record_key(vip, 501), found[:16] + seen_at_ns.to_bytes(8, "little"))
            assert world.verdict(tail(vip, 501))[0] is verdict


def test_a_whole_packet_leaves_no_record(world: Box) -> None:
    """A record for each packet would push those of fragments out."""
    world.run(to_vip("44-udp", b"x", id=502))
    assert world.verdict(later("44-udp", 502))[0] is Verdict.DROP_FRAGMENT


@pytest.mark.parametrize(
    ("packet", "answered", "dropped"),
    [
        (to_vip("44", ttl=1), Verdict.ANSWERED_TTL_EXCEEDED, Verdict.DROP_TTL_EXCEEDED),
        (to_vip("66", hlim=1), Verdict.ANSWERED_TTL_EXCEEDED, Verdict.DROP_TTL_EXCEEDED),
        (exactly("44", 1500), Verdict.ANSWERED_TOO_BIG, Verdict.DROP_TOO_BIG),
        (exactly("66", 1500), Verdict.ANSWERED_TOO_BIG, Verdict.DROP_TOO_BIG),
    ],
)
def test_errors_are_limited_to_a_burst_and_a_rate(
    world: Box, packet: bytes, answered: Verdict, dropped: Verdict
) -> None:
    """1000 at once and 1000 a second, a CPU: a balancer that answers every packet is somebody's amplifier."""
    runner = Runner(world.program, world.ifindex["in0"])
    before = world.counts()
    set_icmp_tokens(world, 1000)
    began = time.monotonic()
    for _ in range(6000):
        runner.run(packet)
    elapsed_seconds = time.monotonic() - began
    moved = Counter(world.counts()) - Counter(before)
    assert set(moved) == {answered, dropped}
    assert moved.total() == 6000
    cpus = libbpf.possible_cpus()
    assert 1000 <= moved[answered] <= cpus * (1000 + elapsed_seconds * 1000 + 1)


def test_the_bucket_holds_no_more_than_a_burst(world: Box) -> None:
    """A quiet hour is no licence for 3.6 million errors."""
    runner, packet = Runner(world.program, world.ifindex["in0"]), to_vip("44", ttl=1)
    with pinned(world, "icmp_buckets") as fd:
        hour_ago = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - 3600 * 10**9
        value = (0).to_bytes(8, "little") + max(hour_ago, 0).to_bytes(8, "little")
        libbpf.map_update(fd, bytes(4), value * libbpf.possible_cpus())
    before = world.counts()
    began = time.monotonic()
    for _ in range(6000):
        runner.run(packet)
    elapsed_seconds = time.monotonic() - began
    moved = Counter(world.counts()) - Counter(before)
    assert moved[Verdict.ANSWERED_TTL_EXCEEDED] <= libbpf.possible_cpus() * (1000 + elapsed_seconds * 1000 + 1)


@pytest.mark.parametrize("vip", ["44", "46", "64", "66"])
def test_too_big_packets_are_counted_for_their_vip(world: Box, vip: str) -> None:
    """The number that says: raise the MTU between balancer and backends."""
    before = counters(world, vip)
    for tokens in (1000, 0):
        set_icmp_tokens(world, tokens)
        world.run(exactly(vip, 1500))
    world.run(to_vip(vip))
    size = 14 + 1500
    moved = tuple(after - earlier for after, earlier in zip(counters(world, vip), before, strict=True))
    assert moved == (3, 2 * size + len(to_vip(vip)), 1, len(to_vip(vip)), 2)


@pytest.mark.parametrize(
    ("vip", "packets", "forwarded"),
    [
        ("44-udp", (first("44-udp", 600), later("44-udp", 600), later("44-udp", 601)), 2),
        ("44", (error(3, 4, QUOTE),), 1),
        ("44", (to_vip("44", flags="FS"), to_vip("44", ttl=0)), 0),
        ("empty", (to_vip("empty"),), 0),
    ],
)
def test_what_a_vip_received_and_forwarded(world: Box, vip: str, packets: tuple[bytes, ...], forwarded: int) -> None:
    """Fragments and errors count for the VIP of their flow; a fragment without a record has none."""
    before = counters(world, vip)
    for packet in packets:
        world.run(packet)
    moved = [after - earlier for after, earlier in zip(counters(world, vip), before, strict=True)]
    unknown = len([packet for packet in packets if packet == later("44-udp", 601)])
    assert moved[0] == len(packets) - unknown
    assert moved[2] == forwarded
