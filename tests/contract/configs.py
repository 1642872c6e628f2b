# SPDX-License-Identifier: Apache-2.0
"""Configurations of every shape that the model has, valid or not: a store keeps what it is given."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import strategies as st

from lb.core import checks
from lb.core.allocation import Allocation
from lb.core.model import AdminState, Backend, Config, HashPolicy, OnDown, Pool, Protocol, Settings, Vip

NAMES = st.sampled_from(["a", "b", "c-1"])
ADDRESSES = st.integers(0x0A000001, 0x0A0000FF).map(IPv4Address) | st.integers(1, 0xFF).map(
    lambda low: IPv6Address(0x20010DB8 << 96 | low)
)
SECONDS = st.integers(0, 604_800)
CHECKS = st.builds(
    checks.HealthCheck,
    st.sampled_from(checks.CheckKind),
    st.none() | st.sampled_from(checks.CheckVia),
    host=st.text(max_size=9),
    send=st.binary(max_size=9),
)
BACKENDS = st.builds(Backend, NAMES, ADDRESSES, st.integers(0, 65535), st.sampled_from(AdminState), SECONDS)
POOLS = st.builds(
    Pool,
    NAMES,
    st.text(max_size=9),
    st.lists(BACKENDS).map(lambda found: {backend.name: backend for backend in found}),
    SECONDS,
    SECONDS,
    SECONDS,
    st.none() | CHECKS,
    SECONDS,
    st.booleans(),
    st.integers(0, 100),
    st.sampled_from(OnDown),
)
VIPS = st.builds(
    Vip,
    NAMES,
    ADDRESSES,
    st.integers(0, 65535),
    st.sampled_from(Protocol),
    NAMES,
    st.booleans(),
    st.sampled_from(HashPolicy),
)
SETTINGS = st.builds(
    Settings,
    st.binary(min_size=16, max_size=16),
    st.none() | st.integers(8, 30).map(lambda length: IPv4Network(("172.16.0.0", length), strict=False)),
    st.none() | st.integers(32, 96).map(lambda length: IPv6Network(("100::", length))),
)
CONFIGS = st.builds(
    Config,
    SETTINGS,
    st.lists(POOLS).map(lambda found: {pool.name: pool for pool in found}),
    st.lists(VIPS).map(lambda found: {vip.name: vip for vip in found}),
)
ALLOCATIONS = st.builds(
    Allocation,
    st.dictionaries(NAMES, st.integers(0, 99)),
    st.dictionaries(st.tuples(NAMES, st.sampled_from([6, 17])), st.integers(0, 99)),
    st.dictionaries(st.tuples(NAMES, NAMES, ADDRESSES.map(str)), st.integers(1, 65534)),
    st.dictionaries(st.sampled_from(["vip", "ring", "backend"]), st.integers(0, 99)),
)


Edit = Callable[[Config], Config]


def _edit(new: Config, parts: frozenset[str]) -> Edit:
    """Puts parts of ``new`` in place and shares the rest with what it edits, as the daemon's edits do."""

    def edit(present: Config) -> Config:
        return Config(
            new.settings if "settings" in parts else present.settings,
            {**present.pools, **new.pools} if "pools" in parts else present.pools,
            {**present.vips, **new.vips} if "vips" in parts else present.vips,
        )

    return edit


EDITS = CONFIGS.map(lambda new: lambda _present: new) | st.builds(
    _edit, CONFIGS, st.frozensets(st.sampled_from(["settings", "pools", "vips"]))
)
"""Edits of a configuration, or another one in its place."""

WEB = Pool("web", "the shop", {"b1": Backend("b1", IPv4Address("10.0.0.11"), 2)})
CONFIG = Config(
    Settings(bytes(range(16))), {"web": WEB}, {"web": Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")}
)
ALLOCATION = Allocation({"web": 0}, {("web", 6): 0}, {("web", "b1", "10.0.0.11"): 1}, {"backend": 2})
