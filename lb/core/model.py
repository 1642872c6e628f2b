# SPDX-License-Identifier: Apache-2.0
"""What the operator set, and what was observed. Frozen data; every change makes a new ``Config``."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from lb.core.checks import HealthCheck
from lb.core.health import UNCHECKED, Health

Address = IPv4Address | IPv6Address

RING_SIZE = 65_537
"""Slots of a pool's Maglev ring: a prime, as the algorithm needs."""

MAX_WEIGHT = 65_535
"""Largest weight of a backend."""

DEFAULT_OUTER_SOURCE_IPV4 = IPv4Network("172.16.0.0/16")
DEFAULT_OUTER_SOURCE_IPV6 = IPv6Network("100::/64")

DEFAULT_SETTLE_SECONDS = 7_500
"""Above Linux's TCP keepalive of 7,200."""

DEFAULT_UDP_SETTLE_SECONDS = 60
DEFAULT_DRAIN_IDLE_SECONDS = 350


class Protocol(enum.IntEnum):
    """IP protocol number of a VIP."""

    TCP = 6
    UDP = 17


class HashPolicy(enum.IntEnum):
    """Which parts of a flow decide its slot; the numbers are the data plane's flags."""

    FIVE_TUPLE = 0
    SOURCE = 1
    SOURCE_AND_DESTINATION_PORT = 2
    DESTINATION_PORT = 3


class AdminState(enum.Enum):
    """What the operator wants of a backend."""

    ENABLED = "ENABLED"
    DRAINING = "DRAINING"
    DISABLED = "DISABLED"


class OnDown(enum.Enum):
    """What becomes of the flows of a backend whose checks fail: they go elsewhere (and break), or wait for it."""

    REASSIGN = "REASSIGN"
    KEEP = "KEEP"


@dataclass(frozen=True, slots=True)
class Backend:
    """A member of a pool. ``name`` is unique within the pool; ``address`` never changes.

    ``drain_deadline``: seconds since the epoch (UTC) at which a DRAINING backend becomes DISABLED; 0 = never.
    """

    name: str
    address: Address
    weight: int = 1
    admin_state: AdminState = AdminState.ENABLED
    drain_deadline: int = 0


@dataclass(frozen=True, slots=True)
class Pool:
    """A set of backends that share one ring; ``backends`` by name.

    ``settle_seconds``: a TCP client that is silent for longer may lose its backend when the ring has changed; 0 = flows
    are not protected. ``udp_settle_seconds``: the same for UDP. ``drain_idle_seconds``: for clients of a backend that
    drains. ``health_check``: None = members count as UP. ``slow_start_seconds``: over which the weight of a backend
    that came UP grows. ``fail_open``: use all members when none, or less than ``min_healthy_percent``, is UP.
    """

    name: str
    description: str = ""
    backends: Mapping[str, Backend] = field(default_factory=dict)
    settle_seconds: int = DEFAULT_SETTLE_SECONDS
    udp_settle_seconds: int = DEFAULT_UDP_SETTLE_SECONDS
    drain_idle_seconds: int = DEFAULT_DRAIN_IDLE_SECONDS
    health_check: HealthCheck | None = None
    slow_start_seconds: int = 0
    fail_open: bool = True
    min_healthy_percent: int = 0
    on_down: OnDown = OnDown.REASSIGN


@dataclass(frozen=True, slots=True)
class Vip:
    """A frontend. ``port`` 0 means every port; ``pool`` is a pool's name; ``force`` accepts an address of the box."""

    name: str
    address: Address
    port: int
    protocol: Protocol
    pool: str
    force: bool = False
    hash_policy: HashPolicy = HashPolicy.FIVE_TUPLE


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for the whole balancer.

    ``hash_key``: 16 secret bytes; all zero until one is made. ``outer_source_ipv4`` and ``outer_source_ipv6``: prefix
    of the outer source address, None for the egress interface's own address.
    """

    hash_key: bytes = bytes(16)
    outer_source_ipv4: IPv4Network | None = DEFAULT_OUTER_SOURCE_IPV4
    outer_source_ipv6: IPv6Network | None = DEFAULT_OUTER_SOURCE_IPV6


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the operator set: ``pools`` and ``vips`` by name. The mappings are never changed in place."""

    settings: Settings = field(default_factory=Settings)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    vips: Mapping[str, Vip] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NextHop:
    """How packets for an address leave the box.

    ``mac`` and ``source_mac``: 6 bytes each, of the next hop and of the egress interface. ``source``: the address
    that the kernel would use as source, of the same family as the destination. ``gateway``: None on the link.
    """

    interface: str
    ifindex: int
    mtu_bytes: int
    mac: bytes
    source_mac: bytes
    source: Address
    gateway: Address | None = None


@dataclass(frozen=True, slots=True)
class Unresolved:
    """No next hop; ``reason`` in words that name the remedy, "no route to 10.0.0.9: add one, or ..."."""

    reason: str


Hop = NextHop | Unresolved


@dataclass(frozen=True, slots=True)
class DrainState:
    """How far a backend that takes no new flows is.

    ``flows``: live entries of the flow table that name it, as of the last scan, without the ``closing`` ones, whose
    client has sent its FIN. ``packets_per_second``: to it.
    ``untracked_until``: seconds since the epoch (UTC) until which it may have flows that are not in the table; 0 = it
    has none. ``drained``: no slot and no live flow names it. ``cut``: flows that it had at its deadline.
    """

    flows: int
    packets_per_second: float
    untracked_until: float
    drained: bool
    cut: int = 0
    closing: int = 0


@dataclass(frozen=True, slots=True)
class BackendState:
    """What became of a backend: ``slots`` of the ring name it; ``reason`` says why it is outside ("" if it is not).

    ``drain``: None while it takes new flows.
    """

    slots: int
    reason: str
    hop: Hop
    health: Health = UNCHECKED
    drain: DrainState | None = None


@dataclass(frozen=True, slots=True)
class RingState:
    """Slots of one ring by state: a pool has a ring for each protocol of its VIPs.

    ``refusals``: flows that could not be tracked so far. ``held_back``: refusals have kept moves from ending for longer
    than twice their limit.
    """

    protocol: Protocol
    stable: int
    moving: int
    tracked: int
    refusals: int = 0
    held_back: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """One consistent snapshot of configuration and observation.

    ``backends`` by (pool name, backend name). ``rings`` by pool name; none for a pool without VIPs. ``failing_open``:
    pools that use members whose checks fail, because too few are UP.
    """

    revision: int
    config: Config
    backends: Mapping[tuple[str, str], BackendState]
    rings: Mapping[str, tuple[RingState, ...]] = field(default_factory=dict)
    failing_open: frozenset[str] = frozenset()
