# SPDX-License-Identifier: Apache-2.0
"""Configurations that an operator can have made, with everything that the model offers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import strategies as st

from lb.core.checks import CheckKind, CheckVia, HealthCheck
from lb.core.model import MAX_WEIGHT, AdminState, Backend, Config, HashPolicy, OnDown, Pool, Protocol, Settings, Vip

# Few names and addresses, so that two configurations have much in common; some that YAML could take for other things.
NAMES = st.sampled_from(["web", "dns", "api-2", "null", "off"])
ADDRESSES = st.sampled_from([*(IPv4Address(f"10.0.0.{low}") for low in range(1, 5)), IPv6Address("2001:db8::1")])
DESCRIPTIONS = st.text(st.characters(codec="utf-8"), max_size=20).filter(str.isprintable)
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=9)
WEEK = st.integers(0, 604_800)


@st.composite
def health_checks(draw: st.DrawFn) -> HealthCheck:
    """A check with what its kind has, all else as it is by default."""
    kind = draw(st.sampled_from(CheckKind))
    more: dict[str, object] = {}
    if kind in (CheckKind.HTTP, CheckKind.HTTPS):
        more = {
            "method": draw(st.sampled_from(["GET", "HEAD", "OPTIONS"])),
            "path": draw(VISIBLE.map("/{}".format)),
            "host": draw(VISIBLE),
            "expected_status": draw(st.sampled_from(["200-399", "200,204", "204"])),
            "expected_body": draw(st.text(st.characters(codec="utf-8"), max_size=9)),
        }
    if kind is CheckKind.HTTPS:
        more |= {"verify_tls": draw(st.booleans()), "server_name": draw(VISIBLE), "ca_file": draw(CA_FILES)}
    if kind is CheckKind.UDP:
        more = {"send": draw(st.binary(min_size=1, max_size=9)), "expect": draw(st.binary(max_size=9))}
    if kind is CheckKind.GRPC:
        more = {"grpc_service": draw(st.text(st.characters(codec="utf-8"), max_size=9))}
    interval_ms = draw(st.integers(100, 3_600_000))
    return HealthCheck(
        kind,
        draw(st.none() | st.sampled_from(CheckVia)),
        0 if kind is CheckKind.ICMP else draw(st.integers(0, 65_535)),
        interval_ms,
        draw(st.integers(10, min(interval_ms, 60_000))),
        draw(st.integers(1, 100)),
        draw(st.integers(1, 100)),
        draw(st.integers(0, 50)),
        **more,  # type: ignore[arg-type]
    )


CA_FILES = st.just("") | DESCRIPTIONS.map("/{}".format)


@st.composite
def backends(draw: st.DrawFn, name: str, address: IPv4Address | IPv6Address) -> Backend:
    state = draw(st.sampled_from(AdminState))
    deadline = draw(st.sampled_from([0, 1_700_000_000])) if state is AdminState.DRAINING else 0
    return Backend(name, address, draw(st.integers(0, MAX_WEIGHT)), state, deadline)


@st.composite
def pools(draw: st.DrawFn, name: str) -> Pool:
    addresses = draw(st.lists(ADDRESSES, unique=True, max_size=3))
    names = draw(st.lists(NAMES, unique=True, min_size=len(addresses), max_size=len(addresses)))
    return Pool(
        name,
        draw(DESCRIPTIONS),
        {name: draw(backends(name, address)) for name, address in zip(names, addresses, strict=True)},
        draw(WEEK),
        draw(st.integers(0, 86_400)),
        draw(WEEK),
        draw(st.none() | health_checks()),
        draw(st.integers(0, 3_600)),
        draw(st.booleans()),
        draw(st.integers(0, 100)),
        draw(st.sampled_from(OnDown)),
    )


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """A configuration with a hash key; each VIP has its pool, no two have the same endpoint."""
    made = {name: draw(pools(name)) for name in draw(st.sets(NAMES, max_size=3))}
    endpoints = st.tuples(ADDRESSES, st.sampled_from([0, 80, 443]), st.sampled_from(Protocol))
    vips = {}
    if made:
        for endpoint in draw(st.lists(endpoints, unique=True, max_size=3)):
            name = draw(NAMES.filter(lambda name: name not in vips))
            pool, force, policy = draw(st.sampled_from(sorted(made))), draw(st.booleans()), draw(HASH_POLICIES)
            vips[name] = Vip(name, *endpoint, pool, force, policy)
    ipv4 = st.integers(8, 30).map(lambda length: IPv4Network(("172.16.0.0", length), strict=False))
    ipv6 = st.integers(32, 96).map(lambda length: IPv6Network(("100::", length)))
    key = draw(st.binary(min_size=16, max_size=16).filter(any))
    return Config(Settings(key, draw(st.none() | ipv4), draw(st.none() | ipv6)), made, vips)


HASH_POLICIES = st.sampled_from(HashPolicy)
CONFIGS = configs()
