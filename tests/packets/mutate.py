# SPDX-License-Identifier: Apache-2.0
"""Packets for the fuzzer: those of the table of cases, mutated, and random ones aimed at VIPs. Seeded."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from random import Random

from packets.runner import LONGEST, SHORTEST
from packets.world import VIPS

_BOUNDARIES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
_BOUNDARIES16 = (0, 1, 4, 19, 20, 28, 40, 576, 1279, 1280, 1500, 0x1FFF, 0x2000, 0x4000, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)
_PROTOCOLS = (0, 1, 2, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 255)
_FIELDS = (12, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24, 34, 35, 37, 47, 54, 55, 56, 57, 67)
"""Offsets of type, version, lengths, flags, TTL, protocols, ICMP type, TCP flags and the like in common frames."""

_ADDRESSES = tuple(ip_address(address).packed for address in sorted({vip[0] for vip in VIPS.values()}))
_MACS = bytes.fromhex("020000000001020000000099")

Mutation = Callable[[Random, bytearray], bytearray]


def _bit(random: Random, data: bytearray) -> bytearray:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return data


def _header_bit(random: Random, data: bytearray) -> bytearray:
    data[random.randrange(min(len(data), 80))] ^= 1 << random.randrange(8)
    return data


def _field(random: Random, data: bytearray) -> bytearray:
    offset = random.choice(_FIELDS)
    if offset < len(data):
        data[offset] = random.choice(_BOUNDARIES + _PROTOCOLS)
    return data


def _word(random: Random, data: bytearray) -> bytearray:
    offset = random.randrange(12, min(len(data), 80)) & ~1 if len(data) > 13 else 12
    if offset + 2 <= len(data):
        data[offset : offset + 2] = struct.pack("!H", random.choice(_BOUNDARIES16))
    return data


def _length(random: Random, data: bytearray) -> bytearray:
    """A length that is nearly right."""
    offset = 16 if data[12:14] == b"\x08\x00" else 18
    if offset + 2 <= len(data):
        right = len(data) - (14 if offset == 16 else 54) + random.randrange(-30, 5)
        data[offset : offset + 2] = (right & 0xFFFF).to_bytes(2, "big")
    return data


def _truncate(random: Random, data: bytearray) -> bytearray:
    return data[: random.randrange(SHORTEST, len(data) + 1)]


def _extend(random: Random, data: bytearray) -> bytearray:
    return data + random.randbytes(random.choice((1, 2, 7, 46, 400, 1500)))


def _insert(random: Random, data: bytearray) -> bytearray:
    offset = random.randrange(12, len(data) + 1)
    data[offset:offset] = random.randbytes(random.choice((1, 2, 4, 8, 20, 40)))
    return data


def _tag(random: Random, data: bytearray) -> bytearray:
    data[12:12] = random.choice((b"\x81\x00", b"\x88\xa8")) + random.randbytes(2)
    return data


def _delete(random: Random, data: bytearray) -> bytearray:
    offset = random.randrange(12, len(data) + 1)
    del data[offset : offset + random.choice((1, 2, 4, 8, 20, 40))]
    return data


def _noise(random: Random, data: bytearray) -> bytearray:
    offset = random.randrange(len(data))
    data[offset : offset + 4] = random.randbytes(min(4, len(data) - offset))
    return data


_MUTATIONS: tuple[Mutation, ...] = (
    _bit, _header_bit, _header_bit, _field, _field, _word, _length, _truncate, _extend, _insert, _tag, _delete, _noise,
)  # fmt: skip


def _random_packet(random: Random) -> bytes:
    """Random header fields, aimed at a VIP's address, with lengths that agree so that it gets past the first check."""
    body = random.randbytes(random.choice((8, 20, 28, 60, 200, 1500)))
    address = random.choice(_ADDRESSES)
    protocol = random.choice(_PROTOCOLS)
    if len(address) == 4:
        header = struct.pack(
            "!BBHHHBBH", 0x45, random.getrandbits(8), 20 + len(body), random.getrandbits(16),
            random.choice((0, 0x4000, 0x2000, 1, 0x2009)), random.getrandbits(8), protocol, random.getrandbits(16),
        )  # fmt: skip
        return _MACS + b"\x08\x00" + header + random.randbytes(4) + address + body
    header = struct.pack("!IHBB", 6 << 28 | random.getrandbits(28), len(body), protocol, random.getrandbits(8))
    return _MACS + b"\x86\xdd" + header + random.randbytes(16) + address + body


def packets(corpus: Sequence[bytes], random: Random) -> Iterator[bytes]:
    """An endless stream of frames that a test run accepts."""
    while True:
        kind = random.random()
        if kind < 0.03:
            yield random.randbytes(random.randrange(SHORTEST, 200))
        elif kind < 0.13:
            yield _random_packet(random)
        elif kind < 0.20:
            yield random.choice(corpus)
        else:
            data = bytearray(random.choice(corpus))
            for _ in range(random.choice((1, 1, 1, 2, 3))):
                data = random.choice(_MUTATIONS)(random, data)
                if len(data) < SHORTEST:
                    data += bytes(SHORTEST)
            yield bytes(data[:LONGEST])
