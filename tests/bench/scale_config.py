# SPDX-License-Identifier: Apache-2.0
"""The configuration of ``bench.scale``: how large it is, who is in it, and the file that says so."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

CHECK_PORT = 7
"""Where every backend's address accepts connections."""

FIRST_BACKEND = IPv4Address("10.128.0.1")
BACKENDS_PREFIX = "10.128.0.0/16"
FIRST_VIP = IPv4Address("198.18.0.1")
"""Of the range for benchmarks (RFC 2544)."""

VIP_PORT = 80


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of everything.

    ``vips``: when all is there. ``vips_compared``: between which a change of one backend is compared. ``changes``: how
    often it is made. ``checks``: probes a second. ``check_seconds``: for how long they are counted.
    """

    pools: int = 100
    members: int = 50
    vips: int = 1_000
    vips_compared: tuple[int, ...] = (10, 1_000, 4_000)
    changes: int = 20
    checks: int = 1_000
    check_seconds: float = 20.0

    @property
    def backends(self) -> int:
        """Over all pools."""
        return self.pools * self.members

    @property
    def pools_compared(self) -> int:
        """Pools that have a VIP, however few VIPs there are."""
        return min(self.pools, *self.vips_compared)


def pool_name(pool: int) -> str:
    """Of a pool, counted from 0."""
    return f"p{pool}"


def backend_address(size: Size, pool: int, member: int) -> IPv4Address:
    """Of a member, counted from 0; no two backends have the same one."""
    return FIRST_BACKEND + (pool * size.members + member)


def vip_address(vip: int) -> IPv4Address:
    """Of a VIP, counted from 0; it uses pool number ``vip`` modulo the number of pools."""
    return FIRST_VIP + vip


def config_text(size: Size, vips: int, *, heavy: bool = False, checked: bool = False) -> str:
    """The YAML file.

    Args:
        size: How many pools, of how many backends.
        vips: How many VIPs, each with an address of its own.
        heavy: Give one backend another weight.
        checked: Check all backends, so often that it makes ``size.checks`` probes a second.
    """
    interval_ms = 1000 * size.backends // size.checks
    check = f"    health_check: {{kind: TCP, via: DIRECT, port: {CHECK_PORT}, interval_ms: {interval_ms}}}\n"
    lines = ["pools:\n"]
    for pool in range(size.pools):
        lines += [f"  - name: {pool_name(pool)}\n", check * checked, "    backends:\n"]
        for member in range(size.members):
            weight = ", weight: 2" if heavy and (pool, member) == (0, 0) else ""
            lines.append(f"      - {{name: b{member}, address: {backend_address(size, pool, member)}{weight}}}\n")
    lines.append("vips:\n")
    for vip in range(vips):
        name, address, user = f"v{vip}", vip_address(vip), pool_name(vip % size.pools)
        lines.append(f"  - {{name: {name}, address: {address}, port: {VIP_PORT}, protocol: TCP, pool: {user}}}\n")
    return "".join(lines)
