# SPDX-License-Identifier: Apache-2.0
"""The collision-free VIP table: hash and displace.

Keys are thrown into as many buckets as the table has places. For each bucket, largest first, an odd multiplier is
searched that puts all of its keys into free places. A lookup is then two array reads and one comparison (xdp/vip.h).
Source: Belazzougui, Botelho, Dietzfelbinger, "Hash, displace, and compress", ESA 2009.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lb.core.hashing import v4_mapped, vip_bucket, vip_hash, vip_place
from lb.core.layout import VIP
from lb.core.limits import VIP_SLOTS_LOG2
from lb.core.model import Address

MIN_SIZE_LOG2 = 4

_TRIES = 1 << 16


@dataclass(frozen=True, slots=True)
class VipEntry:
    """One VIP as the data plane sees it; ``index`` >= 1 numbers its counters, ``protocol`` is an IP protocol number.

    With ``VIP_ADDRESS`` in ``flags``, port and protocol 0: the entry that marks the address.
    """

    address: Address
    port: int
    protocol: int
    ring: int
    index: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class VipTable:
    """``elements``: ``1 << size_log2`` of ``struct vip``."""

    size_log2: int
    elements: bytes

    def control(self, first: int) -> int:
        """The word that puts the table in force, when its first element is number ``first`` of the map."""
        return first | (32 - self.size_log2) << 32


def build_vip_table(entries: Sequence[VipEntry]) -> VipTable:
    """The smallest table that is at most half full.

    Raises:
        ValueError: Two entries have the same key.
    """
    size_log2 = max(MIN_SIZE_LOG2, (2 * len(entries) - 1).bit_length() if entries else 0)
    assert size_log2 <= VIP_SLOTS_LOG2, f"{len(entries)} entries are more than the map holds"
    buckets: dict[int, list[tuple[int, VipEntry]]] = defaultdict(list)
    keys = set()
    for entry in entries:
        key = (entry.address, entry.port, entry.protocol)
        if key in keys:
            raise ValueError(f"two VIPs for {key}")
        keys.add(key)
        hashed = vip_hash(*key)
        buckets[vip_bucket(hashed, size_log2)].append((hashed, entry))

    displacements: dict[int, int] = {}
    places: dict[int, VipEntry] = {}
    for bucket, members in sorted(buckets.items(), key=lambda item: -len(item[1])):
        displacement, chosen = _displace([hashed for hashed, _ in members], places, size_log2)
        displacements[bucket] = displacement
        places.update(zip(chosen, (entry for _, entry in members), strict=True))

    table = bytearray(VIP.size << size_log2)
    for number in displacements.keys() | places.keys():
        VIP.pack_into(table, number * VIP.size, *_fields(places.get(number)), displacements.get(number, 0))
    return VipTable(size_log2, bytes(table))


def _displace(hashes: list[int], taken: dict[int, VipEntry], size_log2: int) -> tuple[int, list[int]]:
    for displacement in range(1, 2 * _TRIES, 2):
        places = [vip_place(hashed, displacement, size_log2) for hashed in hashes]
        if len(set(places)) == len(places) and not any(place in taken for place in places):
            return displacement, places
    # At half full, a bucket of 8 keys fails once in 10^100 such searches.
    raise AssertionError(f"no displacement for {len(hashes)} keys")


def _fields(entry: VipEntry | None) -> tuple[bytes, bytes, int, int, int, int]:
    if entry is None:
        return bytes(16), bytes(2), 0, 0, 0, 0
    return (
        v4_mapped(entry.address),
        entry.port.to_bytes(2, "big"),
        entry.protocol,
        entry.ring,
        entry.index,
        entry.flags,
    )
