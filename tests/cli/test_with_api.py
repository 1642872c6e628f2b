# SPDX-License-Identifier: Apache-2.0
"""``lbctl`` against the real API over a fake data plane: what an operator reads after a mistake."""

from __future__ import annotations

import json

import pytest
import yaml
from cli.conftest import Run, cells

VIP = ["vip", "create", "new", "--address", "192.0.2.9", "--port", "80", "--protocol", "tcp", "--pool", "web"]


def vip(**changed: str) -> list[str]:
    """Arguments that would create a VIP, but for what is changed."""
    args = list(VIP)
    for option, value in changed.items():
        args[args.index(f"--{option}") + 1] = value
    return args


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (vip(address="192.0.2.x"), 2, ["vip.address: ", "is not an IP address", "(--address)"]),
        (vip(port="70000"), 2, ["vip.port: 70000 is not a port: 1 to 65535", "(--port)"]),
        (vip(protocol="sctp"), 2, ["--protocol", "'sctp' is not one of 'tcp', 'udp'"]),
        (vip(address="192.0.2.1"), 4, ["vip 'web' already", "choose another port"]),
        (["vip", "create", "web", *vip()[3:]], 4, ["vip 'web' exists already", "lbctl vip update"]),
        (vip(pool="nope"), 3, ["vip.pool: ", "create it first"]),
        (vip(address="192.0.2.200"), 4, ["is an address of this balancer", "--force"]),
        (["backend", "create", "web/b2", "--address", "10.0.0.12", "--weight", "-1"], 2, ["backend.weight: -1"]),
        (["backend", "update", "web/b1", "--weight", "65536"], 2, ["backend.weight: 65536", "(--weight)"]),
        (["backend", "update", "web/b1", "--weight", "3", "--etag", "old"], 4, ["was changed meanwhile"]),
        (["backend", "create", "web/b2", "--address", "10.0.0.12:8080"], 2, ["server return cannot change ports"]),
        (["backend", "create", "web/b2", "--address", "fe80::2"], 2, ["backend.address: fe80::2 is link-local"]),
        (vip(address="ff02::1"), 2, ["vip.address: ff02::1 is a multicast address: use a unicast address (--address)"]),
        (
            ["pool", "create", "new", "--settle-seconds", "604801", "--udp-settle-seconds", "86401"],
            2,
            ["pool.settle_seconds: 604801 is out of range", "(--settle-seconds)", "(--udp-settle-seconds)"],
        ),
        (
            ["pool", "update", "web", "--drain-idle-seconds", "604801"],
            2,
            ["pool.drain_idle_seconds: 604801 is out of range: give seconds from 0", "(--drain-idle-seconds)"],
        ),
        (
            ["pool", "create", "new", "--health-path", "healthz", "--health-rise", "0"],
            2,
            [
                "pool.health_check.kind: is required: one of TCP, HTTP, HTTPS, UDP, GRPC, ICMP (--health-check)",
                "pool.health_check.http.path: 'healthz' is not a path: begin with '/'",
                "such as /healthz (--health-path)",
                "pool.health_check.rise: 0 is out of range: give successes in a row from 1 to 100 (--health-rise)",
            ],
        ),
        (
            ["pool", "update", "web", "--health-check", "tcp", "--health-interval", "1s", "--health-timeout", "2s"],
            2,
            ["pool.health_check.timeout_ms: 2000 is longer than the interval of 1000 ms", "(--health-timeout)"],
        ),
        (
            ["pool", "update", "web", "--health-check", "tcp", "--health-send", "hi"],
            2,
            ["pool.health_check.udp: is for UDP checks, this one is TCP: remove it, or choose kind UDP"],
        ),
        (
            ["pool", "update", "web", "--slow-start", "2h", "--min-healthy", "101"],
            2,
            ["pool.slow_start_seconds: 7200 is out", "(--slow-start)", "pool.min_healthy_percent", "(--min-healthy)"],
        ),
        (["backend", "drain", "web/b1", "--deadline", "8d"], 2, ["deadline_seconds: 691200 is out", "(--deadline)"]),
        (["backend", "drain", "web/b1", "web/b9"], 3, ["backend web/b9 does not exist"]),
        (["pool", "delete", "web"], 4, ["is used by vip web", "point it at another pool"]),
        (["vip", "get", "nope"], 3, ["vip 'nope' does not exist", "lbctl vip list"]),
        (["vip", "get", "a/b"], 2, ["'a/b' names no VIP: write a name such as web, without a slash"]),
    ],
)
def test_mistakes_name_field_and_remedy_and_change_nothing(
    real: Run, args: list[str], code: int, words: list[str]
) -> None:
    before = real("export").stdout
    result = real(*args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert [word for word in words if word not in result.stderr] == []
    assert real("export").stdout == before


def test_weights_become_shares(real: Run) -> None:
    """`backend update --weight 3` beside a weight of 1 must give three quarters."""
    real("backend", "create", "web/b2", "--address", "10.0.0.12")
    result = real("backend", "update", "web/b1", "--weight", "3", "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["weight"]) == (0, 3)
    rows = cells(real("backend", "list", "web").stdout)[1:]
    assert [(row[0], row[2], row[4]) for row in rows] == [("web/b1", "3", "75.0%"), ("web/b2", "1", "25.0%")]


def test_what_is_set_is_shown_and_exported(real: Run) -> None:
    """An IPv6 VIP over IPv4 and IPv6 backends, each setting other than its default."""
    assert real("backend", "create", "web/b2", "--address", "2001:db8:1::12").exit_code == 0
    assert real("pool", "update", "web", "--settle-seconds", "0", "--drain-idle-seconds", "9").exit_code == 0
    assert real("vip", "create", "six", *vip(address="2001:db8::9")[3:], "--hash-policy", "source").exit_code == 0
    shown = dict(cells(real("pool", "get", "web").stdout))
    assert (shown["SETTLE"], shown["DRAIN-IDLE"]) == ("0 s for TCP, 60 s for UDP", "9 s")
    assert shown["TCP-SLOTS"] == "65537 stable, 0 moving, 0 tracked; 0 flows refused"
    assert dict(cells(real("vip", "get", "six").stdout))["HASH-POLICY"] == "source"
    exported = yaml.safe_load(real("export").stdout)
    assert exported["settings"] == {"outer_source_ipv4": "172.16.0.0/16", "outer_source_ipv6": "100::/64"}
    (pool,), (six, web) = exported["pools"], exported["vips"]
    assert (pool["health_check"], pool["fail_open"], pool["on_down"]) == ({}, True, "REASSIGN")
    assert (pool["settle_seconds"], pool["udp_settle_seconds"], pool["drain_idle_seconds"]) == (0, 60, 9)
    assert [member["address"] for member in pool["backends"]] == ["10.0.0.11", "2001:db8:1::12"]
    assert (six["address"], six["hash_policy"], web["hash_policy"]) == ("2001:db8::9", "SOURCE", "FIVE_TUPLE")


def test_an_exported_etag_is_accepted(real: Run) -> None:
    """Read, edit, write back: the way that is safe beside other operators."""
    etag = json.loads(real("vip", "get", "web", "-o", "json").stdout)["etag"]
    assert real("vip", "delete", "web", "--etag", etag).stderr == "deleted vip web\n"
    assert real("pool", "delete", "web").exit_code == 0


def test_a_check_is_set_changed_and_removed(real: Run) -> None:
    """One option at a time: the rest stays."""

    def shown() -> str:
        return dict(cells(real("pool", "get", "web").stdout))["HEALTH-CHECK"]

    assert shown() == "-"
    assert real("pool", "update", "web", "--health-check", "http", "--health-path", "/healthz").exit_code == 0
    assert real("pool", "update", "web", "--health-interval", "500ms", "--health-timeout", "200ms").exit_code == 0
    assert shown() == (
        "http GET /healthz, expects 200-399; via tunnel where there is a VIP, port of the pool's first VIP; "
        "every 500ms (+-10%), timeout 200ms; up after 2, down after 3"
    )
    assert real("pool", "update", "web", "--health-check", "icmp", "--health-via", "direct").exit_code == 0
    assert shown() == "icmp; via direct; every 500ms (+-10%), timeout 200ms; up after 2, down after 3"
    assert real("pool", "update", "web", "--health-check", "none").exit_code == 0
    assert shown() == "-"


def test_drain_disable_and_enable(real: Run) -> None:
    """The words in the order of a maintenance that takes longer than thought."""

    def state() -> tuple[str, str]:
        shown = dict(cells(real("backend", "get", "web/b1").stdout))
        return shown["ADMIN"], shown["DEADLINE"].partition("(")[2]

    assert real("backend", "drain", "web/b1", "--deadline", "1h").exit_code == 0
    admin, deadline = state()
    assert admin == "draining"
    assert deadline.startswith(("in 1h)", "in 59m"))
    assert real("backend", "drain", "web/b1").exit_code == 0
    assert state() == ("draining", "")
    assert real("backend", "disable", "web/b1").exit_code == 0
    refused = real("backend", "drain", "web/b1")
    assert (refused.exit_code, refused.stdout) == (4, "")
    assert "backend web/b1 is disabled, so it has no flows to wait for" in refused.stderr
    assert real("backend", "undrain", "web/b1").exit_code == 4
    assert real("backend", "enable", "web/b1").exit_code == 0
    assert state() == ("enabled", "")
    real("backend", "drain", "web/b1")
    assert real("backend", "undrain", "web/b1").exit_code == 0
    assert state() == ("enabled", "")
