# SPDX-License-Identifier: Apache-2.0
"""Health checks: what the operator set, what is to be probed for it, and what a probe found."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address


class CheckKind(enum.Enum):
    """What is asked of a backend."""

    TCP = "TCP"
    HTTP = "HTTP"
    HTTPS = "HTTPS"
    UDP = "UDP"
    GRPC = "GRPC"
    ICMP = "ICMP"


class CheckVia(enum.Enum):
    """The way of a probe: to the VIP through the tunnel, as a client's packet comes, or to the backend's address."""

    TUNNEL = "TUNNEL"
    DIRECT = "DIRECT"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How the members of a pool are checked.

    ``via``: None = through the tunnel where a VIP uses the pool, else direct. ``port``: 0 = that of the pool's first
    VIP by name that has one. ``jitter_percent``: each interval is shorter or longer by up to this. ``rise``, ``fall``:
    successes or failures in a row that make a backend UP or DOWN. ``method``, ``path``, ``host`` ("" = the address),
    ``expected_status`` ("200-399" or "200,204"), ``expected_body`` (text that the answer must contain; "" = any),
    ``verify_tls``, ``server_name`` (SNI, "" = ``host``) and ``ca_file`` ("" = the system's): HTTP and HTTPS. ``send``
    and ``expect`` (the answer must begin with it; empty = any answer): UDP. ``grpc_service``: "" = the whole server.
    """

    kind: CheckKind
    via: CheckVia | None = None
    port: int = 0
    interval_ms: int = 5_000
    timeout_ms: int = 2_000
    rise: int = 2
    fall: int = 3
    jitter_percent: int = 10
    method: str = "GET"
    path: str = "/"
    host: str = ""
    expected_status: str = "200-399"
    expected_body: str = ""
    verify_tls: bool = True
    server_name: str = ""
    ca_file: str = ""
    send: bytes = b""
    expect: bytes = b""
    grpc_service: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to probe, whoever asked for it: equal targets are probed once.

    ``address``, ``port``: where the probe's socket connects: the VIP through the tunnel, else the backend. ``backend``:
    the host that shall answer. ``mark``: SO_MARK of the socket, which leads it through the tunnel; 0 = direct.
    """

    check: HealthCheck
    backend: IPv4Address | IPv6Address
    address: IPv4Address | IPv6Address
    port: int
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one probe. ``error``: "" = it passed; else in words, with what to look at.

    ``started_at``, ``ended_at``: CLOCK_MONOTONIC seconds. A probe that says nothing about the backend has no outcome:
    it could not be made, or it timed out while the prober itself did not run.
    """

    error: str
    started_at: float
    ended_at: float


PROBE_MARK = 0x4C42_0000
"""Upper half of the mark of sockets that go through the tunnel; the lower half is a backend index."""

PROBE_MARK_MASK = 0xFFFF_0000
