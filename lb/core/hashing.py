# SPDX-License-Identifier: Apache-2.0
"""The data plane's two hashes in Python: the same results as ``xdp/hash.h``, word for word.

Words are 32-bit integers as they lie in memory (little-endian reading of network-order bytes), because that is what
the program multiplies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from lb.core.model import RING_SIZE, Address, HashPolicy

MASK64 = (1 << 64) - 1
HASH_KEY_WORDS = 10

_V4_MAPPED = bytes(10) + b"\xff\xff"
_VIP_PORT = 0xA0761D6478BD642F
_VIP_ADDRESS = (0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3, 0x1D8E4E27C47D124F)


def v4_mapped(address: Address) -> bytes:
    """16 bytes, network order; IPv4 as ::ffff:a.b.c.d."""
    return _V4_MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed


def from_v4_mapped(packed: bytes) -> Address:
    """The inverse of ``v4_mapped``."""
    return IPv4Address(packed[12:]) if packed[:12] == _V4_MAPPED else IPv6Address(packed)


def memory_words(packed: bytes) -> list[int]:
    """Bytes as the 32-bit words that the program sees."""
    return [int.from_bytes(packed[i : i + 4], "little") for i in range(0, len(packed), 4)]


def mix(h: int) -> int:
    """Finaliser of both hashes, a bijection of 64 bits."""
    h ^= h >> 32
    h = h * 0x9FB21C651E98DF25 & MASK64
    return h ^ h >> 32


def expand_hash_key(key: bytes) -> tuple[int, ...]:
    """The ten 64-bit constants that the program is compiled with, from the configuration's 16-byte key."""
    stream = hashlib.blake2b(key, digest_size=64, person=b"lb flow hash 0").digest()
    stream += hashlib.blake2b(key, digest_size=64, person=b"lb flow hash 1").digest()
    # Odd, so that multiplication loses nothing.
    return tuple(int.from_bytes(stream[i : i + 8], "little") | 1 for i in range(0, 8 * HASH_KEY_WORDS, 8))


def flow_hash(
    keys: Sequence[int],
    source: Address,
    destination: Address,
    sport: int,
    dport: int,
    policy: HashPolicy = HashPolicy.FIVE_TUPLE,
) -> int:
    """32-bit hash of the parts of a flow that ``policy`` names; ``keys`` from ``expand_hash_key``."""
    src = [0] * 4 if policy is HashPolicy.DESTINATION_PORT else memory_words(v4_mapped(source))
    dst = memory_words(v4_mapped(destination))
    sport = sport if policy is HashPolicy.FIVE_TUPLE else 0
    dport = 0 if policy is HashPolicy.SOURCE else dport
    ports = memory_words(sport.to_bytes(2, "big") + dport.to_bytes(2, "big"))[0]
    h = keys[0] + src[3] * keys[1] + dst[3] * keys[2] + ports * keys[3]
    if isinstance(destination, IPv6Address):
        h += sum(word * key for word, key in zip(src[:3] + dst[:3], keys[4:], strict=True))
    return mix(h & MASK64) & 0xFFFFFFFF


def slot_of(hash32: int) -> int:
    """The slot of a ring that a flow hash falls on."""
    return hash32 * RING_SIZE >> 32


def vip_hash(address: Address, port: int, protocol: int) -> int:
    """64-bit hash of a VIP key."""
    h = (int.from_bytes(port.to_bytes(2, "big"), "little") << 8 | protocol) * _VIP_PORT
    h += sum(word * key for word, key in zip(memory_words(v4_mapped(address)), _VIP_ADDRESS, strict=True))
    return mix(h & MASK64)


def vip_bucket(hash64: int, size_log2: int) -> int:
    """The bucket whose displacement applies to a key, in a table of that size."""
    return (hash64 & 0xFFFFFFFF) >> (32 - size_log2)


def vip_place(hash64: int, displacement: int, size_log2: int) -> int:
    """Where a key's entry stands, given the displacement of its bucket."""
    return ((hash64 >> 32) * displacement & 0xFFFFFFFF) >> (32 - size_log2)
