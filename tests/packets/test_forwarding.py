# SPDX-License-Identifier: Apache-2.0
"""From a configuration to packets: the planner, the maps and the real program together.

What becomes of every kind of packet is in ``cases``.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from packets.box import HASH_KEY, MAC_OF_BOX, Box, mac_of
from packets.expect import routed
from packets.runner import Runner
from packets.wire import sum16
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from lb.core.hashing import expand_hash_key, flow_hash, slot_of
from lb.core.model import AdminState, Backend, Config, NextHop, Pool, Protocol, Settings, Unresolved, Vip
from lb.core.verdicts import Verdict

pytestmark = pytest.mark.root

VIP = "192.0.2.1"
XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = 1, 2, 3, 4


def unprotected(name: str, members: dict[str, Backend]) -> Pool:
    """A pool whose slots change at once: the tests here look at one configuration at a time."""
    return Pool(name, backends=members, settle_seconds=0, udp_settle_seconds=0)


def config(*weights: int, port: int = 80) -> Config:
    """A TCP and a UDP VIP on one pool with members 10.0.0.11, 10.0.0.12, ..."""
    members = {f"b{i}": Backend(f"b{i}", ip_address(f"10.0.0.{11 + i}"), weight) for i, weight in enumerate(weights)}
    return Config(
        Settings(HASH_KEY),
        {"web": unprotected("web", members)},
        {
            "web": Vip("web", ip_address(VIP), port, Protocol.TCP, "web"),
            "dns": Vip("dns", ip_address(VIP), 53, Protocol.UDP, "web"),
        },
    )


def frame(layer4: Packet, *, dst: str = VIP, src: str = "198.51.100.7", **fields: Any) -> bytes:
    """An IPv4 frame to the balancer."""
    return bytes(Ether(dst=MAC_OF_BOX.hex(":"), src="02:00:00:00:00:99") / IP(src=src, dst=dst, **fields) / layer4)


TEMPLATE = frame(TCP(sport=1, dport=80, flags="A"))


def flow(sport: int, src: str = "198.51.100.7") -> bytes:
    """A segment of a flow; its checksums, at which a balancer does not look, are those of another."""
    return TEMPLATE[:26] + ip_address(src).packed + TEMPLATE[30:34] + struct.pack("!H", sport) + TEMPLATE[36:]


@pytest.mark.parametrize("layer4", [TCP(sport=40000, dport=80, flags="A"), UDP(sport=40000, dport=53)])
def test_a_packet_for_a_vip_is_wrapped_for_a_backend(balancer: Box, layer4: Packet) -> None:
    """The main job, from a configuration on: outer header right to the last bit, inner packet as it came."""
    balancer.configure(config(1, 1, 1))
    packet = frame(layer4 / b"hello", tos=0xB9, id=0x1234, flags="DF")
    verdict, result = balancer.verdict(packet)
    assert (verdict, result.action) == (Verdict.FORWARDED, XDP_TX)

    ethernet, outer, inner = result.data[:14], result.data[14:34], result.data[34:]
    assert inner == routed(packet[14:])
    version, tos, length, ident, fragment, ttl, protocol, _, source, destination = struct.unpack("!BBHHHBBH4s4s", outer)
    assert (version, tos, length, ident, fragment, ttl, protocol) == (
        0x45, 0xB9, len(inner) + 20, 0x1234, 0x4000, 64, 4,
    )  # fmt: skip
    assert sum16(outer) == 0xFFFF
    assert source[:2] == bytes([172, 16])
    backend = ip_address(destination)
    assert str(backend) in {"10.0.0.11", "10.0.0.12", "10.0.0.13"}
    assert ethernet == mac_of(backend) + MAC_OF_BOX + b"\x08\x00"


def test_the_program_hashes_as_python_does(balancer: Box) -> None:
    """Plan and explain compute in Python what the program does: one bit apart, and they would lie."""
    planned = balancer.configure(config(1, 2, 3))
    ring = planned.written.pools["web"].ring
    addresses = {index: str(ip_address(address)) for (_, _, address), index in planned.allocation.backends.items()}
    keys = expand_hash_key(HASH_KEY)
    for i in range(500):
        source, sport = f"198.51.{i % 256}.{i * 7 % 256}", 1024 + i * 37
        result = balancer.run(flow(sport, source))
        hashed = flow_hash(keys, ip_address(source), ip_address(VIP), sport, 80)
        assert str(ip_address(result.data[30:34])) == addresses[ring.target[slot_of(hashed)]]
        assert int.from_bytes(result.data[28:30], "big") == hashed & 0xFFFF


def test_flows_spread_by_weight_and_stay_where_they_are(balancer: Box) -> None:
    """10,000 flows at 1:2:1; the same flow goes the same way each time."""
    balancer.configure(config(1, 2, 1))
    packets = [flow(1024 + i % 50_000, f"198.51.100.{i % 250}") for i in range(10_000)]
    run = Runner(balancer.program, balancer.ifindex["in0"]).run
    served = [run(packet)[1][30:34] for packet in packets]
    assert served == [run(packet)[1][30:34] for packet in packets]
    shares = Counter(str(ip_address(destination)) for destination in served)
    for address, share in {"10.0.0.11": 0.25, "10.0.0.12": 0.5, "10.0.0.13": 0.25}.items():
        sigma = (10_000 * share * (1 - share)) ** 0.5
        assert abs(shares[address] - 10_000 * share) < 5 * sigma


def test_any_port_vip_takes_every_port_but_those_with_a_vip_of_their_own(balancer: Box) -> None:
    """The exact entry is looked up first."""
    base = config(1, port=0)
    other = unprotected("other", {"b": Backend("b", ip_address("10.0.1.1"))})
    exact = Vip("exact", ip_address(VIP), 443, Protocol.TCP, "other")
    balancer.configure(replace(base, pools={**base.pools, "other": other}, vips={**base.vips, "exact": exact}))
    for port, backend in ((1, "10.0.0.11"), (65535, "10.0.0.11"), (443, "10.0.1.1")):
        result = balancer.run(frame(TCP(dport=port)))
        assert str(ip_address(result.data[30:34])) == backend


def test_deleting_a_vip_lets_the_next_packet_pass(balancer: Box) -> None:
    """Takes effect at once, not when some table expires."""
    balancer.configure(config(1))
    assert balancer.verdict(frame(TCP(dport=80)))[0] is Verdict.FORWARDED
    balancer.configure(replace(config(1), vips={}))
    assert balancer.verdict(frame(TCP(dport=80)))[0] is Verdict.PASS_NOT_VIP


@pytest.mark.parametrize("members", [{}, {"b": Backend("b", ip_address("10.0.0.9"), 0)},
                                     {"b": Backend("b", ip_address("10.0.0.9"), 1, AdminState.DISABLED)}])  # fmt: skip
def test_a_vip_without_backends_drops(balancer: Box, members: dict[str, Backend]) -> None:
    """Passing would let the box itself answer with a reset."""
    balancer.configure(replace(config(), pools={"web": unprotected("web", members)}))
    verdict, result = balancer.verdict(frame(TCP(dport=80)))
    assert (verdict, result.action) == (Verdict.DROP_NO_BACKEND, XDP_DROP)


def test_an_unresolved_backend_is_outside_the_ring(balancer: Box) -> None:
    """Packets sent to no MAC at all would be lost."""
    balancer.hops[ip_address("10.0.0.12")] = Unresolved("no answer to ARP")
    try:
        planned = balancer.configure(config(1, 1))
        assert planned.backends["web", "b1"].reason == "no answer to ARP"
        served = {balancer.run(flow(i)).data[30:34] for i in range(200)}
        assert served == {ip_address("10.0.0.11").packed}
    finally:
        balancer.hops.clear()


def test_a_backend_behind_another_interface_is_reached_by_redirect(balancer: Box) -> None:
    """XDP_TX would send it out of the wrong port."""
    address = ip_address("10.0.0.11")
    balancer.hops[address] = NextHop(
        "out0", balancer.ifindex["out0"], 1600, mac_of(address), MAC_OF_BOX, ip_address("10.0.0.1")
    )
    try:
        balancer.configure(config(1))
        assert balancer.verdict(frame(TCP(dport=80)))[1].action == XDP_REDIRECT
        assert balancer.verdict(frame(TCP(dport=80)), "out0")[1].action == XDP_TX
    finally:
        balancer.hops.clear()


def test_outer_source_off_uses_the_interfaces_own_address(balancer: Box) -> None:
    """Networks with reverse-path filters drop sources that are not routed."""
    balancer.configure(replace(config(1), settings=Settings(HASH_KEY, None)))
    result = balancer.run(frame(TCP(dport=80)))
    assert str(ip_address(result.data[26:30])) == "10.0.0.1"
    assert sum16(result.data[14:34]) == 0xFFFF


def test_counters_add_up(balancer: Box) -> None:
    """rx = sum of verdicts; what a pool's VIPs forwarded = what its backends got; bytes are whole frames."""
    planned = balancer.configure(config(1, 1))
    before = sum(balancer.counts().values())
    vips = planned.allocation.vips
    start = {name: balancer.data_plane.vip_count(index) for name, index in vips.items()}
    backends_before = sum(balancer.data_plane.backend_count(i).packets for i in planned.allocation.backends.values())
    sent = [frame(TCP(sport=i, dport=80)) for i in range(50)] + [frame(UDP(sport=i, dport=53)) for i in range(30)]
    for packet in [*sent, frame(TCP(dport=9), dst="192.0.2.9")]:
        balancer.run(packet)
    assert sum(balancer.counts().values()) == before + 81
    for name, packets in (("web", 50), ("dns", 30)):
        count = balancer.data_plane.vip_count(vips[name])
        assert count.received.packets - start[name].received.packets == packets
        assert count.forwarded.packets - start[name].forwarded.packets == packets
    backends = sum(balancer.data_plane.backend_count(i).packets for i in planned.allocation.backends.values())
    assert backends - backends_before == 80
