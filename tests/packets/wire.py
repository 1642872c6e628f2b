# SPDX-License-Identifier: Apache-2.0
"""An independent reader of frames, on struct alone: says everything that is wrong with one.

Shares nothing with the product or with scapy, so that no mistake is made the same way twice.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

IPV4, IPV6 = 0x0800, 0x86DD
ICMP, IPIP, TCP, UDP, IPV6_IN_IP, ICMPV6 = 1, 4, 6, 17, 41, 58
EXTENSIONS = {0: "hop-by-hop", 43: "routing", 60: "destination options"}
FRAGMENT = 44
VLAN_TYPES = (0x8100, 0x88A8)


def sum16(data: bytes) -> int:
    """One's complement sum of 16-bit words (RFC 1071); an odd last byte is padded with zero."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum(data: bytes) -> int:
    """The Internet checksum that makes ``data`` with it sum to 0xFFFF."""
    return 0xFFFF - sum16(data)


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """What transport checksums cover besides the segment (RFC 793; RFC 8200, 8.1)."""
    return source + destination + struct.pack("!II", length, protocol)


@dataclass(frozen=True, slots=True)
class Ethernet:
    """A frame taken apart: ``tags`` as (TPID, TCI); ``payload`` with any padding."""

    destination: bytes
    source: bytes
    tags: tuple[tuple[int, int], ...]
    type: int
    payload: bytes


def ethernet(frame: bytes) -> Ethernet:
    """Take a frame apart; ``ValueError`` when it is shorter than its header."""
    if len(frame) < 14:
        raise ValueError("shorter than an Ethernet header")
    offset, tags = 12, []
    (kind,) = struct.unpack_from("!H", frame, offset)
    while kind in VLAN_TYPES:
        if len(frame) < offset + 6:
            raise ValueError("a VLAN tag is cut short")
        tags.append((kind, int.from_bytes(frame[offset + 2 : offset + 4], "big")))
        offset += 4
        (kind,) = struct.unpack_from("!H", frame, offset)
    return Ethernet(frame[:6], frame[6:12], tuple(tags), kind, frame[offset + 2 :])


def defects(frame: bytes, *, inside: bool = True) -> list[str]:
    """All that is wrong with a frame; empty for a good one.

    Args:
        frame: From the destination MAC on, without frame check sequence. Padding at its end is no defect.
        inside: Look into what a tunnel carries, and at transport checksums, too.
    """
    try:
        parts = ethernet(frame)
    except ValueError as error:
        return [str(error)]
    found = []
    if parts.source[0] & 1:
        found.append("Ethernet: source is a group address")
    if not any(parts.destination):
        found.append("Ethernet: no destination")
    if parts.type not in (IPV4, IPV6):
        return [*found, f"Ethernet: type {parts.type:#06x}"]
    return found + packet_defects(parts.payload, 4 if parts.type == IPV4 else 6, inside=inside)


def packet_defects(packet: bytes, version: int, *, inside: bool = True, exact: bool = False) -> list[str]:
    """All that is wrong with an IP packet; ``exact``: its length must be that of ``packet``."""
    if not packet or packet[0] >> 4 != version:
        return [f"IPv{version}: other version in the header"]
    return (_ipv4 if version == 4 else _ipv6)(packet, inside, exact)


def _length(name: str, claimed: int, packet: bytes, exact: bool) -> list[str]:
    if claimed > len(packet):
        return [f"{name}: {claimed} bytes claimed, {len(packet)} there"]
    return [f"{name}: {len(packet) - claimed} bytes behind its end"] if exact and claimed < len(packet) else []


def _ipv4(packet: bytes, inside: bool, exact: bool) -> list[str]:
    if len(packet) < 20:
        return ["IPv4: header cut short"]
    header_bytes, total = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
    if header_bytes < 20 or header_bytes > total:
        return [f"IPv4: header of {header_bytes} bytes in a packet of {total}"]
    found = _length("IPv4", total, packet, exact)
    if found and total > len(packet):
        return found
    if sum16(packet[:header_bytes]) != 0xFFFF:
        found.append("IPv4: header checksum")
    if not packet[8]:
        found.append("IPv4: TTL 0")
    fragment = int.from_bytes(packet[6:8], "big")
    if fragment & 0x8000:
        found.append("IPv4: reserved bit")
    payload = packet[header_bytes:total]
    if not inside and packet[9] in (IPIP, IPV6_IN_IP):
        return found
    if fragment & 0x3FFF:
        return found
    return found + _payload(packet[9], payload, packet[12:16], packet[16:20], inside)


def _ipv6(packet: bytes, inside: bool, exact: bool) -> list[str]:
    if len(packet) < 40:
        return ["IPv6: header cut short"]
    total, kind = 40 + int.from_bytes(packet[4:6], "big"), packet[6]
    found = _length("IPv6", total, packet, exact)
    if found and total > len(packet):
        return found
    if not packet[7]:
        found.append("IPv6: hop limit 0")
    payload = packet[40:total]
    while kind in EXTENSIONS or kind == FRAGMENT:
        length = 8 if kind == FRAGMENT else 8 + 8 * payload[1] if len(payload) > 1 else 8
        if len(payload) < length:
            return [*found, "IPv6: extension header cut short"]
        if kind == FRAGMENT and int.from_bytes(payload[2:4], "big") & 0xFFF9:
            return found
        kind, payload = payload[0], payload[length:]
    if not inside and kind in (IPIP, IPV6_IN_IP):
        return found
    return found + _payload(kind, payload, packet[8:24], packet[24:40], inside)


def _payload(kind: int, payload: bytes, source: bytes, destination: bytes, inside: bool) -> list[str]:
    if kind == IPIP:
        return [f"inner {defect}" for defect in packet_defects(payload, 4, exact=True)]
    if kind == IPV6_IN_IP:
        return [f"inner {defect}" for defect in packet_defects(payload, 6, exact=True)]
    if kind == ICMP and len(source) == 4:
        return _icmp(payload, b"")
    if kind == ICMPV6 and len(source) == 16:
        return _icmp(payload, pseudo_header(source, destination, ICMPV6, len(payload)))
    if kind not in (TCP, UDP) or not inside:
        return []
    name, shortest = ("TCP", 20) if kind == TCP else ("UDP", 8)
    if len(payload) < shortest:
        return [f"{name}: header cut short"]
    if kind == UDP and payload[6:8] == b"\0\0":
        return [] if len(source) == 4 else ["UDP: no checksum over IPv6"]
    if sum16(pseudo_header(source, destination, kind, len(payload)) + payload) != 0xFFFF:
        return [f"{name}: checksum"]
    return []


def _icmp(payload: bytes, covered: bytes) -> list[str]:
    if len(payload) < 8:
        return ["ICMP: header cut short"]
    return [] if sum16(covered + payload) == 0xFFFF else ["ICMP: checksum"]
