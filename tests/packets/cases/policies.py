# SPDX-License-Identifier: Apache-2.0
"""Hash policies: which parts of a flow decide its backend, for flows and for ICMP errors about them."""

from __future__ import annotations

from packets.case import CLIENT, CLIENT6, SPORT, Case, Check, ether, hash_of, ip
from packets.cases import icmp_v4, icmp_v6
from packets.cases.encap import apart_from_identification
from packets.expect import wrapped
from packets.world import BACKENDS, MANY, VIPS
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from lb.core.hashing import slot_of
from lb.core.model import HashPolicy
from lb.core.verdicts import Verdict

V = Verdict
FLOWS = ((SPORT, 8080), (SPORT + 1, 8080), (SPORT, 8081))
"""A flow, one from another port, one to another port."""

SAME = {
    HashPolicy.FIVE_TUPLE: (),
    HashPolicy.SOURCE: ((0, 1), (0, 2)),
    HashPolicy.SOURCE_AND_DESTINATION_PORT: ((0, 1),),
    HashPolicy.DESTINATION_PORT: ((0, 1),),
}
"""Pairs of these flows that hash alike."""


def vip_of(policy: HashPolicy, six: bool) -> str:
    """The VIP of the world that has a policy."""
    return f"policy{policy.value}-6" if six else f"policy{policy.value}"


def where(frame: bytes, policy: HashPolicy, six: bool, sport: int, dport: int, src: str = "") -> bytes:
    """The frame wrapped for the backend that the policy chooses: slot s of ring "many" names member s % MANY."""
    hashed = hash_of(vip_of(policy, six), src=src, sport=sport, dport=dport, policy=policy)
    member = BACKENDS[f"many-{slot_of(hashed) % MANY}"]
    return wrapped(frame, member, hashed)


def flow(policy: HashPolicy, six: bool, sport: int, dport: int, src: str = "") -> bytes:
    """A segment of a flow."""
    fields = {"src": src} if src else {}
    return ether(ip(vip_of(policy, six), **fields), TCP(sport=sport, dport=dport, flags="A"))


def check_of(expected: bytes, six: bool) -> bytes | Check:
    """IPv6 in IPv4 has a random identification."""

    return apart_from_identification(expected) if six else expected


def segment(policy: HashPolicy, six: bool, sport: int, dport: int, src: str = "") -> Case:
    """A flow goes where its policy says."""
    packet = flow(policy, six, sport, dport, src)
    name = f"{policy.name}{' IPv6' if six else ''}: {src or 'client'}:{sport} to {dport}"
    return Case(name, packet, V.FORWARDED, check_of(where(packet, policy, six, sport, dport, src), six))


def about(policy: HashPolicy, six: bool, sport: int, dport: int) -> Case:
    """An error about a flow goes there, too."""
    vip = vip_of(policy, six)
    if six:
        quote = bytes(IPv6(src=VIPS[vip][0], dst=CLIENT6) / TCP(sport=dport, dport=sport))[:48]
        packet = icmp_v6.error(2, 0, quote, vip=vip, rest=1400)
    else:
        quote = bytes(IP(src=VIPS[vip][0], dst=CLIENT) / TCP(sport=dport, dport=sport))[:28]
        packet = icmp_v4.error(3, 4, quote, vip=vip)
    name = f"{policy.name}{' IPv6' if six else ''}: error about {sport} to {dport}"
    expected = check_of(where(packet, policy, six, sport, dport), six)
    return Case(name, packet, V.FORWARDED_ICMP_ERROR, expected)


CASES = [
    *(segment(policy, six, *ports) for policy in HashPolicy for six in (False, True) for ports in FLOWS),
    *(segment(policy, False, *FLOWS[0], "198.51.100.99") for policy in HashPolicy),
    *(segment(policy, True, *FLOWS[0], "2001:db8:c1:5::7") for policy in HashPolicy),
    *(about(policy, six, *ports) for policy in HashPolicy for six in (False, True) for ports in FLOWS),
]
