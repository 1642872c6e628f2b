# SPDX-License-Identifier: Apache-2.0
"""What the balancer should make of a packet, written with struct from the RFCs: apart from scapy and the product."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from packets.wire import checksum, ethernet, pseudo_header

BOX_MAC = bytes.fromhex("020000000001")
CLIENT_MAC = bytes.fromhex("020000000099")
OUTER_TTL = 64
RANDOM_ID = slice(18, 20)
"""Identification of an outer IPv4 header, and ``RANDOM_CHECK`` its checksum, in a frame without tags."""
RANDOM_CHECK = slice(24, 26)


@dataclass(frozen=True, slots=True)
class Via:
    """A backend as the outer header shows it; ``mask``: low bits of the source that come from the flow hash."""

    address: IPv4Address | IPv6Address
    source: IPv4Address | IPv6Address
    mac: bytes
    interface: str = "in0"
    mtu_bytes: int = 1500
    mask: int = 0


def via(address: str, source: str, mac: str, **more: Any) -> Via:
    """A backend from text."""
    return Via(ip_address(address), ip_address(source), bytes.fromhex(mac), **more)


def routed(packet: bytes) -> bytes:
    """An IP packet after a router: TTL or hop limit one less, IPv4 checksum computed anew."""
    if packet[0] >> 4 == 6:
        return packet[:7] + bytes([packet[7] - 1]) + packet[8:]
    header_bytes = (packet[0] & 15) * 4
    header = packet[:8] + bytes([packet[8] - 1, packet[9], 0, 0]) + packet[12:header_bytes]
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + packet[header_bytes:]


def ip_bytes(packet: bytes) -> int:
    """Length of an IP packet as its header says."""
    if packet[0] >> 4 == 6:
        return 40 + int.from_bytes(packet[4:6], "big")
    return int.from_bytes(packet[2:4], "big")


def traffic_class(packet: bytes) -> int:
    """DSCP and ECN of either family."""
    return packet[1] if packet[0] >> 4 == 4 else int.from_bytes(packet[:2], "big") >> 4 & 0xFF


def wrapped(frame: bytes, to: Via, hashed: int = 0, *, tags: bool = True, ident: int | None = None) -> bytes:
    """A frame on its way to a backend.

    Args:
        frame: As it arrived.
        to: The backend.
        hashed: Flow hash: low bits of the outer source and the flow label.
        tags: Whether VLAN tags stay.
        ident: Outer IPv4 identification; the inner one's when None (a random one stands as 0 for IPv6 inside).
    """
    parts = ethernet(frame)
    inner = routed(parts.payload)
    length = ip_bytes(inner)
    six = inner[0] >> 4 == 6
    source = (int(to.source) | hashed & to.mask).to_bytes(len(to.source.packed), "big")
    if isinstance(to.address, IPv4Address):
        if ident is None:
            ident = 0 if six else int.from_bytes(inner[4:6], "big")
        flags = 0 if six else inner[6] & 0x40
        header = struct.pack(
            "!BBHHBBBBH4s4s", 0x45, traffic_class(inner), length + 20, ident, flags, 0, OUTER_TTL, 41 if six else 4, 0,
            source, to.address.packed,
        )  # fmt: skip
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    else:
        first = 6 << 28 | traffic_class(inner) << 20 | hashed & 0xFFFFF
        header = struct.pack("!IHBB", first, length, 41 if six else 4, OUTER_TTL) + source + to.address.packed
    return to.mac + BOX_MAC + _tags(frame, tags) + _type(to.address.version) + header + inner


def _type(version: int) -> bytes:
    return b"\x08\x00" if version == 4 else b"\x86\xdd"


def _tags(frame: bytes, wanted: bool = True) -> bytes:
    return frame[12 : 12 + 4 * len(ethernet(frame).tags)] if wanted else b""


def echo_reply(frame: bytes) -> bytes:
    """The answer to a ping: everything as it came but addresses, type, TTL and checksums."""
    parts = ethernet(frame)
    packet, l2 = parts.payload, frame[6:12] + frame[:6] + frame[12 : len(frame) - len(parts.payload)]
    if packet[0] >> 4 == 4:
        at, total = (packet[0] & 15) * 4, ip_bytes(packet)
        header = packet[:8] + bytes([64, 1, 0, 0]) + packet[16:20] + packet[12:16] + packet[20:at]
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        message = b"\0\0\0\0" + packet[at + 4 : total]
        covered = b""
    else:
        at, total = packet.index(b"\x80\0", 40), ip_bytes(packet)
        header = packet[:7] + b"\x40" + packet[24:40] + packet[8:24] + packet[40:at]
        message = b"\x81\0\0\0" + packet[at + 4 : total]
        covered = pseudo_header(packet[8:24], packet[24:40], 58, len(message))
    message = message[:2] + struct.pack("!H", checksum(covered + message)) + message[4:]
    return l2 + header + message + packet[total:]


def icmp_error(frame: bytes, kind: int, code: int, rest: int = 0) -> bytes:
    """An error about ``frame`` from the address that it was for, quoting as much as 576 and 1280 bytes allow."""
    parts = ethernet(frame)
    packet = parts.payload[: ip_bytes(parts.payload)]
    l2 = frame[6:12] + frame[:6] + _tags(frame)
    if packet[0] >> 4 == 4:
        message = struct.pack("!BBHI", kind, code, 0, rest) + packet[: 576 - 28]
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        header = (
            struct.pack("!BBHIBBH", 0x45, 0xC0, 20 + len(message), 0x4000, 64, 1, 0) + packet[16:20] + packet[12:16]
        )
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        return l2 + _type(4) + header + message
    message = struct.pack("!BBHI", kind, code, 0, rest) + packet[: 1280 - 48]
    covered = pseudo_header(packet[24:40], packet[8:24], 58, len(message))
    message = message[:2] + struct.pack("!H", checksum(covered + message)) + message[4:]
    return (
        l2 + _type(6) + struct.pack("!IHBB", 0x6C000000, len(message), 58, 64) + packet[24:40] + packet[8:24] + message
    )
