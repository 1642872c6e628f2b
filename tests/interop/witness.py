# SPDX-License-Identifier: Apache-2.0
"""A witness at the guest's tap device: what the guest gets, and which addresses it claims on the network."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet
from scapy.utils6 import in6_getnsma
from testbed.host import wait_until

Address = IPv4Address | IPv6Address

_PACKET_OUTGOING = 4
_ICMPV6, _NEIGHBOUR_ADVERTISEMENT = 58, 136
_FRAME_BYTES = 65536
_ANSWER_SECONDS = 5.0
_MAC = "02:00:00:00:00:99"


@dataclass(frozen=True, slots=True)
class Header:
    """Of an IP packet: what the outermost header says, and how long the packet is."""

    source: Address
    destination: Address
    protocol: int
    size_bytes: int


def parse_header(frame: bytes) -> Header | None:
    """The outermost IP header of an Ethernet frame; None where there is none."""
    packet = frame[14:]
    match _ethertype(frame):
        case 0x0800 if len(packet) >= 20:
            return Header(ip_address(packet[12:16]), ip_address(packet[16:20]), packet[9], len(packet))
        case 0x86DD if len(packet) >= 40:
            return Header(ip_address(packet[8:24]), ip_address(packet[24:40]), packet[6], len(packet))
    return None


def parse_claim(frame: bytes) -> Address | None:
    """The address that the sender of an ARP packet or a neighbour advertisement says is its own; None without one."""
    match _ethertype(frame):
        case 0x0806 if len(frame) >= 42:
            return ip_address(frame[28:32])
        case 0x86DD if len(frame) >= 78 and (frame[20], frame[54]) == (_ICMPV6, _NEIGHBOUR_ADVERTISEMENT):
            return ip_address(frame[62:78])
    return None


def _ethertype(frame: bytes) -> int:
    return int.from_bytes(frame[12:14], "big")


class Witness:
    """Sees every frame at the tap device, through a non-blocking packet socket; ``mac``: the guest's."""

    def __init__(self, tap: socket.socket, mac: str) -> None:
        self._tap = tap
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._claimed: set[Address] = set()

    def to_guest(self) -> list[Header]:
        """IP headers of the packets for the guest since the last call."""
        headers = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, address = self._tap.recvfrom(_FRAME_BYTES)
                if address[2] == _PACKET_OUTGOING:
                    # A bridge floods what is for a MAC that it has not heard of yet, such as the balancer's.
                    header = parse_header(frame) if frame[:6] == self._mac else None
                    headers += [header] if header else []
                elif claim := parse_claim(frame):
                    self._claimed.add(claim)
        return headers

    def claimed(self, vips: Iterable[Address], own: Iterable[Address]) -> set[Address]:
        """Ask the network for the VIPs and for the guest's own addresses; returns all that the guest ever claimed.

        It answers for its own, and in order: once it has, it has had its chance to answer for the VIPs.
        Raises ``TestbedError`` when it does not.
        """
        for address in (*vips, *own):
            self._tap.send(bytes(_who_has(address)))

        def answered() -> bool:
            self.to_guest()
            return self._claimed >= set(own)

        wait_until(answered, _ANSWER_SECONDS, "the guest does not answer ARP or neighbour solicitations")
        return self._claimed


def _who_has(address: Address) -> Packet:
    if isinstance(address, IPv4Address):
        return Ether(src=_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=_MAC, psrc="10.0.0.99", pdst=str(address))
    group = in6_getnsma(address.packed)
    ethernet = Ether(src=_MAC, dst="33:33:" + ":".join(f"{byte:02x}" for byte in group[-4:]))
    question = ICMPv6ND_NS(tgt=str(address)) / ICMPv6NDOptSrcLLAddr(lladdr=_MAC)
    return ethernet / IPv6(src="2001:db8::99", dst=str(ip_address(group)), hlim=255) / question
