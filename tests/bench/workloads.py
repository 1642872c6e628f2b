# SPDX-License-Identifier: Apache-2.0
"""What is measured: traffic, the configurations that it meets, and programs. One declaration for C and Python."""

from __future__ import annotations

import enum
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from lb.core.model import Address, Backend, Config, Pool, Protocol, Settings, Vip

VIP_PORT = 80
_CLIENT4 = IPv4Address("10.0.0.0")
_VIP4 = IPv4Address("198.18.0.0")
_CLIENT6 = IPv6Address("2001:db8:0:2::")
_VIP6 = IPv6Address("2001:db8:0:1::")
_BACKEND4 = IPv4Address("10.255.0.0")
_BACKEND6 = IPv6Address("2001:db8:0:3::")

BACKENDS = 100
"""Backends of a benchmark's only pool; where there are many pools, each has a tenth of it."""


class Shape(enum.Enum):
    """Headers of a frame. ``frame_bytes``: whole, with a few bytes of payload."""

    TCP4 = ("tcp4", 4, Protocol.TCP, 60)
    UDP4 = ("udp4", 4, Protocol.UDP, 60)
    TCP6 = ("tcp6", 6, Protocol.TCP, 80)

    def __init__(self, key: str, version: int, protocol: Protocol, frame_bytes: int) -> None:
        self.key = key
        self.version = version
        self.protocol = protocol
        self.frame_bytes = frame_bytes

    @property
    def outer_bytes(self) -> int:
        """What wrapping adds: outer and inner family are the same in every benchmark."""
        return 20 if self.version == 4 else 40


class Program(enum.StrEnum):
    """A program under test."""

    EMPTY = "empty"
    FLOOR = "floor"
    STABLE = "stable"
    MOVING = "moving"
    TRACK_ALL = "track-all"

    @property
    def is_balancer(self) -> bool:
        """False for the yardsticks."""
        return self not in (Program.EMPTY, Program.FLOOR)

    @property
    def tracks(self) -> bool:
        """Whether it needs a build with a flow table."""
        return self in (Program.MOVING, Program.TRACK_ALL)


FLOWS = (1, 1_000, 100_000, 1_000_000)

_TCP_SYN = 0x02
_TCP_ACK = 0x10


@dataclass(frozen=True, slots=True)
class Workload:
    """Traffic and what it is for: ``flows`` 5-tuples in turn, spread over ``vips`` VIPs on ``pools`` pools."""

    name: str
    shape: Shape
    syn: bool = False
    vips: int = 1
    pools: int = 1
    flows: tuple[int, ...] = FLOWS
    programs: tuple[Program, ...] = tuple(Program)

    @property
    def tcp_flags(self) -> int:
        """Flags byte of its packets."""
        return _TCP_SYN if self.syn else _TCP_ACK


TCP4 = Workload("IPv4 TCP", Shape.TCP4)
TCP4_SYN = Workload("IPv4 TCP SYN", Shape.TCP4, syn=True)
UDP4 = Workload("IPv4 UDP", Shape.UDP4)
TCP6 = Workload("IPv6 TCP", Shape.TCP6)
TCP6_SYN = Workload("IPv6 TCP SYN", Shape.TCP6, syn=True)
VIPS = Workload("1,000 VIPs, 1 pool", Shape.TCP4, vips=1_000, flows=FLOWS[1:], programs=(Program.EMPTY, Program.STABLE))
VIPS_POOLS = Workload(
    "1,000 VIPs, 100 pools",
    Shape.TCP4,
    vips=1_000,
    pools=100,
    flows=FLOWS[1:],
    programs=(Program.EMPTY, Program.STABLE),
)

WORKLOADS = (TCP4, TCP4_SYN, UDP4, TCP6, TCP6_SYN, VIPS, VIPS_POOLS)


def config_for(workload: Workload, hash_key: bytes) -> Config:
    """The configuration that a workload's packets meet."""
    per_pool = BACKENDS if workload.pools == 1 else BACKENDS // 10
    pools = {}
    for i in range(workload.pools):
        members = [_nth(workload, i * per_pool + j + 1) for j in range(per_pool)]
        pools[f"p{i}"] = Pool(f"p{i}", backends={f"b{n}": Backend(f"b{n}", a) for n, a in enumerate(members)})
    base: Address = _VIP4 if workload.shape.version == 4 else _VIP6
    vips = {
        f"v{i}": Vip(f"v{i}", base + i, VIP_PORT, workload.shape.protocol, f"p{i % workload.pools}")
        for i in range(workload.vips)
    }
    return Config(Settings(hash_key), pools, vips)


def _nth(workload: Workload, number: int) -> Address:
    return (_BACKEND4 if workload.shape.version == 4 else _BACKEND6) + number


def backends_of(config: Config) -> list[Address]:
    """Addresses of all backends."""
    return [backend.address for pool in config.pools.values() for backend in pool.backends.values()]


def driver_defines() -> dict[str, str]:
    """Constants of driver.c."""

    def half(address: IPv6Address, part: int) -> str:
        return f"{int.from_bytes(address.packed[8 * part : 8 * part + 8], sys.byteorder):#x}ULL"

    return {
        **{f"{shape.name}_BYTES": str(shape.frame_bytes) for shape in Shape},
        "CLIENT4": f"{int(_CLIENT4):#x}U",
        "VIP4": f"{int(_VIP4):#x}U",
        "CLIENT6_HI": half(_CLIENT6, 0),
        "VIP6_HI": half(_VIP6, 0),
        "VIP6_LO": half(_VIP6, 1),
        "VIP_PORT": str(VIP_PORT),
    }
