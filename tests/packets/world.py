# SPDX-License-Identifier: Apache-2.0
"""One configuration with a VIP for every kind of case, so that the whole table runs without writing a map twice.

Written into the maps without the planner: what a configuration becomes is tested elsewhere, and slots in every state,
outer sources of every kind and every hash policy stand side by side here. Slot s of a ring with n members names the
member s % n.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address

from packets.box import Box
from packets.expect import BOX_MAC, Via, via

from lb.core.layout import BUDGET, RING_INFO, VIP_ADDRESS, BackendEntry
from lb.core.model import RING_SIZE, HashPolicy, Protocol
from lb.core.operations import SetEpoch, SetSettle, SwapVips, WriteBackend, WriteSlots
from lb.core.vip_table import VipEntry
from lb.dataplane import libbpf

TCP, UDP = Protocol.TCP, Protocol.UDP
MANY = 8

BACKENDS: Mapping[str, Via] = {
    "44": via("10.0.0.11", "10.0.0.1", "02bb0a00000b"),
    "46": via("2001:db8:b::11", "2001:db8:b::1", "02bb00000011"),
    "64": via("10.0.0.12", "10.0.0.1", "02bb0a00000c"),
    "66": via("2001:db8:b::12", "2001:db8:b::1", "02bb00000012"),
    "other": via("10.0.0.13", "10.0.0.1", "02bb0a00000d"),
    "out": via("10.0.1.11", "10.0.1.1", "02bb0a00010b", interface="out0"),
    "out6": via("2001:db8:c::11", "2001:db8:c::1", "02bb00010011", interface="out0"),
    "rss4": via("10.0.0.14", "172.16.0.0", "02bb0a00000e", mask=0xFFFF),
    "rss4-narrow": via("10.0.0.15", "172.16.32.0", "02bb0a00000f", mask=0x0FFF),
    "rss6": via("2001:db8:b::14", "100::", "02bb00000014", mask=0xFFFFFFFF),
    "big": via("10.0.0.16", "10.0.0.1", "02bb0a000010", mtu_bytes=3000),
    "moving-a": via("10.0.0.21", "10.0.0.1", "02bb0a000015"),
    "moving-b": via("10.0.0.22", "10.0.0.1", "02bb0a000016"),
    **{f"many-{i}": via(f"10.0.2.{i + 1}", "10.0.2.254", f"02bb0a0002{i + 1:02x}") for i in range(MANY)},
}
"""By name; a backend's pool is its name up to "-", except where ``POOLS`` says otherwise."""

POOLS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in BACKENDS if "-" not in name},
    "rss4-narrow": ("rss4-narrow",),
    "moving": ("moving-a", "moving-b"),
    "many": tuple(f"many-{i}" for i in range(MANY)),
    "empty": (),
}

VIPS: Mapping[str, tuple[str, int, Protocol, str]] = {
    "44": ("192.0.2.1", 80, TCP, "44"),
    "44-udp": ("192.0.2.1", 53, UDP, "44"),
    "46": ("192.0.2.2", 80, TCP, "46"),
    "46-udp": ("192.0.2.2", 53, UDP, "46"),
    "out": ("192.0.2.3", 80, TCP, "out"),
    "empty": ("192.0.2.4", 80, TCP, "empty"),
    "any": ("192.0.2.5", 0, TCP, "44"),
    "exact": ("192.0.2.5", 443, TCP, "other"),
    "rss4": ("192.0.2.6", 80, TCP, "rss4"),
    "rss4-narrow": ("192.0.2.7", 80, TCP, "rss4-narrow"),
    "rss6": ("192.0.2.8", 80, TCP, "rss6"),
    "big": ("192.0.2.9", 53, UDP, "big"),
    "out-46": ("192.0.2.10", 80, TCP, "out6"),
    "moving": ("192.0.2.11", 80, TCP, "moving"),
    "moving-udp": ("192.0.2.11", 53, UDP, "moving"),
    "64": ("2001:db8::1", 80, TCP, "64"),
    "64-udp": ("2001:db8::1", 53, UDP, "64"),
    "66": ("2001:db8::2", 80, TCP, "66"),
    "66-udp": ("2001:db8::2", 53, UDP, "66"),
    "out-64": ("2001:db8::3", 80, TCP, "out"),
    "empty6": ("2001:db8::4", 80, TCP, "empty"),
    "any6": ("2001:db8::5", 0, UDP, "66"),
    "rss4-6": ("2001:db8::6", 80, TCP, "rss4"),
    "rss6-6": ("2001:db8::7", 80, TCP, "rss6"),
    **{f"policy{p.value}": (f"192.0.2.{20 + p.value}", 0, TCP, "many") for p in HashPolicy},
    **{f"policy{p.value}-6": (f"2001:db8::2{p.value}", 0, TCP, "many") for p in HashPolicy},
}
"""Name to (address, port, protocol, pool)."""

VIP_INDEX: Mapping[str, int] = {name: number for number, name in enumerate(VIPS, 1)}
BACKEND_INDEX: Mapping[str, int] = {name: number for number, name in enumerate(BACKENDS, 1)}
RING_INDEX: Mapping[str, int] = {name: number for number, name in enumerate(POOLS)}
EPOCH = 1


def pool_of(vip: str) -> str:
    """The pool that a VIP points at."""
    return VIPS[vip][3]


def build(box: Box) -> None:
    """Write the whole world into a box's maps."""
    write = box.data_plane.apply
    for name, index in BACKEND_INDEX.items():
        write([WriteBackend(index, _entry(box, BACKENDS[name])), SetEpoch(index, EPOCH)])
    for pool, members in POOLS.items():
        indices = [BACKEND_INDEX[member] for member in members] or [0]
        words = _moving(*indices) if pool == "moving" else [index * 0x10001 for index in indices]
        whole = (words * (RING_SIZE // len(words) + 1))[:RING_SIZE]
        write([SetSettle(RING_INDEX[pool], 7500), WriteSlots(RING_INDEX[pool], range(RING_SIZE), whole)])
    write([SwapVips((*(_vip(name) for name in VIPS), *map(_address, {address for address, *_ in VIPS.values()})))])
    refill_budgets(box)


def _entry(box: Box, to: Via) -> BackendEntry:
    return BackendEntry(box.ifindex[to.interface], to.mac, BOX_MAC, to.address, to.source, to.mask, to.mtu_bytes)


def _vip(name: str) -> VipEntry:
    address, port, protocol, pool = VIPS[name]
    policy = int(name[6]) if name.startswith("policy") else 0
    return VipEntry(ip_address(address), port, protocol, RING_INDEX[pool], VIP_INDEX[name], policy)


def _address(address: str) -> VipEntry:
    return VipEntry(ip_address(address), 0, 0, 0, 0, VIP_ADDRESS)


def _moving(a: int, b: int) -> list[int]:
    """Slot words: STABLE(a), MOVING(a, b), TRACKED(a)."""
    return [a | a << 16, a | b << 16, a | 0xFFFF << 16]


def refill_budgets(box: Box, flows: int = 1_000_000, *, hold: bool = False) -> None:
    """Let so many flows of moving slots be entered; ``hold``: their moves are about to end."""
    ring = RING_INDEX["moving"].to_bytes(4, "little")
    with pinned(box, "budgets") as budgets, pinned(box, "ring_infos") as infos:
        libbpf.map_update(budgets, bytes(4), BUDGET.pack(flows, flows))
        known = RING_INFO.unpack(libbpf.map_lookup(infos, ring, RING_INFO.size))
        libbpf.map_update(infos, ring, RING_INFO.pack(*known[:-1], hold))


@contextmanager
def pinned(box: Box, name: str) -> Iterator[int]:
    """The fd of a pinned map of the box."""
    fd = libbpf.obj_get(box.bpf_dir / "maps" / name)
    try:
        yield fd
    finally:
        os.close(fd)


def set_icmp_tokens(box: Box, tokens: int) -> None:
    """Give every CPU's bucket for ICMP errors ``tokens`` of its 1000, as if filled now."""
    now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    one = tokens.to_bytes(8, "little") + now_ns.to_bytes(8, "little")
    with pinned(box, "icmp_buckets") as fd:
        libbpf.map_update(fd, bytes(4), one * libbpf.possible_cpus())


def per_cpu_sum(box: Box, name: str, index: int, layout: struct.Struct) -> tuple[int, ...]:
    """An element of a per-CPU counter map, summed over the CPUs."""
    with pinned(box, name) as fd:
        raw = libbpf.map_lookup(fd, index.to_bytes(4, "little"), layout.size * libbpf.possible_cpus())
    return tuple(map(sum, zip(*layout.iter_unpack(raw), strict=True)))
