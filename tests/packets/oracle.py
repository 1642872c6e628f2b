# SPDX-License-Identifier: Apache-2.0
"""What must hold of every frame that the balancer sends, whatever came in. Struct and the world's tables alone.

* To a backend: the outer header is right in every bit; behind it is the packet as it came, with one hop less: IPv4's
  checksum is wrong by exactly as much as it was (right stays right), everything else is the same.
* An echo reply: addresses and MACs swapped, type and TTL set, checksums as wrong as they were.
* An error: right in every bit, and quotes the beginning of the packet.
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

from packets.case import XDP_REDIRECT, XDP_TX
from packets.expect import BOX_MAC, Via, ip_bytes, traffic_class
from packets.wire import IPV4, Ethernet, defects, ethernet
from packets.world import BACKENDS, VIPS

_BY_MAC = {to.mac: to for to in BACKENDS.values()}
_VIP_ADDRESSES = {ip_address(vip[0]).packed for vip in VIPS.values()}
_ERRORS = {4: (3, 11), 6: (2, 3)}
_LONGEST_QUOTE = {4: 548, 6: 1232}


def _same_error(before: bytes, after: bytes, *, by: int) -> bool:
    """Whether a checksum field moved by ``by`` in one's complement, so that it is as wrong as it was."""
    return (int.from_bytes(after, "big") - int.from_bytes(before, "big") - by) % 0xFFFF == 0


def check_sent(packet: bytes, interface: str, action: int, frame: bytes) -> str:
    """Assert all of the above; returns "tunnel", "echo" or "error"."""
    came, left = ethernet(packet), ethernet(frame)
    version = 4 if came.type == IPV4 else 6
    destination = came.payload[16:20] if version == 4 else came.payload[24:40]
    assert destination in _VIP_ADDRESSES, "sent a packet that is for no VIP"
    if frame[:6] in _BY_MAC:
        _check_tunnel(came, left, _BY_MAC[frame[:6]], interface, action, frame)
        return "tunnel"
    assert action == XDP_TX, "an answer by another interface"
    assert (left.destination, left.source) == (came.source, came.destination)
    assert (left.tags, left.type) == (came.tags, came.type)
    assert not (came.source[0] | came.destination[0]) & 1, "answered a group"
    at = (left.payload[0] & 15) * 4 if version == 4 else 40
    protocol = left.payload[9 if version == 4 else 6]
    if (version == 4 and protocol == 1 and left.payload[at] == 0) or (version == 6 and _is_echo_reply(left.payload)):
        _check_echo(came.payload, left.payload, version)
        return "echo"
    assert defects(frame) == [], f"malformed error: {defects(frame)}"
    assert left.payload[at] in _ERRORS[version]
    _check_error(came.payload, left.payload, version)
    return "error"


def _check_tunnel(came: Ethernet, left: Ethernet, to: Via, interface: str, action: int, frame: bytes) -> None:
    assert defects(frame, inside=False) == [], f"malformed outer header: {defects(frame, inside=False)}"
    stays = to.interface == interface
    assert action == (XDP_TX if stays else XDP_REDIRECT)
    assert left.tags == (came.tags if stays else ())
    assert left.source == BOX_MAC
    outer, version = left.payload, came.payload[0] >> 4
    if isinstance(to.address, IPv4Address):
        header, protocol, hops, source, target, length = (
            20,
            outer[9],
            outer[8],
            outer[12:16],
            outer[16:20],
            ip_bytes(outer),
        )
        assert outer[0] == 0x45
        assert outer[6:8] == (bytes([came.payload[6] & 0x40, 0]) if version == 4 else b"\0\0")
    else:
        header, protocol, hops, source, target, length = (
            40,
            outer[6],
            outer[7],
            outer[8:24],
            outer[24:40],
            ip_bytes(outer),
        )
    inner, packet = outer[header:], came.payload
    assert (protocol, hops) == (4 if version == 4 else 41, 64)
    assert target == to.address.packed
    assert int.from_bytes(source, "big") & ~to.mask == int(to.source)
    assert traffic_class(outer) == traffic_class(packet)
    assert length == header + ip_bytes(packet)
    assert length <= to.mtu_bytes, "does not fit"
    at = 8 if version == 4 else 7
    assert packet[at] > 1, "time had run out"
    assert inner[at] == packet[at] - 1
    assert inner[:at] == packet[:at]
    if version == 6:
        assert inner[8:] == packet[8:]
        return
    assert inner[9] == packet[9]
    assert _same_error(packet[10:12], inner[10:12], by=0x100)
    assert inner[12:] == packet[12:]


def _is_echo_reply(packet: bytes) -> bool:
    """An IPv6 echo reply keeps the extension headers of its request; errors have none, nor are they of type 129."""
    return packet[6] != 58 or packet[40] == 129


def _check_echo(packet: bytes, reply: bytes, version: int) -> None:
    assert len(reply) == len(packet)
    assert ip_bytes(reply) <= len(reply)
    if version == 4:
        at = (packet[0] & 15) * 4
        assert packet[at : at + 2] == b"\x08\0"
        assert reply[at : at + 2] == b"\0\0"
        assert reply[:8] == packet[:8]
        assert reply[8:10] == b"\x40\x01"
        assert _same_error(packet[10:12], reply[10:12], by=(packet[8] - 64) * 0x100)
        assert reply[12:20] == packet[16:20] + packet[12:16]
        assert reply[20:at] == packet[20:at]
        moved = 0x800
    else:
        changed = [i for i in range(40, len(packet)) if packet[i] != reply[i]]
        at = changed[0]
        assert packet[at : at + 2] == b"\x80\0"
        assert reply[at : at + 2] == b"\x81\0"
        assert reply[:7] == packet[:7]
        assert reply[7] == 64
        assert reply[8:40] == packet[24:40] + packet[8:24]
        assert reply[40:at] == packet[40:at]
        moved = -0x100
    assert _same_error(packet[at + 2 : at + 4], reply[at + 2 : at + 4], by=moved)
    assert reply[at + 4 :] == packet[at + 4 :]


def _check_error(packet: bytes, error: bytes, version: int) -> None:
    packet = packet[: ip_bytes(packet)]
    addresses, half, at, hops = (12, 16, 20, 8) if version == 4 else (8, 24, 40, 7)
    size = half - addresses
    assert error[addresses:half] == packet[half : half + size]
    assert error[half : half + size] == packet[addresses:half]
    assert error[at + 8 :] == packet[: _LONGEST_QUOTE[version]]
    if error[at] == _ERRORS[version][1]:
        assert packet[hops] <= 1, "time had not run out"
        assert error[at + 1 : at + 2] + error[at + 4 : at + 8] == bytes(5)
    else:
        mtu_bytes = int.from_bytes(error[at + 4 : at + 8], "big")
        assert error[at + 1] == (4 if version == 4 else 0)
        assert mtu_bytes < len(packet), "told to send less, and it was less"
        assert mtu_bytes in (1460, 1480, 2980)
