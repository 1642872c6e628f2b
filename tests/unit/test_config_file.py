# SPDX-License-Identifier: Apache-2.0
"""The YAML configuration file: every mistake has its line, its field and its remedy, all in one go."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
import yaml
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.api import config_file, yaml_walk
from lb.api.config_file import ConfigFileError, dump, load, merge, parse
from lb.core.checks import CheckKind, CheckVia, HealthCheck
from lb.core.model import MAX_WEIGHT, AdminState, Backend, Config, HashPolicy, OnDown, Pool, Protocol, Settings, Vip
from lb.v1 import config_pb2

GOOD = """\
settings:
  hash_key: 0f112233445566778899001122334455
  outer_source_ipv4: off
  outer_source_ipv6: 2001:db8::/48
pools:
  - name: web
    description: the shop
    health_check:
      kind: HTTPS
      interval_ms: 1000
      http: {path: /healthz, expected_status: 200, insecure_skip_verify: true}
    fail_open: false
    on_down: KEEP
    settle_seconds: 300
    udp_settle_seconds: 0
    drain_idle_seconds: 30
    backends:
      - {name: b1, address: 10.0.0.11, weight: 2}
      - {name: pools/web/backends/b2, address: 10.0.0.12, admin_state: DRAINING, drain_deadline_at_seconds: 1600000000}
  - name: pools/dns
vips:
  - {name: web, address: 192.0.2.1, port: 80, protocol: TCP, pool: web}
  - {name: vips/dns, address: 192.0.2.1, protocol: UDP, pool: pools/dns, force: true, hash_policy: SOURCE}
"""
B1 = Backend("b1", IPv4Address("10.0.0.11"), 2)
B2 = Backend("b2", IPv4Address("10.0.0.12"), 1, AdminState.DRAINING, 1_600_000_000)
CHECK = HealthCheck(CheckKind.HTTPS, None, 0, 1_000, 1_000, path="/healthz", expected_status="200", verify_tls=False)
WEB = Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")
CONFIG = Config(
    Settings(bytes.fromhex("0f112233445566778899001122334455"), None, IPv6Network("2001:db8::/48")),
    {
        "web": Pool("web", "the shop", {"b1": B1, "b2": B2}, 300, 0, 30, CHECK, 0, False, 0, OnDown.KEEP),
        "dns": Pool("dns"),
    },
    {"web": WEB, "dns": Vip("dns", IPv4Address("192.0.2.1"), 0, Protocol.UDP, "dns", True, HashPolicy.SOURCE)},
)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigFileError) as caught:
        parse(text, "lb.yaml")
    assert str(caught.value) == caught.value.message
    assert len(caught.value.violations) == len(caught.value.message.splitlines())
    return caught.value.message.splitlines()


def test_a_good_file_gives_its_configuration() -> None:
    config, changed = merge(Config(), parse(GOOD, "lb.yaml"))
    assert config == CONFIG
    assert changed == [
        "settings",
        "pools/dns",
        "pools/web",
        "pools/web/backends/b1",
        "pools/web/backends/b2",
        "vips/dns",
        "vips/web",
    ]


@pytest.mark.parametrize("text", ["", "\n# nothing yet\n", "---\n", "pools:\nvips: []\nsettings:\n", "{}"])
def test_an_empty_file_changes_nothing(text: str) -> None:
    assert merge(CONFIG, parse(text, "lb.yaml")) == (CONFIG, [])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("vip:\n", "1:1: vip: unknown field, did you mean 'vips'?; known here: settings, pools, vips"),
        ("pools: 3", "1:8: pools: needs a list, every item after '- ', not '3'"),
        ("pools: {name: web}", "1:8: pools: needs a list, every item after '- ', not a mapping"),
        ("settings: [1]", "1:11: settings: needs fields, 'name: value' each on a line, not a list"),
        ("- pools", "1:1: file: needs fields, 'name: value' each on a line, not a list"),
        ("pools: [web]", "1:9: pools[0]: needs fields, 'name: value' each on a line, not 'web'"),
        ("pools: [{name: [web]}]", "1:16: pools[0].name: needs one value, not a list"),
        ("pools: [{name: }]", "1:16: pools[0].name: has no value: give one, or remove the line"),
        ("pools: [{name: web, name: dns}]", "1:21: pools[0].name: is there twice, first in line 1: remove one"),
        ("pools: [{name: web, etag: x}]", "1:21: pools[0].etag: is reported by the balancer, not set: remove it"),
        ("pools: [{name: web, vips: []}]", "1:21: pools[0].vips: is reported by the balancer, not set: remove it"),
        ("pools: [{name: web, rings: []}]", "1:21: pools[0].rings: is reported by the balancer, not set: remove it"),
        (
            "pools: [{name: web, settle_seconds: 604801}]",
            "1:37: pools[0].settle_seconds: 604801 is out of range: give seconds from 0 (flows are not protected)",
        ),
        (
            "pools: [{name: web, udp_settle_seconds: 86401}]",
            "1:41: pools[0].udp_settle_seconds: 86401 is out of range: give seconds from 0 (flows are not protected)",
        ),
        (
            "pools: [{name: web, drain_idle_seconds: 604801}]",
            "1:41: pools[0].drain_idle_seconds: 604801 is out of range: give seconds from 0 (silent clients are not",
        ),
        (
            "pools: [{name: web, settle_seconds: -1}]",
            "1:37: pools[0].settle_seconds: -1 is out of range",
        ),
        ("pools: [{name: web, settle_seconds: 5m}]", "1:37: pools[0].settle_seconds: '5m' is not a whole number"),
        ("pools: [{name: web, settle: 5}]", "1:21: pools[0].settle: unknown field, did you mean 'settle_seconds'?"),
        (
            "pools: [{name: web, filled_slots: 1}]",
            "1:21: pools[0].filled_slots: is reported by the balancer, not set: remove it",
        ),
        ("pools: [{name: web}, {name: pools/web}]", "1:29: pools[1].name: 'web' is there twice, see pools[0]: rename"),
        ("pools: [{}]", "1:9: pools[0].name: is required: lower-case letters"),
        ("pools: [{name: vips/web}]", "1:16: pools[0].name: 'vips/web' is not of this form: write a resource name"),
        ("settings: {hash_key: ab}", "1:22: settings.hash_key: needs 32 hexadecimal digits"),
        ("settings: {outer_source_ipv4: on}", "1:31: settings.outer_source_ipv4: 'on' is not an IPv4 prefix"),
        (
            "settings: {outer_source_ipv6: 100::/97}",
            "1:31: settings.outer_source_ipv6: '100::/97' has the wrong",
        ),
        ("settings: {outer_source_ipv6: 10.0.0.0/8}", "1:31: settings.outer_source_ipv6: '10.0.0.0/8' is not an IPv6"),
        ("? [a]\n: 3", "1:3: a list: unknown field; known here: settings, pools, vips"),
        ("pööls: []", "1:1: p\\xf6\\xf6ls: unknown field, did you mean 'pools'?"),
    ],
)
def test_mistakes_outside_of_backends_and_vips(text: str, line: str) -> None:
    (found,) = problems(text)
    assert found.startswith(f"lb.yaml:{line}")


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("weight: -1", "weight: -1 is not a weight: 0 (no new flows) to 65535"),
        ("weight: 99999999999", "weight: 99999999999 is out of range"),
        ("weight: two", "weight: 'two' is not a whole number: write decimal digits, without quotes"),
        ("weight: '2'", "weight: '2' is not a whole number: write decimal digits, without quotes"),
        ("weight: 0x10", "weight: '0x10' is not a whole number"),
        ("weight: 010", "weight: '010' is not a whole number"),
        ("weight: 1.5", "weight: '1.5' is not a whole number"),
        ("weight:", "weight: has no value: give one, or remove the line"),
        (
            "admin_state: enabled",
            "admin_state: 'enabled' is not known, did you mean 'ENABLED'?; choose one of ENABLED,",
        ),
        ("admin_state: 1", "admin_state: '1' is not known; choose one of ENABLED, DRAINING, DISABLED"),
        ("admin_state: ADMIN_STATE_UNSPECIFIED", "admin_state: 'ADMIN_STATE_UNSPECIFIED' is not known"),
        ("adminState: ENABLED", "adminState: unknown field, did you mean 'admin_state'?; known here: name, address,"),
        ("wieght: 2", "wieght: unknown field, did you mean 'weight'?; known here: name, address, weight, admin_state"),
        ("status: {in_ring: true}", "status: is reported by the balancer, not set: remove it"),
    ],
)
def test_mistakes_in_a_backend(field: str, line: str) -> None:
    text = f"pools:\n  - name: web\n    backends:\n      - name: b1\n        address: 10.0.0.11\n        {field}\n"
    (found,) = problems(text)
    where, _, message = found.partition(" pools[0].backends[0].")
    assert message.startswith(line)
    assert where.startswith("lb.yaml:6:")


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ("address: 10.0.0.11:8080", "address: '10.0.0.11:8080' is not an address: direct server return cannot change"),
        ("adress: 10.0.0.11", "adress: unknown field, did you mean 'address'?"),
        ("weight: 3", "address: is required"),
        ("address: 10.0.0.12", "address: 10.0.0.12 is backend 'b2' already: remove one"),
        ("address: 10.0.0.13, name: b2", "name: is there twice"),
    ],
)
def test_mistakes_with_addresses_of_backends(fields: str, line: str) -> None:
    text = "pools: [{name: web, backends: [{name: b2, address: 10.0.0.12}, {name: b1, %s}]}]" % fields  # noqa: UP031
    (found,) = problems(text)
    assert found.partition(" pools[0].backends[1].")[2].startswith(line)


def test_members_are_named_once_and_in_their_pool() -> None:
    text = "pools: [{name: web, backends: [{name: %s, address: 10.0.0.11}, {name: b2, address: 10.0.0.12}]}]"
    (found,) = problems(text % "b2")
    assert "pools[0].backends[1].name: 'b2' is there twice: give each backend its own name" in found
    (found,) = problems(text % "pools/dns/backends/b1")
    assert "write a resource name such as pools/web/backends/b1" in found


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ("port: 70000, protocol: TCP, pool: web", "port: 70000 is not a port: 1 to 65535, or 0 for every port"),
        ("port: -1, protocol: TCP, pool: web", "port: -1 is out of range"),
        ("port: 80, pool: web", "protocol: is required: TCP or UDP"),
        (
            "port: 80, protocol: SCTP, pool: web",
            "protocol: 'SCTP' is not known; choose one of TCP, UDP",
        ),
        (
            "protocol: TCP, pool: web, hash_policy: five-tuple",
            "hash_policy: 'five-tuple' is not known, did you mean 'FIVE_TUPLE'?; choose one of FIVE_TUPLE, SOURCE,",
        ),
        ("protocol: TCP, pool: web, hash_policy: 1", "hash_policy: '1' is not known; choose one of FIVE_TUPLE,"),
        ("port: 80, protocol: TCP", "pool: is required"),
        ("port: 80, protocol: TCP, pool: Web", "pool: 'Web' is not a name"),
        (
            "protocol: TCP, pool: web, force: yes",
            "force: 'yes' is not a yes or no: write true or false, without quotes",
        ),
        ("protocol: TCP, pool: web, force: 'true'", "force: 'true' is not a yes or no"),
    ],
)
def test_mistakes_in_a_vip(fields: str, line: str) -> None:
    (found,) = problems("vips:\n- {name: web, address: 192.0.2.1, %s}" % fields)  # noqa: UP031
    where, _, message = found.partition(" vips[0].")
    assert message.startswith(line)
    assert where.startswith("lb.yaml:2:")


def test_two_vips_cannot_share_an_endpoint() -> None:
    text = "vips:\n- &a {name: a, address: 192.0.2.1, protocol: TCP, pool: web}\n"
    (found,) = problems(text + "- {name: b, address: 192.0.2.1, protocol: TCP, pool: web}")
    assert found == "lb.yaml:3:22: vips[1].address: 192.0.2.1 port 0 TCP is vip 'a' already: change one"
    (found,) = problems(text + "- {name: a, address: 192.0.2.2, protocol: TCP, pool: web}")
    assert found.startswith("lb.yaml:3:10: vips[1].name: 'a' is there twice, see vips[0]")


def test_all_problems_come_at_once_in_the_order_of_lines() -> None:
    text = (
        GOOD.replace("weight: 2", "wieght: 2").replace("port: 80", "port: 70000").replace("10.0.0.12", "10.0.0.12:80")
    )
    assert [line.split(": ")[0] for line in problems(text)] == ["lb.yaml:18:40", "lb.yaml:19:48", "lb.yaml:22:43"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("pools:\n\t- name: web", "2:1: file: is not YAML: "),
        ("pools:\n\t- name: web", ": indent with spaces, not with tabs"),
        ("pools: [", "file: is not YAML: "),
        ("a: 'x", "file: is not YAML: "),
        ("pools:\n  - name: a\n   x: 3", "3:4: file: is not YAML: "),
        ("a: 1\n---\na: 2", "expected a single document in the stream, but found another document"),
        ("pools: &all []\nvips: *all", "2:7: file: aliases ('*name') can't be used here: write it out"),
        ("[" * 100_000, "1:33: file: is nested deeper than 32 levels"),
        ("\x00", "1:1: file: has a character that YAML does not allow: remove it"),
        ("pools:\n- name: \x07", "2:9: file: has a character that YAML does not allow: remove it"),
    ],
)
@pytest.mark.parametrize("loader", {yaml.SafeLoader, config_file._Loader})
def test_what_is_not_yaml(text: str, line: str, loader: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """With libyaml and without, in which the very words may differ."""
    monkeypatch.setattr(config_file, "_Loader", loader)
    (found,) = problems(text)
    assert line in found


def test_a_tag_runs_nothing() -> None:
    (found,) = problems("!!python/object/apply:os.system ['true']")
    assert "needs fields" in found


def test_surrogates_are_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pure Python loader lets half a pair pass; protobuf would not."""
    monkeypatch.setattr(config_file, "_Loader", yaml.SafeLoader)
    (found,) = problems('pools: [{name: web, description: "\\ud800"}]')
    assert "1:34: pools[0].description: is not text" in found


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lb.yaml"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert merge(Config(), load(path))[0] == CONFIG


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lb.yaml"
    with pytest.raises(ConfigFileError, match=r"lb\.yaml: can't be read: No such file"):
        load(path)
    with pytest.raises(ConfigFileError, match="can't be read: Is a directory"):
        load(tmp_path)
    path.write_bytes(b"pools:\n- name: \xff")
    with pytest.raises(ConfigFileError, match=r"lb\.yaml:2:1: file: is not UTF-8 text: save it as UTF-8"):
        load(path)
    monkeypatch.setattr(config_file, "MAX_FILE_BYTES", 5)
    with pytest.raises(ConfigFileError, match="is larger than 5 bytes"):
        load(path)


# Over an existing configuration.


def test_the_file_wins_and_the_rest_stays() -> None:
    text = "pools: [{name: web, settle_seconds: 5, backends: [{name: b1, address: 10.0.0.21, weight: 7}]}]"
    config, changed = merge(CONFIG, parse(text, "lb.yaml"))
    b1 = Backend("b1", IPv4Address("10.0.0.21"), 7)
    assert config.pools["web"] == replace(
        CONFIG.pools["web"], description="", backends={"b1": b1, "b2": B2}, settle_seconds=5
    )
    assert config.pools["dns"] == CONFIG.pools["dns"]
    assert (config.vips, config.settings) == (CONFIG.vips, CONFIG.settings)
    assert changed == ["pools/web", "pools/web/backends/b1"]


def test_a_restart_does_not_undo_a_drain() -> None:
    """Weight and admin state change in operation; a file that says nothing about them must not reset them."""
    text = "pools: [{name: web, description: the shop, backends: [{name: b2, address: 10.0.0.12}]}]"
    assert merge(CONFIG, parse(text, "lb.yaml")) == (CONFIG, [])
    config, changed = merge(CONFIG, parse(text.replace("0.12}", "0.12, admin_state: ENABLED}"), "lb.yaml"))
    assert config.pools["web"].backends["b2"] == replace(B2, admin_state=AdminState.ENABLED, drain_deadline=0)
    assert changed == ["pools/web/backends/b2"]


@pytest.mark.parametrize(
    ("fields", "deadline"),
    [
        ("", 1_600_000_000),
        (", drain_deadline_at_seconds: 1700000000", 1_700_000_000),
        (", admin_state: DRAINING", 0),
        (", admin_state: DRAINING, drain_deadline_at_seconds: 1600000000", 1_600_000_000),
        (", admin_state: DISABLED, drain_deadline_at_seconds: 1700000000", 0),
    ],
)
def test_a_deadline_goes_with_its_admin_state(fields: str, deadline: int) -> None:
    """One that has passed is accepted: an export holds it, and shall be restored at any time."""
    text = "pools: [{name: web, backends: [{name: b2, address: 10.0.0.12%s}]}]" % fields  # noqa: UP031
    assert merge(CONFIG, parse(text, "lb.yaml"))[0].pools["web"].backends["b2"].drain_deadline == deadline


def test_a_restart_keeps_a_health_check_that_the_file_leaves_out() -> None:
    """Without it, members that are down would get traffic. An empty one says that there is none."""
    text = "pools: [{name: web, description: the shop%s}]"
    assert merge(CONFIG, parse(text % "", "lb.yaml")) == (CONFIG, [])
    for empty in (", health_check: {}", ", health_check: "):
        config, changed = merge(CONFIG, parse(text % empty, "lb.yaml"))
        assert config.pools["web"] == replace(CONFIG.pools["web"], health_check=None)
        assert changed == ["pools/web"]


def test_a_health_check_of_the_file_is_the_whole_check() -> None:
    """No part of the present one shines through."""
    config, _ = merge(CONFIG, parse("pools: [{name: web, health_check: {kind: TCP, port: 80}}]", "lb.yaml"))
    assert config.pools["web"].health_check == HealthCheck(CheckKind.TCP, port=80)


def test_what_a_pool_makes_of_its_checks_is_kept_or_changed_one_by_one() -> None:
    text = (
        "pools: [{name: web, description: the shop, fail_open: true, min_healthy_percent: 40, slow_start_seconds: 9}]"
    )
    config, changed = merge(CONFIG, parse(text, "lb.yaml"))
    assert config.pools["web"] == replace(
        CONFIG.pools["web"], fail_open=True, min_healthy_percent=40, slow_start_seconds=9
    )
    assert changed == ["pools/web"]


@pytest.mark.parametrize(
    ("check", "lines"),
    [
        ("{kind: SMTP}", ["health_check.kind: 'SMTP' is not known; choose one of TCP, HTTP, HTTPS, UDP, GRPC, ICMP"]),
        ("{port: 80}", ["health_check.kind: is required: one of TCP, HTTP"]),
        ("TCP", ["health_check: needs fields, 'name: value' each on a line, not 'TCP'"]),
        ("{kind: TCP, prot: 80}", ["health_check.prot: unknown field, did you mean 'port'?; known here: kind, via,"]),
        ("{kind: TCP, port: 70000}", ["health_check.port: 70000 is not a port"]),
        ("{kind: ICMP, port: 80}", ["health_check.port: pings have no port"]),
        ("{kind: TCP, rise: 0}", ["health_check.rise: 0 is out of range: give successes in a row from 1 to 100"]),
        (
            "{kind: TCP, interval_ms: 500, timeout_ms: 600}",
            ["health_check.timeout_ms: 600 is longer than the interval of 500 ms: give at most 500"],
        ),
        (
            "{kind: TCP, http: {path: x}, udp: {}}",
            [
                "health_check.http: is for HTTP and HTTPS checks, this one is TCP: remove it, or choose kind HTTP or",
                "health_check.http.path: 'x' is not a path: begin with '/'",
                "health_check.udp: is for UDP checks, this one is TCP",
            ],
        ),
        (
            "{kind: HTTP, http: {insecure_skip_verify: true, server_name: a, ca_file: b}}",
            [
                "health_check.http.insecure_skip_verify: is for HTTPS checks, this one is HTTP",
                "health_check.http.server_name: is for HTTPS",
                "health_check.http.ca_file: is for HTTPS",
                "health_check.http.ca_file: 'b' is not an absolute path",
            ],
        ),
        ("{kind: HTTP, http: {method: 'GET /'}}", ["health_check.http.method: 'GET /' is not an HTTP method"]),
        ("{kind: HTTP, http: {expected_status: 2xx}}", ["health_check.http.expected_status: '2xx' is not a status"]),
        ("{kind: UDP, udp: {send: 'hex:0'}}", ["health_check.udp.send: 'hex:0' is not hexadecimal"]),
        ("{kind: HTTPS, http: {insecure_skip_verify: yes}}", ["health_check.http.insecure_skip_verify: 'yes' is not"]),
    ],
)
def test_mistakes_in_a_health_check(check: str, lines: list[str]) -> None:
    found = problems(f"pools:\n- name: web\n  health_check: {check}\n")
    assert len(found) == len(lines)
    for wanted in lines:
        assert any(line.startswith("lb.yaml:3:") and f" pools[0].{wanted}" in line for line in found), wanted


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("slow_start_seconds: 3601", "slow_start_seconds: 3601 is out of range: give seconds from 0 to 3600"),
        ("min_healthy_percent: 101", "min_healthy_percent: 101 is out of range: give percent from 0 to 100"),
        ("on_down: DROP", "on_down: 'DROP' is not known; choose one of REASSIGN, KEEP"),
        ("fail_open: 'no'", "fail_open: 'no' is not a yes or no: write true or false, without quotes"),
        ("failing_open: true", "failing_open: is reported by the balancer, not set: remove it"),
        (
            "backends: [{name: b, address: 10.0.0.1, admin_state: DRAINING, drain_deadline_at_seconds: -1}]",
            "backends[0].drain_deadline_at_seconds: -1 is not a time: give seconds since the epoch, or 0",
        ),
        (
            "backends: [{name: b, address: 10.0.0.1, drain_deadline_at_seconds: tomorrow}]",
            "backends[0].drain_deadline_at_seconds: 'tomorrow' is not a whole number",
        ),
    ],
)
def test_mistakes_in_what_a_pool_makes_of_checks_and_drains(field: str, line: str) -> None:
    (found,) = problems(f"pools:\n- name: web\n  {field}\n")
    where, _, message = found.partition(" pools[0].")
    assert message.startswith(line)
    assert where.startswith("lb.yaml:3:")


@pytest.mark.parametrize(("interval_ms", "timeout_ms"), [(100, 100), (1_999, 1_999), (3_000, 2_000)])
def test_the_default_timeout_fits_into_the_interval(interval_ms: int, timeout_ms: int) -> None:
    """A short interval alone shall do."""
    text = f"pools: [{{name: web, health_check: {{kind: TCP, interval_ms: {interval_ms}}}}}]"
    check = merge(Config(), parse(text, "lb.yaml"))[0].pools["web"].health_check
    assert check == HealthCheck(CheckKind.TCP, interval_ms=interval_ms, timeout_ms=timeout_ms)


def test_a_udp_check_sends_something() -> None:
    text = "pools: [{name: dns, health_check: {kind: UDP}}]"
    check = merge(Config(), parse(text, "lb.yaml"))[0].pools["dns"].health_check
    assert check == HealthCheck(CheckKind.UDP, send=b"\0")


def test_a_restart_does_not_reset_seconds_that_the_file_leaves_out() -> None:
    """They were set in operation to ride out an incident; and 0 in the file is not "left out"."""
    text = "pools: [{name: web, description: the shop%s}]"
    assert merge(CONFIG, parse(text % "", "lb.yaml")) == (CONFIG, [])
    config, changed = merge(CONFIG, parse(text % ", settle_seconds: 0, udp_settle_seconds: 60", "lb.yaml"))
    assert config.pools["web"] == replace(CONFIG.pools["web"], settle_seconds=0, udp_settle_seconds=60)
    assert changed == ["pools/web"]
    fresh, _ = merge(Config(), parse(text % "", "lb.yaml"))
    assert fresh.pools["web"] == Pool("web", "the shop")


def test_a_restart_does_not_move_flows_by_a_hash_policy_that_the_file_leaves_out() -> None:
    text = "vips: [{name: dns, address: 192.0.2.1, protocol: UDP, pool: dns, force: true%s}]"
    assert merge(CONFIG, parse(text % "", "lb.yaml")) == (CONFIG, [])
    config, changed = merge(CONFIG, parse(text % ", hash_policy: FIVE_TUPLE", "lb.yaml"))
    assert config.vips["dns"] == replace(CONFIG.vips["dns"], hash_policy=HashPolicy.FIVE_TUPLE)
    assert changed == ["vips/dns"]


def test_the_prefixes_are_kept_or_changed_one_by_one() -> None:
    config, changed = merge(CONFIG, parse("settings: {outer_source_ipv6: off}", "lb.yaml"))
    assert config.settings == replace(CONFIG.settings, outer_source_ipv6=None)
    assert changed == ["settings"]


def test_ipv6_addresses_in_every_form_that_yaml_allows() -> None:
    """An address that ends in '::' looks like a key to YAML: it takes quotes, and says so by its place."""
    text = """\
pools: [{name: six, backends: [{name: b1, address: 2001:DB8::1}, {name: b2, address: 10.0.0.1}]}]
vips:
- {name: a, address: 2001:db8::a, protocol: TCP, pool: six}
- {name: b, address: "2001:db8::", protocol: TCP, pool: six}
- name: c
  address: 1:2:3:4:5:6:7:8
  protocol: TCP
  pool: six
"""
    config, _ = merge(Config(), parse(text, "lb.yaml"))
    assert [str(vip.address) for vip in config.vips.values()] == ["2001:db8::a", "2001:db8::", "1:2:3:4:5:6:7:8"]
    members = config.pools["six"].backends.values()
    assert [member.address for member in members] == [IPv6Address("2001:db8::1"), IPv4Address("10.0.0.1")]
    (found,) = problems("vips:\n- name: a\n  address: 2001:db8::\n")
    assert found.startswith("lb.yaml:3:")


def test_two_backends_may_swap_addresses() -> None:
    text = "pools: [{name: web, backends: [{name: b1, address: 10.0.0.12}, {name: b2, address: 10.0.0.11}]}]"
    members = merge(CONFIG, parse(text, "lb.yaml"))[0].pools["web"].backends
    assert (members["b1"].address, members["b2"].address) == (B2.address, B1.address)


def test_an_object_that_was_renamed_in_the_file_replaces_its_old_self() -> None:
    """Else lbd would not start with that file, and without lbd nothing can delete the old one."""
    text = """\
pools: [{name: web, description: the shop, backends: [{name: b9, address: 10.0.0.11, weight: 2}]}]
vips: [{name: shop, address: 192.0.2.1, port: 80, protocol: TCP, pool: web}]
"""
    config, changed = merge(CONFIG, parse(text, "lb.yaml"))
    assert config.pools["web"].backends == {"b2": B2, "b9": replace(B1, name="b9")}
    assert config.vips == {"dns": CONFIG.vips["dns"], "shop": replace(WEB, name="shop")}
    assert set(changed) == {"pools/web/backends/b1", "pools/web/backends/b9", "vips/web", "vips/shop"}


def test_a_vip_needs_a_pool_in_the_file_or_beside_it() -> None:
    text = "vips:\n- {name: v, address: 192.0.2.9, protocol: TCP, pool: %s}"
    assert merge(CONFIG, parse(text % "dns", "lb.yaml"))[1] == ["vips/v"]
    with pytest.raises(ConfigFileError) as caught:
        merge(CONFIG, parse(text % "nope", "lb.yaml"))
    assert str(caught.value).startswith(
        "lb.yaml:2:54: vips[0].pool: pool 'nope' does not exist: add it to the file, or create it"
    )
    assert caught.value.reason == "INVALID_CONFIG_FILE"


def test_a_flood_of_problems_is_cut() -> None:
    (*shown, last) = problems_shown("vips:\n" + "- x\n" * 100)
    assert len(shown) == 50
    assert last == "lb.yaml: and 50 more problems"


def problems_shown(text: str) -> list[str]:
    with pytest.raises(ConfigFileError) as caught:
        parse(text, "lb.yaml")
    return str(caught.value).splitlines()


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True) | st.sampled_from(["null", "off", "yes", "true", "n"])
ADDRESSES = st.integers(0x0A000001, 0x0AFFFFFE).map(IPv4Address) | st.integers(0, 2**96 - 1).map(
    lambda low: IPv6Address(0x20010DB8 << 96 | low)
)
DESCRIPTIONS = st.text(st.characters(codec="utf-8"), max_size=40).filter(str.isprintable)


STATES = st.tuples(st.sampled_from([AdminState.ENABLED, AdminState.DISABLED]), st.just(0)) | st.tuples(
    st.just(AdminState.DRAINING), st.just(0) | st.integers(1, 2_000_000_000)
)
WORDS = st.text(st.sampled_from("abc-./:%"), max_size=9)
PAYLOADS = st.binary(min_size=1, max_size=9) | st.sampled_from([b"ping", b"hex:00", "grüß".encode()])


@st.composite
def health_checks(draw: st.DrawFn) -> HealthCheck:
    kind = draw(st.sampled_from(CheckKind))
    check = HealthCheck(
        kind,
        draw(st.none() | st.sampled_from(CheckVia)),
        0 if kind is CheckKind.ICMP else draw(st.integers(0, 65_535)),
        draw(st.integers(5_000, 3_600_000)),
        draw(st.integers(10, 5_000)),
        *(draw(st.integers(1, 100)) for _ in range(2)),
        draw(st.integers(0, 50)),
    )
    match kind:
        case CheckKind.HTTP | CheckKind.HTTPS:
            check = replace(
                check,
                method=draw(st.sampled_from(["GET", "HEAD"])),
                path="/" + draw(WORDS),
                host=draw(WORDS),
                expected_status=draw(st.sampled_from(["200", "200-399", "200,204"])),
                expected_body=draw(DESCRIPTIONS),
            )
        case CheckKind.UDP:
            check = replace(check, send=draw(PAYLOADS), expect=draw(st.just(b"") | PAYLOADS))
        case CheckKind.GRPC:
            check = replace(check, grpc_service=draw(WORDS))
    if kind is CheckKind.HTTPS:
        tls = {"verify_tls": draw(st.booleans()), "server_name": draw(WORDS), "ca_file": "/" + draw(WORDS)}
        check = replace(check, **tls)
    return check


@st.composite
def configs(draw: st.DrawFn) -> Config:
    pools = {}
    for name in draw(st.sets(NAMES, max_size=3)):
        backends = {
            key: Backend(key, address, draw(st.integers(0, MAX_WEIGHT)), *draw(STATES))
            for key, address in zip(
                draw(st.sets(NAMES, max_size=3)), draw(st.sets(ADDRESSES, min_size=3)), strict=False
            )
        }
        seconds = (draw(st.integers(0, most)) for most in (604_800, 86_400, 604_800))
        pools[name] = Pool(
            name,
            draw(DESCRIPTIONS),
            backends,
            *seconds,
            draw(st.none() | health_checks()),
            draw(st.integers(0, 3_600)),
            draw(st.booleans()),
            draw(st.integers(0, 100)),
            draw(st.sampled_from(OnDown)),
        )
    vips = {}
    for port, name in enumerate(draw(st.sets(NAMES, max_size=3 if pools else 0))):
        pool = draw(st.sampled_from(sorted(pools)))
        protocol, policy = draw(st.sampled_from(Protocol)), draw(st.sampled_from(HashPolicy))
        vips[name] = Vip(name, draw(ADDRESSES), port, protocol, pool, draw(st.booleans()), policy)
    network = draw(st.none() | st.integers(8, 30).map(lambda length: IPv4Network(("172.16.0.0", length), strict=False)))
    network_6 = draw(st.none() | st.integers(32, 96).map(lambda length: IPv6Network(("100::", length))))
    return Config(Settings(draw(st.binary(min_size=16, max_size=16)), network, network_6), pools, vips)


@settings(deadline=None)
@given(configs())
def test_an_exported_configuration_reads_back_as_itself(config: Config) -> None:
    """An export is the backup, and how a second balancer gets the same rings."""
    assert merge(Config(), parse(dump(config), "lb.yaml"))[0] == config


@settings(deadline=None)
@given(configs(), configs())
def test_an_exported_object_replaces_all_of_its_old_self(config: Config, other: Config) -> None:
    """Nothing of another balancer's pool or backend shines through."""
    merged, _ = merge(other, parse(dump(config), "lb.yaml"))
    for name, pool in config.pools.items():
        assert replace(merged.pools[name], backends={}) == replace(pool, backends={})
        assert pool.backends.items() <= merged.pools[name].backends.items()
    assert config.vips.items() <= merged.vips.items()


def test_an_export_is_what_a_person_would_write() -> None:
    assert dump(CONFIG) == (
        "settings:\n"
        "  hash_key: 0f112233445566778899001122334455\n"
        "  outer_source_ipv4: 'off'\n"
        "  outer_source_ipv6: 2001:db8::/48\n"
        "pools:\n"
        "- name: dns\n"
        "  settle_seconds: 7500\n"
        "  udp_settle_seconds: 60\n"
        "  drain_idle_seconds: 350\n"
        "  health_check: {}\n"
        "  slow_start_seconds: 0\n"
        "  fail_open: true\n"
        "  min_healthy_percent: 0\n"
        "  on_down: REASSIGN\n"
        "- name: web\n"
        "  description: the shop\n"
        "  backends:\n"
        "  - name: b1\n"
        "    address: 10.0.0.11\n"
        "    weight: 2\n"
        "    admin_state: ENABLED\n"
        "  - name: b2\n"
        "    address: 10.0.0.12\n"
        "    weight: 1\n"
        "    admin_state: DRAINING\n"
        "    drain_deadline_at_seconds: 1600000000\n"
        "  settle_seconds: 300\n"
        "  udp_settle_seconds: 0\n"
        "  drain_idle_seconds: 30\n"
        "  health_check:\n"
        "    kind: HTTPS\n"
        "    interval_ms: 1000\n"
        "    timeout_ms: 1000\n"
        "    rise: 2\n"
        "    fall: 3\n"
        "    jitter_percent: 10\n"
        "    http:\n"
        "      method: GET\n"
        "      path: /healthz\n"
        "      expected_status: '200'\n"
        "      insecure_skip_verify: true\n"
        "  slow_start_seconds: 0\n"
        "  fail_open: false\n"
        "  min_healthy_percent: 0\n"
        "  on_down: KEEP\n"
        "vips:\n"
        "- name: dns\n"
        "  address: 192.0.2.1\n"
        "  protocol: UDP\n"
        "  pool: dns\n"
        "  force: true\n"
        "  hash_policy: SOURCE\n"
        "- name: web\n"
        "  address: 192.0.2.1\n"
        "  port: 80\n"
        "  protocol: TCP\n"
        "  pool: web\n"
        "  hash_policy: FIVE_TUPLE\n"
    )


def test_no_hash_key_is_exported_before_one_is_made() -> None:
    assert "hash_key" not in dump(Config())


KEYS = st.sampled_from(["settings", "pools", "vips", "name", "backends", "address", "weight", "hash_key"]) | st.text()
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
)


@settings(deadline=None)
@given(DOCUMENTS)
def test_no_document_breaks_the_reader(document: object) -> None:
    """Every YAML document ends in a configuration or in a ``ConfigFileError``."""
    with contextlib.suppress(ConfigFileError):
        parse(yaml.safe_dump(document), "lb.yaml")


def test_the_walk_knows_every_type_of_the_schema() -> None:
    """A new field must not surprise the reader of files in production."""
    scalars = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_ENUM, *yaml_walk._INT_BITS}
    for field in input_fields(config_pb2.Config.DESCRIPTOR):
        assert field.message_type or (field.type in scalars and not field.is_repeated), field.full_name


def input_fields(descriptor: Descriptor) -> Iterator[FieldDescriptor]:
    fields = [field for field in descriptor.fields if field.number < yaml_walk.FIRST_OUTPUT_FIELD]
    return itertools.chain(fields, *(input_fields(field.message_type) for field in fields if field.message_type))
