# SPDX-License-Identifier: Apache-2.0
"""Flows survive what is done to their pool: real TCP and UDP, the real program, the real daemon."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from e2e.survival_lab import Operator, flood, flows, operator
from scapy.layers.inet import ICMP, IP, TCP
from testbed import BALANCER, CLIENT, ECHO_PORT, HOST_INTERFACE, Lbd, Testbed, wait_until
from testbed.connections import Report

from lb.v1 import backend_pb2, stats_pb2

pytestmark = pytest.mark.root

ENABLED = backend_pb2.Backend.ENABLED
DRAINING = backend_pb2.Backend.DRAINING
DISABLED = backend_pb2.Backend.DISABLED

HOME = ("b1", "b2", "b3")
"""Members that stay. "b4" and "b5" come and go, and only flows that began there may end with them."""
CONNECTIONS = 200
SHORT_CONNECTIONS = 20
DATAGRAM_FLOWS = 20
ROUNDS = 5
CHANGES = 50
FLOOD_PACKETS = 500_000
MAX_FLOOD_PACKETS = 5_000_000
FLOOD_RATE = 80_000
"""Packets a second: more, and testbeds on small machines lose the packets of others for want of CPU time."""
FIRST_DROP = 32
"""From this number on verdicts are drops."""


@dataclass(frozen=True, slots=True)
class Balancer:
    """`lbd`, and the packets that the driver had counted before it came."""

    lbd: Lbd
    packets_before: int


@pytest.fixture(scope="module")
def bed(prefix: str) -> Iterator[Testbed]:
    """Three backends that serve from the beginning, and two that wait."""
    with Testbed(backends=5, name_prefix=f"{prefix}-survival") as made:
        yield made


@pytest.fixture(scope="module")
def balancer(bed: Testbed) -> Iterator[Balancer]:
    """One `lbd` for all tests."""
    before = packets_seen(bed)
    with Lbd(bed) as lbd:
        yield Balancer(lbd, before)


@pytest.fixture
def pool(balancer: Balancer) -> Iterator[Operator]:
    """A new pool, nothing of it moving, behind the VIP's echo port."""
    with operator(balancer.lbd.bed, balancer.lbd, HOME) as made:
        yield made


def change_ten_times(pool: Operator, *, pause: bool) -> None:
    """Members come, take slots, are drained and removed; those that stay are drained, undrained and weighed.

    At the end the pool is as it was. ``pause``: in the middle, until moves have ended.
    """
    pool.create("b4")
    pool.weigh("b1", 3)
    pool.admit("b2", DRAINING)
    pool.create("b5")
    if pause:
        pool.wait_for_tracked_slots()
    pool.weigh("b4", 4)
    pool.admit("b2", ENABLED)
    pool.admit("b4", DRAINING)
    pool.delete("b4")
    pool.delete("b5")
    pool.weigh("b1", 1)


def change_fifty_times(pool: Operator) -> None:
    """Mostly back to back, and once with a pause for timers, scans and the collector."""
    for number in range(ROUNDS):
        change_ten_times(pool, pause=number == ROUNDS // 2)
    assert len(pool.changes) >= CHANGES


def assert_survived(report: Report, pool: Operator, opened: int) -> None:
    """All flows are there, on the backend where they began."""
    # A client that was silent for as long as SETTLE_SECONDS was promised nothing: a machine can be that slow.
    context = f"longest silence {report.longest_silence_seconds:.2f} s, changes {pool.changes}"
    assert report.opened == opened
    assert report.broken == [], context
    assert report.moved == [], context
    assert sum(report.held.values()) == opened
    assert set(report.held) <= set(HOME)
    assert report.answers > opened * CHANGES / 10


def assert_accounted_for(pool: Operator, balancer: Balancer) -> None:
    """Every packet that reached the program has one verdict; none for the VIP was dropped but for want of an entry."""

    def agrees() -> bool:
        counted = sum(verdict.count.packets for verdict in pool.stats().verdicts)
        return counted == packets_seen(pool.bed) - balancer.packets_before

    pool.watch_until(agrees, "the verdicts do not sum up to the packets that the driver gave to the program")
    stats = pool.stats()
    drops = {verdict.verdict: verdict.count.packets for verdict in stats.verdicts if verdict.verdict >= FIRST_DROP}
    held = drops.pop(stats_pb2.VerdictStats.DROP_HELD)
    assert set(drops.values()) == {0}
    assert sum(vip.received.packets - vip.forwarded.packets for vip in stats.vips) <= held
    assert held <= stats.flow_table.refused_syn + stats.flow_table.refused_old


def received(pool: Operator) -> int:
    """Packets for the TCP VIP."""
    return next(vip.received.packets for vip in pool.stats().vips if vip.vip == "vips/tcp")


def packets_seen(bed: Testbed) -> int:
    """Packets for which the balancer's driver ran an XDP program since the interface was made."""
    text = bed.run(BALANCER, "ethtool", "-S", HOST_INTERFACE).stdout
    return sum(int(number) for number in re.findall(r"rx_queue_\d+_xdp_packets: (\d+)", text))


def test_flows_survive_fifty_changes_of_their_pool(pool: Operator, balancer: Balancer) -> None:
    """What a deployment does to a pool in a day; clients must not notice."""
    before = pool.table()
    with ExitStack() as stack:
        lasting = stack.enter_context(flows(pool.bed, "tcp", CONNECTIONS))
        datagrams = stack.enter_context(flows(pool.bed, "udp", DATAGRAM_FLOWS))
        short = stack.enter_context(flows(pool.bed, "tcp", SHORT_CONNECTIONS, "--echoes", "5"))
        change_fifty_times(pool)
        assert_survived(lasting.stop(), pool, CONNECTIONS)
        assert_survived(datagrams.stop(), pool, DATAGRAM_FLOWS)
        brief = short.stop()
    assert brief.moved == [], pool.changes
    # One that had no answer yet does not know where it began: it may break when a member is deleted, and only then.
    unknown = [incident.at for incident in brief.broken if not incident.backend]
    deletions = [at for at, what in pool.changes if what.startswith("delete")]
    assert all(any(abs(broke - at) < 1 for at in deletions) for broke in unknown), (brief.broken, pool.changes)
    assert {incident.backend for incident in brief.broken} <= {"b4", "b5", ""}, (brief.broken, pool.changes)
    assert brief.opened > 10 * SHORT_CONNECTIONS
    assert pool.most_moving > 0
    assert pool.most_tracked > 0
    pool.wait_for_quiet()
    table = pool.table()
    assert table.inserted_old - before.inserted_old > CONNECTIONS / 2
    assert table.inserted_syn > before.inserted_syn
    assert table.expired == table.inserted_old + table.inserted_syn
    assert_accounted_for(pool, balancer)


def test_flows_survive_fifty_changes_under_a_syn_flood(pool: Operator, balancer: Balancer) -> None:
    """Tracking is what a flood attacks. It costs entries while slots move, and nobody who is there his connection."""
    before = pool.table()
    with ExitStack() as stack:
        lasting = stack.enter_context(flows(pool.bed, "tcp", CONNECTIONS))
        datagrams = stack.enter_context(flows(pool.bed, "udp", DATAGRAM_FLOWS))
        flooding = stack.enter_context(flood(pool.bed, MAX_FLOOD_PACKETS, FLOOD_RATE))
        change_fifty_times(pool)
        pool.watch_until(lambda: pool.look() and received(pool) > FLOOD_PACKETS, "the flood does not arrive")
        assert flooding.running
        assert flooding.stop() == 0
        assert_survived(lasting.stop(), pool, CONNECTIONS)
        assert_survived(datagrams.stop(), pool, DATAGRAM_FLOWS)
    assert pool.most_tracked > 0
    assert pool.most_entries > CONNECTIONS
    assert CONNECTIONS < pool.table().inserted_syn - before.inserted_syn < received(pool)
    pool.wait_for_quiet()
    assert_accounted_for(pool, balancer)


def test_disabling_a_backend_cuts_its_connections_and_no_other(pool: Operator) -> None:
    """It gets no packets any more: another backend resets its connections, so that their clients know at once."""
    with flows(pool.bed, "tcp", CONNECTIONS) as lasting:
        pool.create("b4")  # slots of b1 are moving when it goes
        on_b1 = len(
            pool.bed.run("b1", "ss", "-Htn", "state", "established", f"sport = :{ECHO_PORT}").stdout.splitlines()
        )
        pool.admit("b1", DISABLED)
        lasting.wait_until_broken(on_b1)
        report = lasting.stop()
    assert on_b1 > CONNECTIONS / 10
    assert [incident.backend for incident in report.broken] == ["b1"] * on_b1
    assert report.moved == []
    assert set(report.held) == {"b2", "b3"}
    assert sum(report.held.values()) == CONNECTIONS - on_b1


@pytest.mark.parametrize("known", [False, True], ids=["no entry yet", "in the flow table"])
def test_an_icmp_error_follows_its_connection_while_the_slot_moves(pool: Operator, known: bool) -> None:
    """Path MTU discovery has to work during a drain, too: the router's message goes to the host that sent too much."""
    with pool.bed.entered(CLIENT):
        connection = socket.create_connection((pool.bed.vip, ECHO_PORT), 5)
        wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with connection, wire:
        holder = ask(connection)
        pool.admit(holder, DRAINING)
        if known:
            assert ask(connection) == holder
        before = {name: unreachables(pool.bed, name) for name in HOME}
        client, port = connection.getsockname()
        sent = IP(src=pool.bed.vip, dst=client, flags="DF", len=1500) / TCP(sport=ECHO_PORT, dport=port)
        error = IP(src="198.51.100.1", dst=pool.bed.vip) / ICMP(type=3, code=4, nexthopmtu=1400) / bytes(sent)[:28]
        wire.sendto(bytes(error), (pool.bed.vip, 0))
        expected = {name: count + (name == holder) for name, count in before.items()}
        wait_until(lambda: unreachables(pool.bed, holder) > before[holder], 5, f"no ICMP error reached {holder}")
        assert {name: unreachables(pool.bed, name) for name in HOME} == expected
        assert ask(connection) == holder


def established(bed: Testbed, node: str) -> int:
    """Connections that a backend holds."""
    return len(bed.run(node, "ss", "-Htn", "state", "established", f"sport = :{ECHO_PORT}").stdout.splitlines())


def ask(connection: socket.socket) -> str:
    """Name of the backend that answers."""
    connection.sendall(b"who\n")
    return connection.recv(2048).decode().partition(" ")[0]


def unreachables(bed: Testbed, node: str) -> int:
    """ICMP "destination unreachable" messages that a node has received."""
    names, values = (line.split() for line in bed.run(node, "grep", "^Icmp:", "/proc/net/snmp").stdout.splitlines())
    return int(values[names.index("InDestUnreachs")])
