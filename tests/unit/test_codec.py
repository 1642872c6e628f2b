# SPDX-License-Identifier: Apache-2.0
"""The stored form: it survives JSON, and is never guessed at."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core import codec
from lb.core.model import AdminState, Backend, HashPolicy, Pool, Protocol, Settings, Vip

NAMES = st.text(max_size=9)
NETWORKS = st.integers(8, 30).map(lambda length: IPv4Network(("172.16.0.0", length), strict=False))
BACKENDS = st.builds(Backend, NAMES, st.ip_addresses(), st.integers(0, 65535), st.sampled_from(AdminState))
VIPS = st.builds(
    Vip,
    NAMES,
    st.ip_addresses(),
    st.integers(0, 65535),
    st.sampled_from(Protocol),
    NAMES,
    st.booleans(),
    st.sampled_from(HashPolicy),
)
NETWORKS_6 = st.integers(32, 96).map(lambda length: IPv6Network(("2001:db8::", length)))
SETTINGS = st.builds(Settings, st.binary(min_size=16, max_size=16), st.none() | NETWORKS, st.none() | NETWORKS_6)
SECONDS = st.integers(0, 604_800)
POOLS = st.builds(Pool, NAMES, st.text(max_size=9), st.just({}), SECONDS, SECONDS, SECONDS)
B1 = Backend("b1", IPv4Address("10.0.0.11"))


def through_json(plain: codec.Plain) -> codec.Plain:
    decoded: codec.Plain = json.loads(json.dumps(plain))
    return decoded


@given(SETTINGS, BACKENDS, VIPS, POOLS)
def test_decoding_gives_back_what_was_encoded(settings: Settings, backend: Backend, vip: Vip, pool: Pool) -> None:
    assert codec.decode_settings(through_json(codec.encode_settings(settings))) == settings
    assert codec.decode_backend(backend.name, through_json(codec.encode_backend(backend))) == backend
    assert codec.decode_vip(vip.name, through_json(codec.encode_vip(vip))) == vip
    pool = replace(pool, backends={backend.name: backend})
    assert codec.decode_pool(pool.name, through_json(codec.encode_pool(pool)), pool.backends) == pool


def test_the_form_is_what_earlier_releases_wrote() -> None:
    """A change here needs a new VERSION and a reader of the old one."""
    assert codec.encode_backend(B1) == {"version": 2, "address": "10.0.0.11", "weight": 1, "admin_state": "ENABLED"}
    assert codec.encode_vip(Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")) == {
        "version": 2,
        "address": "192.0.2.1",
        "port": 80,
        "protocol": "TCP",
        "pool": "web",
        "force": False,
        "hash_policy": "FIVE_TUPLE",
    }
    assert codec.encode_pool(Pool("web", "the shop", {"b1": B1})) == {
        "version": 2,
        "description": "the shop",
        "settle_seconds": 7500,
        "udp_settle_seconds": 60,
        "drain_idle_seconds": 350,
    }
    assert codec.encode_settings(Settings()) == {
        "version": 2,
        "hash_key": "00" * 16,
        "outer_source_ipv4": "172.16.0.0/16",
        "outer_source_ipv6": "100::/64",
    }


def test_objects_of_version_1_are_read() -> None:
    """What the first releases wrote, letter by letter: an upgrade must find the configuration as it was."""
    settings = {"version": 1, "hash_key": "00" * 15 + "07", "outer_source_ipv4": None}
    assert codec.decode_settings(settings) == Settings(bytes(15) + b"\7", None, IPv6Network("100::/64"))
    pool = codec.decode_pool("web", {"version": 1, "description": "the shop"}, {"b1": B1})
    assert pool == Pool("web", "the shop", {"b1": B1}, 7500, 60, 350)
    backend = {"version": 1, "address": "10.0.0.11", "weight": 1, "admin_state": "ENABLED"}
    assert codec.decode_backend("b1", backend) == B1
    vip = {"version": 1, "address": "192.0.2.1", "port": 80, "protocol": "TCP", "pool": "web", "force": True}
    assert codec.decode_vip("web", vip) == Vip(
        "web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web", True, HashPolicy.FIVE_TUPLE
    )


def test_an_object_of_version_1_has_no_fields_of_version_2() -> None:
    plain = {"version": 1, "description": "", "settle_seconds": 5}
    with pytest.raises(codec.CodecError, match="pool 'web': unknown field settle_seconds"):
        codec.decode_pool("web", plain, {})


def test_an_object_of_version_2_has_all_its_fields() -> None:
    """Nothing is filled in for an object that this release should have written in full."""
    plain = codec.encode_pool(Pool("web"))
    del plain["settle_seconds"]
    with pytest.raises(codec.CodecError, match="pool 'web': 'settle_seconds' is missing"):
        codec.decode_pool("web", plain, {})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"version": 3}, "backend 'b1': format version 3, this release reads 1 to 2: use the one that wrote it"),
        ({"version": None}, "format version None"),
        ({"colour": "red", "age": 3}, "unknown field age, colour: a newer release wrote it"),
        ({"weight": "1"}, "'1' is not a whole number"),
        ({"weight": True}, "True is not a whole number"),
        ({"address": 7}, "7 is not text"),
        ({"address": "b1"}, "'b1' does not appear to be an IPv4 or IPv6 address"),
        ({"admin_state": "OFF"}, "'OFF' is not a valid AdminState"),
    ],
)
def test_what_this_release_did_not_write_is_refused(change: codec.Plain, complaint: str) -> None:
    with pytest.raises(codec.CodecError) as caught:
        codec.decode_backend("b1", {**codec.encode_backend(B1), **change})
    assert complaint in str(caught.value)


def test_missing_fields_and_other_types_are_refused() -> None:
    with pytest.raises(codec.CodecError, match="vip 'web': 'address' is missing"):
        codec.decode_vip("web", {"version": 2})
    with pytest.raises(codec.CodecError, match="not a JSON object"):
        codec.decode_vip("web", [])  # type: ignore[arg-type]
    plain = codec.encode_vip(Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web"))
    with pytest.raises(codec.CodecError, match="'SCTP' is missing or unknown"):
        codec.decode_vip("web", {**plain, "protocol": "SCTP"})
    with pytest.raises(codec.CodecError, match="1 is not true or false"):
        codec.decode_vip("web", {**plain, "force": 1})
    with pytest.raises(codec.CodecError, match="'COLOUR' is missing or unknown"):
        codec.decode_vip("web", {**plain, "hash_policy": "COLOUR"})
    with pytest.raises(codec.CodecError, match="'5' is not a whole number"):
        codec.decode_pool("web", {**codec.encode_pool(Pool("web")), "udp_settle_seconds": "5"}, {})
    with pytest.raises(codec.CodecError, match="settings: "):
        codec.decode_settings({**codec.encode_settings(Settings()), "outer_source_ipv6": "172.16.0.0/16"})
    with pytest.raises(codec.CodecError, match="hash_key has 1 bytes, not 16"):
        codec.decode_settings({**codec.encode_settings(Settings()), "hash_key": "00"})
