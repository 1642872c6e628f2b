# SPDX-License-Identifier: Apache-2.0
"""Packing of every structure of ``xdp/types.h``. Sizes and offsets are asserted there and compared by a test.

``=`` formats: native byte order, no padding but what is written. Network-order fields are packed as bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lb.core.hashing import memory_words, v4_mapped
from lb.core.model import Address

VIP = struct.Struct("=16s2sBxIHHI")
"""addr, port (network order), proto, ring, index, flags, displacement."""

BACKEND = struct.Struct("=II6s6s16s16s4sHH4x")
"""epoch, ifindex, mac, source mac, addr, source, source_mask, mtu_bytes, csum."""

RING_INFO = struct.Struct("=IIII")
"""settle_seconds, refused_at, refusals, hold."""

FLOW_KEY = struct.Struct("=16sII")
"""src, ports (as they lie in memory), VIP index."""

FLOW = struct.Struct("=IHBxIII4x")
"""epoch, backend, life (together the word ``who``), seen, slot, ring."""

BUDGET = struct.Struct("=qq")
"""syn, old."""

FLOW_COUNTER = struct.Struct("=QQQQ")
"""inserted_syn, inserted_old, refused_syn, refused_old."""

FRAGMENT_KEY_SIZE = 40
FRAGMENT_SIZE = 24
ICMP_BUCKET_SIZE = 16
SLOT_PAIR_SIZE = 8

COUNTER = struct.Struct("=QQ")
"""packets, bytes."""

VIP_COUNTER = struct.Struct("=QQQQQ8x")
"""received packets and bytes, forwarded packets and bytes, too_big."""

CONTROL = struct.Struct("=Q")
"""vip_table."""

VIP_ADDRESS = 4
"""Flag of the entry that marks an address as one that has VIPs."""

_OUTER_TTL = 64
_IPPROTO_IPIP = 4


@dataclass(frozen=True, slots=True)
class BackendEntry:
    """All fields of ``struct backend`` but the epoch. ``source_mask``: host-order bits taken from the flow hash."""

    ifindex: int
    mac: bytes
    source_mac: bytes
    address: Address
    source: Address
    source_mask: int
    mtu_bytes: int


def outer_csum(entry: BackendEntry) -> int:
    """One's complement sum of the outer IPv4 header's words that are the same for every packet of a backend."""
    constant = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, _OUTER_TTL, _IPPROTO_IPIP, 0, entry.source.packed, entry.address.packed
    )
    return fold(sum(word & 0xFFFF for word in memory_words(constant)) + sum(w >> 16 for w in memory_words(constant)))


def fold(total: int) -> int:
    """Fold a sum of 16-bit words into 16 bits, carries added back (RFC 1071)."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pack_backend(entry: BackendEntry, epoch: int) -> bytes:
    """``struct backend``."""
    return BACKEND.pack(
        epoch,
        entry.ifindex,
        entry.mac,
        entry.source_mac,
        v4_mapped(entry.address),
        v4_mapped(entry.source),
        entry.source_mask.to_bytes(4, "big"),
        entry.mtu_bytes,
        outer_csum(entry) if entry.address.version == 4 else 0,
    )
