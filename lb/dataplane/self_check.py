# SPDX-License-Identifier: Apache-2.0
"""A look at whether the program still does its work, with packets that nobody sends and nobody counts.

The copy is made of the same instructions. It reads the VIPs, rings and backends of the live program, but its counters,
its flow table and whatever else packets write are its own.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, replace
from ipaddress import ip_address

from lb.core.hashing import flow_hash, from_v4_mapped, slot_of
from lb.core.layout import BACKEND, VIP, VIP_ADDRESS
from lb.core.model import Address, HashPolicy, Protocol
from lb.core.slots import NONE, TRACKED, base, current
from lb.dataplane import libbpf, maps
from lb.dataplane.map_set import MapSet
from lb.dataplane.maps import META, MapSpec
from lb.dataplane.program import Program

XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = 1, 2, 3, 4
_ACTIONS = {0: "aborted", XDP_DROP: "dropped", XDP_PASS: "passed", XDP_TX: "sent back", XDP_REDIRECT: "sent on"}

_SHARED = frozenset({"control", "vips", "rings", "backends"})
_SCRATCH_ENTRIES = 64
_TRIES = 3
"""The maps may be written while we look."""

_ETH = struct.Struct("!6s6sH")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_TCP = struct.Struct("!HHIIBBHHH")
_UDP = struct.Struct("!HHHH")
_ETHERTYPE_IPV4, _ETHERTYPE_IPV6 = 0x0800, 0x86DD
_ETHERTYPE_EXPERIMENTAL = 0x88B5
"""IEEE 802: for local experiments; not IP, so never for a VIP."""

_TCP_ACK = 0x10
_TTL = 64
_SPORT = 40_000
_SOURCES = {4: (ip_address("192.0.2.1"), ip_address("192.0.2.2")), 6: (ip_address("100::1"), ip_address("100::2"))}
"""Of documentation and discard prefixes; the second one where the first is the VIP itself."""

_ANY_PORT = 1
"""For VIPs of every port."""


@dataclass(frozen=True, slots=True)
class _Probe:
    """A packet to a VIP."""

    source: Address
    vip: Address
    port: int
    protocol: Protocol

    def frame(self) -> bytes:
        """The packet; an acknowledgement in the midst of a connection, if it is TCP. Checksums are left out."""
        if self.protocol is Protocol.TCP:
            segment = _TCP.pack(_SPORT, self.port, 0, 0, 5 << 4, _TCP_ACK, 0, 0, 0)
        else:
            segment = _UDP.pack(_SPORT, self.port, 20, 0) + bytes(12)
        addresses = self.source.packed, self.vip.packed
        if self.vip.version == 4:
            packet = _IPV4.pack(0x45, 0, 20 + len(segment), 0, 0, _TTL, self.protocol, 0, *addresses)
            return _ETH.pack(bytes(6), bytes(6), _ETHERTYPE_IPV4) + packet + segment
        packet = _IPV6.pack(6 << 28, len(segment), self.protocol, _TTL, *addresses)
        return _ETH.pack(bytes(6), bytes(6), _ETHERTYPE_IPV6) + packet + segment


@dataclass(frozen=True, slots=True)
class _Aim:
    """A probe, and the backend addresses that its slot allows."""

    probe: _Probe
    allowed: frozenset[Address]


class SelfCheck:
    """Owns the copy. Its methods block for milliseconds."""

    def __init__(self, program: Program, opened: MapSet) -> None:
        """Raises ``OSError`` when the kernel has no room for the copy."""
        self._hash_keys = program.hash_keys
        self._maps = opened
        self._scratch: dict[str, int] = {}
        self._fd = -1
        try:
            for spec in maps.PERSISTENT:
                if spec.name not in _SHARED and spec.name != META.name:
                    self._scratch[spec.name] = _scratch(spec).create()
            self._fd = program.copy(self._scratch)
        except BaseException:
            self.close()
            raise

    def run(self, ifindex: int) -> str:
        """What is wrong, in words; "" when nothing is. ``ifindex``: where the packets come in."""
        stranger = _ETH.pack(bytes(6), bytes(6), _ETHERTYPE_EXPERIMENTAL) + bytes(50)
        result = libbpf.prog_run(self._fd, stranger, ifindex=ifindex)
        if result.action != XDP_PASS or result.data != stranger:
            return f"a packet that is not for a VIP was {_named(result.action)}, not passed untouched"
        wrong = ""
        for _ in range(_TRIES):
            aim = self._aim()
            if aim is None:
                return ""
            wrong = _judge(aim, libbpf.prog_run(self._fd, aim.probe.frame(), ifindex=ifindex))
            if not wrong:
                return ""
        return wrong

    def _aim(self) -> _Aim | None:
        """A packet to the first VIP whose slot for it has a backend."""
        for packed, port, number, ring, index, flags, _ in VIP.iter_unpack(self._maps.vip_table().elements):
            if not index or flags & VIP_ADDRESS or not self._maps.has_ring(ring):
                continue
            vip = from_v4_mapped(packed)
            source = next(source for source in _SOURCES[vip.version] if source != vip)
            probe = _Probe(source, vip, int.from_bytes(port, "big") or _ANY_PORT, Protocol(number))
            hashed = flow_hash(self._hash_keys, source, vip, _SPORT, probe.port, HashPolicy(flags))
            with self._maps.ring(ring).view as raw, raw.cast("I") as words:
                word = words[slot_of(hashed)]
            named = {current(word), base(word)} - {NONE, TRACKED}
            if named:
                return _Aim(probe, frozenset(map(self._address, named)))
        return None

    def _address(self, index: int) -> Address:
        with self._maps["backends"].view as raw:
            fields = BACKEND.unpack_from(raw, index * BACKEND.size)
        return from_v4_mapped(fields[4])

    def close(self) -> None:
        """Remove the copy."""
        for fd in (self._fd, *self._scratch.values()):
            if fd >= 0:
                os.close(fd)
        self._fd, self._scratch = -1, {}


def _scratch(spec: MapSpec) -> MapSpec:
    """A map for the copy alone: small where it may be, and one value for all CPUs."""
    if spec.type in (libbpf.MAP_HASH, libbpf.MAP_LRU_HASH):
        return replace(spec, max_entries=_SCRATCH_ENTRIES)
    return replace(spec, type=libbpf.MAP_ARRAY, flags=0)


def _judge(aim: _Aim, result: libbpf.ProgRun) -> str:
    what = f"a packet to VIP {aim.probe.vip}, {aim.probe.protocol.name} port {aim.probe.port},"
    if result.action not in (XDP_TX, XDP_REDIRECT):
        return f"{what} was {_named(result.action)}, not forwarded"
    reached = _outer_destination(result.data)
    if reached not in aim.allowed:
        allowed = " or ".join(sorted(map(str, aim.allowed)))
        return f"{what} went to {reached}, not to its backend {allowed}"
    return ""


def _outer_destination(frame: bytes) -> Address | None:
    (ethertype,) = struct.unpack_from("!H", frame, 12)
    match ethertype:
        case 0x0800:
            return ip_address(frame[30:34])
        case 0x86DD:
            return ip_address(frame[38:54])
    return None


def _named(action: int) -> str:
    return _ACTIONS.get(action, f"given the action {action}")
