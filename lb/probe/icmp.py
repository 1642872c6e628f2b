# SPDX-License-Identifier: Apache-2.0
"""ICMP messages and the smallest of packets, as bytes. No I/O."""

from __future__ import annotations

import struct

from lb.core.model import Address

ECHO_REQUEST = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}

_PROTOCOL = {4: 1, 6: 58}
_HEADER = struct.Struct("!BBH")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_PSEUDO_HEADER_V6 = struct.Struct("!16s16sII")
_IPV4_WITHOUT_OPTIONS = 0x45
_IPV6_VERSION = 6 << 28
_ONE_HOP = 1


def echo(kind: int, body: bytes, pseudo_header: bytes = b"") -> bytes:
    """An echo request or reply.

    Args:
        kind: Its type.
        body: Identifier, sequence number (2 bytes each) and data.
        pseudo_header: Of IPv6, which the checksum is over, too.
    """
    message = _HEADER.pack(kind, 0, 0) + body
    return _HEADER.pack(kind, 0, _checksum(pseudo_header + message)) + body


def quiet_packet(source: Address, destination: Address) -> bytes:
    """A whole packet that nobody answers and no router passes on: an echo reply that nobody waits for, hop limit 1."""
    version, body = destination.version, bytes(4)
    protocol = _PROTOCOL[version]
    ends = source.packed, destination.packed
    if version == 6:
        length = _HEADER.size + len(body)
        pseudo_header = _PSEUDO_HEADER_V6.pack(*ends, length, protocol)
        header = _IPV6.pack(_IPV6_VERSION, length, protocol, _ONE_HOP, *ends)
        return header + echo(ECHO_REPLY[version], body, pseudo_header)
    message = echo(ECHO_REPLY[version], body)
    fields = _IPV4_WITHOUT_OPTIONS, 0, _IPV4.size + len(message), 0, 0, _ONE_HOP, protocol
    header = _IPV4.pack(*fields, 0, *ends)
    return _IPV4.pack(*fields, _checksum(header), *ends) + message


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
