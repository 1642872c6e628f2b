# SPDX-License-Identifier: Apache-2.0
"""Flows of clients, and their packets as frames."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from packets.box import HASH_KEY, MAC_OF_BOX

from lb.core.hashing import expand_hash_key, flow_hash, slot_of, v4_mapped
from lb.core.layout import FLOW_KEY
from lb.core.model import Protocol, Vip

_KEYS = expand_hash_key(HASH_KEY)
_ETHERNET = MAC_OF_BOX + b"\x02\x00\x00\x00\x00\x99\x08\x00"


class Kind(enum.IntEnum):
    """A packet; for TCP the number is the header's flags."""

    SYN = 0x02
    DATA = 0x18
    FIN = 0x11
    RST = 0x14
    UDP = 0


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """One 5-tuple to one VIP; each is made once, and equal to itself only."""

    vip: Vip
    source: IPv4Address
    port: int

    @property
    def slot(self) -> int:
        """The slot of the VIP's ring that it falls on."""
        vip = self.vip
        return slot_of(flow_hash(_KEYS, self.source, vip.address, self.port, vip.port, vip.hash_policy))

    def key(self, vip_index: int) -> bytes:
        """Its key in the flow table."""
        ports = struct.unpack("=I", struct.pack("!HH", self.port, self.vip.port))[0]
        return FLOW_KEY.pack(v4_mapped(self.source), ports, vip_index)

    def frame(self, kind: Kind) -> bytes:
        """One packet of it; nobody on the way looks at checksums of layer 4."""
        if self.vip.protocol is Protocol.UDP:
            layer4 = struct.pack("!HHHH", self.port, self.vip.port, 12, 0) + b"data"
        else:
            layer4 = struct.pack("!HHIIBBHHH", self.port, self.vip.port, 1, 1, 0x50, kind, 1024, 0, 0)
        header = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 20 + len(layer4), 1, 0, 64, self.vip.protocol, 0,
            self.source.packed, self.vip.address.packed,
        )  # fmt: skip
        return _ETHERNET + header + layer4


def clients(vip: Vip, count: int) -> list[Client]:
    """Different 5-tuples."""
    return [Client(vip, IPv4Address(0xC6336400 + i % 251), 1024 + 7 * i) for i in range(count)]
