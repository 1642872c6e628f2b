# SPDX-License-Identifier: Apache-2.0
"""One line of the table of cases, and the vocabulary that its inputs are built from with scapy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from packets.box import HASH_KEY
from packets.world import VIPS
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from lb.core.hashing import expand_hash_key, flow_hash
from lb.core.model import HashPolicy
from lb.core.verdicts import Verdict

XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = 1, 2, 3, 4
BOX_MAC, CLIENT_MAC = "02:00:00:00:00:01", "02:00:00:00:00:99"
CLIENT, CLIENT6 = "198.51.100.7", "2001:db8:c1::7"
SPORT = 40000

Check = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One packet and what must become of it.

    ``expected``: the frame afterwards, or a function that asserts what it needs to; not given where the packet passes
    (it must be as it was) or is dropped. ``before``: packets sent first. ``defects``: what the independent reader
    finds wrong with the frame afterwards, where the frame that arrived was wrong already.
    """

    name: str
    packet: bytes
    verdict: Verdict
    expected: bytes | Check | None = None
    interface: str = "in0"
    action: int = 0
    before: tuple[bytes, ...] = ()
    defects: tuple[str, ...] = ()

    @property
    def xdp_action(self) -> int:
        """The action to expect: what the verdict's range says, where the case says nothing."""
        if self.action:
            return self.action
        return XDP_DROP if self.verdict >= 32 else XDP_PASS if self.verdict >= 16 else XDP_TX


def ether(*layers: Packet | bytes, dst: str = BOX_MAC, src: str = CLIENT_MAC, **fields: Any) -> bytes:
    """A frame from the client's side."""
    packet = Ether(dst=dst, src=src, **fields)
    for layer in layers:
        packet = packet / layer
    return bytes(packet)


def ip(vip: str, **fields: Any) -> Packet:
    """The IP header of a packet from the client to a VIP of the world."""
    address = VIPS[vip][0]
    if ":" in address:
        return IPv6(**{"src": CLIENT6, "dst": address, **fields})
    return IP(**{"src": CLIENT, "dst": address, **fields})


def l4(vip: str, flags: str = "A", **fields: Any) -> Packet:
    """The transport header for a VIP of the world; any-port VIPs get port 8080."""
    _, port, protocol, _ = VIPS[vip]
    ports = {"sport": SPORT, "dport": port or 8080, **fields}
    return TCP(flags=flags, **ports) if protocol == 6 else UDP(**ports)


def to_vip(vip: str, payload: bytes = b"", *, flags: str = "A", **fields: Any) -> bytes:
    """A good frame from the client to a VIP; ``fields`` go into the IP header."""
    return ether(ip(vip, **fields), l4(vip, flags), payload)


def sized(vip: str, total_bytes: int, **fields: Any) -> bytes:
    """As ``to_vip``, with an IP packet of exactly so many bytes."""
    return to_vip(vip, bytes(total_bytes - (len(to_vip(vip, **fields)) - 14)), **fields)


def hash_of(
    vip: str, *, src: str = "", sport: int = SPORT, dport: int = 0, policy: HashPolicy = HashPolicy.FIVE_TUPLE
) -> int:
    """The flow hash of the client's flow to a VIP."""
    address, port, _, _ = VIPS[vip]
    source = ip_address(src or (CLIENT6 if ":" in address else CLIENT))
    return flow_hash(expand_hash_key(HASH_KEY), source, ip_address(address), sport, dport or port or 8080, policy)
