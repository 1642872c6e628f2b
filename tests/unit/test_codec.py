# SPDX-License-Identifier: Apache-2.0
"""The stored form: it survives JSON, and is never guessed at."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core import codec
from lb.core.checks import CheckKind, CheckVia, HealthCheck
from lb.core.model import AdminState, Backend, HashPolicy, OnDown, Pool, Protocol, Settings, Vip

NAMES = st.text(max_size=9)
NUMBERS = st.integers(0, 4_000_000_000)
NETWORKS = st.integers(8, 30).map(lambda length: IPv4Network(("172.16.0.0", length), strict=False))
BACKENDS = st.builds(Backend, NAMES, st.ip_addresses(), st.integers(0, 65535), st.sampled_from(AdminState), NUMBERS)
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
CHECKS = st.builds(
    HealthCheck,
    st.sampled_from(CheckKind),
    st.none() | st.sampled_from(CheckVia),
    *(NUMBERS for _ in range(6)),
    *(NAMES for _ in range(5)),
    st.booleans(),
    *(NAMES for _ in range(2)),
    *(st.binary(max_size=9) for _ in range(2)),
    NAMES,
)
POOLS = st.builds(
    Pool,
    NAMES,
    NAMES,
    st.just({}),
    *(NUMBERS for _ in range(3)),
    st.none() | CHECKS,
    NUMBERS,
    st.booleans(),
    NUMBERS,
    st.sampled_from(OnDown),
)
B1 = Backend("b1", IPv4Address("10.0.0.11"))
CHECK = HealthCheck(CheckKind.UDP, CheckVia.TUNNEL, 53, 1_000, 500, send=b"\x00\xff", expect=b"ok")


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


def test_every_field_of_the_model_is_written() -> None:
    """A field that is forgotten here would be lost at the next restart, and changes of it would keep their etag."""
    pool = Pool("web", health_check=CHECK)
    vip = Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")
    for value, plain in (
        (Settings(), codec.encode_settings(Settings())),
        (pool, codec.encode_pool(pool)),
        (CHECK, codec.encode_pool(pool)["health_check"]),
        (B1, codec.encode_backend(B1)),
        (vip, codec.encode_vip(vip)),
    ):
        assert isinstance(plain, dict)
        assert plain.keys() - {"version"} == {field.name for field in fields(value)} - {"name", "backends"}


def test_the_form_is_what_earlier_releases_wrote() -> None:
    """A change here needs a new VERSION and a reader of the old one."""
    assert codec.encode_backend(replace(B1, admin_state=AdminState.DRAINING, drain_deadline=1_700_000_000)) == {
        "version": 3,
        "address": "10.0.0.11",
        "weight": 1,
        "admin_state": "DRAINING",
        "drain_deadline": 1_700_000_000,
    }
    assert codec.encode_vip(Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")) == {
        "version": 3,
        "address": "192.0.2.1",
        "port": 80,
        "protocol": "TCP",
        "pool": "web",
        "force": False,
        "hash_policy": "FIVE_TUPLE",
    }
    assert codec.encode_pool(Pool("web", "the shop", {"b1": B1})) == {
        "version": 3,
        "description": "the shop",
        "settle_seconds": 7500,
        "udp_settle_seconds": 60,
        "drain_idle_seconds": 350,
        "health_check": None,
        "slow_start_seconds": 0,
        "fail_open": True,
        "min_healthy_percent": 0,
        "on_down": "REASSIGN",
    }
    assert codec.encode_settings(Settings()) == {
        "version": 3,
        "hash_key": "00" * 16,
        "outer_source_ipv4": "172.16.0.0/16",
        "outer_source_ipv6": "100::/64",
    }


def test_a_health_check_is_an_object_inside_its_pool() -> None:
    assert codec.encode_pool(Pool("web", health_check=CHECK))["health_check"] == {
        "kind": "UDP",
        "via": "TUNNEL",
        "port": 53,
        "interval_ms": 1000,
        "timeout_ms": 500,
        "rise": 2,
        "fall": 3,
        "jitter_percent": 10,
        "method": "GET",
        "path": "/",
        "host": "",
        "expected_status": "200-399",
        "expected_body": "",
        "verify_tls": True,
        "server_name": "",
        "ca_file": "",
        "send": "00ff",
        "expect": "6f6b",
        "grpc_service": "",
    }


def test_objects_of_version_1_are_read() -> None:
    """What the first releases wrote, letter by letter: an upgrade must find the configuration as it was."""
    settings = {"version": 1, "hash_key": "00" * 15 + "07", "outer_source_ipv4": None}
    assert codec.decode_settings(settings) == Settings(bytes(15) + b"\7", None, IPv6Network("100::/64"))
    pool = codec.decode_pool("web", {"version": 1, "description": "the shop"}, {"b1": B1})
    assert pool == Pool("web", "the shop", {"b1": B1}, 7500, 60, 350, None, 0, True, 0, OnDown.REASSIGN)
    backend = {"version": 1, "address": "10.0.0.11", "weight": 1, "admin_state": "ENABLED"}
    assert codec.decode_backend("b1", backend) == B1
    vip = {"version": 1, "address": "192.0.2.1", "port": 80, "protocol": "TCP", "pool": "web", "force": True}
    assert codec.decode_vip("web", vip) == Vip(
        "web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web", True, HashPolicy.FIVE_TUPLE
    )


def test_objects_of_version_2_are_read() -> None:
    """Before there were health checks and deadlines."""
    settings = {"version": 2, "hash_key": "00" * 16, "outer_source_ipv4": None, "outer_source_ipv6": None}
    assert codec.decode_settings(settings) == Settings(bytes(16), None, None)
    seconds = {"settle_seconds": 1, "udp_settle_seconds": 2, "drain_idle_seconds": 3}
    pool = codec.decode_pool("web", {"version": 2, "description": "", **seconds}, {})
    assert pool == Pool("web", "", {}, 1, 2, 3, None, 0, True, 0, OnDown.REASSIGN)
    backend = {"version": 2, "address": "10.0.0.11", "weight": 7, "admin_state": "DRAINING"}
    assert codec.decode_backend("b1", backend) == Backend("b1", B1.address, 7, AdminState.DRAINING, 0)
    vip = {**codec.encode_vip(Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")), "version": 2}
    assert codec.decode_vip("web", vip).port == 80


@pytest.mark.parametrize(
    ("version", "field"), [(1, "settle_seconds"), (1, "health_check"), (2, "health_check"), (2, "on_down")]
)
def test_an_object_of_an_older_version_has_no_fields_of_a_later_one(version: int, field: str) -> None:
    later = ("health_check", "slow_start_seconds", "fail_open", "min_healthy_percent", "on_down")
    plain = {name: value for name, value in codec.encode_pool(Pool("web")).items() if name not in later}
    if version == 1:
        plain = {"description": ""}
    with pytest.raises(codec.CodecError, match=f"pool 'web': unknown field {field}"):
        codec.decode_pool("web", {**plain, "version": version, field: 5}, {})


@pytest.mark.parametrize("field", ["settle_seconds", "fail_open"])
def test_an_object_of_this_version_has_all_its_fields(field: str) -> None:
    """Nothing is filled in for an object that this release should have written in full."""
    plain = codec.encode_pool(Pool("web"))
    del plain[field]
    with pytest.raises(codec.CodecError, match=f"pool 'web': '{field}' is missing"):
        codec.decode_pool("web", plain, {})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"version": 4}, "backend 'b1': format version 4, this release reads 1 to 3: use the one that wrote it"),
        ({"version": None}, "format version None"),
        ({"version": True}, "format version True"),
        ({"version": 0}, "format version 0"),
        ({"colour": "red", "age": 3}, "unknown field age, colour: a newer release wrote it"),
        ({"weight": "1"}, "weight: '1' is not a whole number"),
        ({"weight": True}, "weight: True is not a whole number"),
        ({"address": 7}, "address: 7 is not text"),
        ({"address": "b1"}, "address: 'b1' does not appear to be an IPv4 or IPv6 address"),
        ({"admin_state": "OFF"}, "admin_state: 'OFF' is not a valid AdminState"),
        ({"drain_deadline": 1.5}, "drain_deadline: 1.5 is not a whole number"),
    ],
)
def test_what_this_release_did_not_write_is_refused(change: codec.Plain, complaint: str) -> None:
    with pytest.raises(codec.CodecError) as caught:
        codec.decode_backend("b1", {**codec.encode_backend(B1), **change})
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"health_check": 5}, "health_check: 5 is not a JSON object"),
        ({"on_down": "PANIC"}, "on_down: 'PANIC' is not a valid OnDown"),
        ({"fail_open": 1}, "fail_open: 1 is not true or false"),
        ({"udp_settle_seconds": "5"}, "udp_settle_seconds: '5' is not a whole number"),
    ],
)
def test_pools_that_are_refused(change: codec.Plain, complaint: str) -> None:
    with pytest.raises(codec.CodecError) as caught:
        codec.decode_pool("web", {**codec.encode_pool(Pool("web")), **change}, {})
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "SCTP"}, "pool 'web': health_check: kind: 'SCTP' is not a valid CheckKind"),
        ({"via": "MAIL"}, "health_check: via: 'MAIL' is not a valid CheckVia"),
        ({"send": "xy"}, "health_check: send: non-hexadecimal number"),
        ({"colour": "red"}, "health_check: unknown field colour: a newer release wrote it"),
        ({"version": 3}, "health_check: unknown field version"),
    ],
)
def test_health_checks_that_are_refused(change: codec.Plain, complaint: str) -> None:
    plain = codec.encode_pool(Pool("web", health_check=CHECK))
    check = plain["health_check"]
    assert isinstance(check, dict)
    with pytest.raises(codec.CodecError) as caught:
        codec.decode_pool("web", {**plain, "health_check": {**check, **change}}, {})
    assert complaint in str(caught.value)
    del check["rise"]
    with pytest.raises(codec.CodecError, match="health_check: 'rise' is missing"):
        codec.decode_pool("web", plain, {})


def test_missing_fields_and_other_types_are_refused() -> None:
    with pytest.raises(codec.CodecError, match="vip 'web': 'address' is missing"):
        codec.decode_vip("web", {"version": 3})
    with pytest.raises(codec.CodecError, match="not a JSON object"):
        codec.decode_vip("web", [])  # type: ignore[arg-type]
    plain = codec.encode_vip(Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web"))
    for change, complaint in (
        ({"protocol": "SCTP"}, "protocol: 'SCTP' is not a valid Protocol"),
        ({"protocol": ["TCP"]}, r"protocol: \['TCP'\] is not text"),
        ({"force": 1}, "force: 1 is not true or false"),
        ({"hash_policy": "COLOUR"}, "hash_policy: 'COLOUR' is not a valid HashPolicy"),
    ):
        with pytest.raises(codec.CodecError, match=complaint):
            codec.decode_vip("web", {**plain, **change})
    for field, value, complaint in (
        ("outer_source_ipv6", "172.16.0.0/16", "settings: outer_source_ipv6: "),
        ("hash_key", "00", "settings: hash_key: has 1 bytes, not 16"),
    ):
        with pytest.raises(codec.CodecError, match=complaint):
            codec.decode_settings({**codec.encode_settings(Settings()), field: value})
