# SPDX-License-Identifier: Apache-2.0
"""The collision-free VIP table finds what is in it, and nothing else."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.hashing import from_v4_mapped, v4_mapped, vip_bucket, vip_hash, vip_place
from lb.core.layout import VIP
from lb.core.limits import MAX_VIPS, VIP_SLOTS_LOG2
from lb.core.model import Address
from lb.core.vip_table import VipEntry, VipTable, build_vip_table

addresses = st.one_of(st.integers(1, 2**32 - 1).map(IPv4Address), st.integers(1 << 64, 2**128 - 1).map(IPv6Address))
entries = st.lists(
    st.builds(
        VipEntry, addresses, st.integers(0, 65535), st.sampled_from([6, 17]), st.integers(0, 1023), st.integers(1, 4096)
    ),
    max_size=60,
    unique_by=lambda entry: (entry.address, entry.port, entry.protocol),
)


def find(table: VipTable, address: Address, port: int, protocol: int) -> tuple[int, int] | None:
    """What xdp/vip.h does: (ring, index) or None."""
    hashed = vip_hash(address, port, protocol)
    displacement = VIP.unpack_from(table.elements, VIP.size * vip_bucket(hashed, table.size_log2))[6]
    found = VIP.unpack_from(table.elements, VIP.size * vip_place(hashed, displacement, table.size_log2))
    if found[:3] != (v4_mapped(address), port.to_bytes(2, "big"), protocol):
        return None
    return found[3], found[4]


@given(entries, addresses, st.integers(0, 65535))
def test_every_entry_is_found_and_strangers_are_not(entries: list[VipEntry], stranger: Address, port: int) -> None:
    """A lookup that misses sends a VIP's packets to the kernel; one that hits wrongly steals the host's."""
    table = build_vip_table(entries)
    for entry in entries:
        assert find(table, entry.address, entry.port, entry.protocol) == (entry.ring, entry.index)
    if (stranger, port, 6) not in {(entry.address, entry.port, entry.protocol) for entry in entries}:
        assert find(table, stranger, port, 6) is None


def test_a_full_table_is_built() -> None:
    """The limit is a promise: that many VIPs on as many addresses, in the patterns that people use."""
    entries = [VipEntry(IPv4Address(0xC0000200 + i), 443, 6, i % 1000, i + 1) for i in range(MAX_VIPS)]
    marks = [VipEntry(entry.address, 0, 0, 0, 0, 4) for entry in entries]
    table = build_vip_table([*entries, *marks])
    assert table.size_log2 == VIP_SLOTS_LOG2
    assert all(find(table, entry.address, 443, 6) == (entry.ring, entry.index) for entry in entries)


def test_two_entries_of_one_key_are_a_mistake() -> None:
    """The API refuses duplicates long before; the table must not choose one silently."""
    entry = VipEntry(IPv4Address("192.0.2.1"), 80, 6, 1, 1)
    with pytest.raises(ValueError, match="two VIPs"):
        build_vip_table([entry, entry])


@given(addresses)
def test_v4_mapped_round_trip(address: Address) -> None:
    """IPv4 and IPv6 share one key space without meeting."""
    assert from_v4_mapped(v4_mapped(address)) == address
