# SPDX-License-Identifier: Apache-2.0
"""The options that make a health check: what goes over the wire."""

from __future__ import annotations

from typing import Any

import pytest
from cli.conftest import Run
from cli.fake_server import FakeServer

from lb.cli import health_options
from lb.cli.main import cli
from lb.v1.pool_pb2 import HealthCheck, Pool


def created(fake: FakeServer, run: Run, *args: str) -> HealthCheck:
    """The check of a pool that was created with these options."""
    result = run("pool", "create", "new", *args)
    assert result.exit_code == 0, result.stderr
    check: HealthCheck = fake.requests[-1].pool.health_check
    return check


def updated(fake: FakeServer, run: Run, *args: str) -> HealthCheck:
    """The check that an update of pool web sent; it has an HTTPS check before."""
    result = run("pool", "update", "web", *args)
    assert result.exit_code == 0, result.stderr
    request = fake.requests[-1]
    assert "health_check" in request.update_mask.paths
    check: HealthCheck = request.pool.health_check
    return check


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ("--health-check tcp", {"kind": "TCP"}),
        ("--health-check ICMP --health-via tunnel", {"kind": "ICMP", "via": "TUNNEL"}),
        (
            "--health-check tcp --health-via direct --health-port 80 --health-interval 500ms --health-timeout 0.2s",
            {"kind": "TCP", "via": "DIRECT", "port": 80, "interval_ms": 500, "timeout_ms": 200},
        ),
        (
            (
                "--health-check tcp --health-interval 2m --health-timeout 3 --health-rise 1 --health-fall 9"
                " --health-jitter 0"
            ),
            {"kind": "TCP", "interval_ms": 120_000, "timeout_ms": 3_000, "rise": 1, "fall": 9, "jitter_percent": 0},
        ),
        (
            (
                "--health-check http --health-method HEAD --health-path /x --health-host a"
                " --health-status 200 --health-body ok"
            ),
            {
                "kind": "HTTP",
                "http": {"method": "HEAD", "path": "/x", "host": "a", "expected_status": "200", "expected_body": "ok"},
            },
        ),
        (
            "--health-check https --health-insecure --health-server-name b --health-ca-file /ca.pem",
            {"kind": "HTTPS", "http": {"insecure_skip_verify": True, "server_name": "b", "ca_file": "/ca.pem"}},
        ),
        (
            "--health-check udp --health-send hex:00 --health-expect ok",
            {"kind": "UDP", "udp": {"send": "hex:00", "expect": "ok"}},
        ),
        ("--health-check grpc --health-service a.B", {"kind": "GRPC", "grpc": {"service": "a.B"}}),
    ],
)
def test_create_sends_what_was_given(empty: FakeServer, run: Run, options: str, fields: dict[str, Any]) -> None:
    """The rest is for the server to fill in."""
    assert created(empty, run, *options.split()) == HealthCheck(**fields)


def test_without_health_options_no_check_is_sent(empty: FakeServer, run: Run) -> None:
    run("pool", "create", "new", "--slow-start", "1m", "--no-fail-open", "--min-healthy", "50", "--on-down", "keep")
    (request,) = empty.requests
    assert request.pool == Pool(slow_start_seconds=60, fail_open=False, min_healthy_percent=50, on_down="KEEP")
    assert request.pool.HasField("fail_open")
    assert not request.pool.HasField("health_check")


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (["--slow-start", "0"], ["slow_start_seconds"]),
        (["--fail-open", "--min-healthy", "0"], ["fail_open", "min_healthy_percent"]),
        (["--on-down", "Reassign"], ["on_down"]),
    ],
)
def test_an_update_of_something_else_leaves_the_check_alone(
    fake: FakeServer, run: Run, options: list[str], paths: list[str]
) -> None:
    assert run("pool", "update", "web", *options).exit_code == 0
    (request,) = fake.requests
    assert list(request.update_mask.paths) == paths


def test_an_update_of_one_option_keeps_the_rest_of_the_check(fake: FakeServer, run: Run) -> None:
    expected = HealthCheck()
    expected.CopyFrom(fake.pools["pools/web"].health_check)
    expected.http.path = "/ready"
    expected.interval_ms = 9_000
    assert updated(fake, run, "--health-path", "/ready", "--health-interval", "9s") == expected


def test_an_update_can_reset_what_has_no_other_way_to(fake: FakeServer, run: Run) -> None:
    """An empty text, port 0 and a "no" are the defaults again."""
    fake.pools["pools/web"].health_check.http.insecure_skip_verify = True
    args = ["--health-host", "", "--health-server-name", "", "--health-port", "0", "--no-health-insecure"]
    check = updated(fake, run, *args)
    assert (check.http.host, check.http.server_name, check.port) == ("", "", 0)
    assert check.http.insecure_skip_verify is False
    assert check.http.path == "/healthz"


def test_an_update_of_the_check_is_guarded_by_what_was_read(fake: FakeServer, run: Run) -> None:
    """Else the options that somebody else set meanwhile would be lost."""
    etag = fake.pools["pools/web"].etag
    updated(fake, run, "--health-fall", "5")
    assert fake.requests[-1].pool.etag == etag
    stale = run("pool", "update", "web", "--health-fall", "6", "--etag", "mine")
    assert fake.requests[-1].pool.etag == "mine"
    assert stale.exit_code == 4


def test_another_kind_keeps_what_both_have(fake: FakeServer, run: Run) -> None:
    before = HealthCheck()
    before.CopyFrom(fake.pools["pools/web"].health_check)
    plain = updated(fake, run, "--health-check", "http")
    assert (plain.kind, plain.http.path, plain.http.host) == (HealthCheck.HTTP, "/healthz", "www.example.com")
    assert plain.http.server_name == ""
    tcp = updated(fake, run, "--health-check", "tcp")
    assert (tcp.kind, tcp.port, tcp.timeout_ms) == (HealthCheck.TCP, before.port, before.timeout_ms)
    assert not tcp.HasField("http")
    ping = updated(fake, run, "--health-check", "icmp")
    assert (ping.kind, ping.port, ping.interval_ms) == (HealthCheck.ICMP, 0, before.interval_ms)


def test_none_removes_the_check(fake: FakeServer, run: Run) -> None:
    assert updated(fake, run, "--health-check", "none") == HealthCheck()
    assert created(fake, run, "--health-check", "none") == HealthCheck()


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--health-check", "smtp"], "'smtp' is not one of 'tcp', 'http', 'https', 'udp', 'grpc', 'icmp', 'none'"),
        (["--health-via", "mail"], "'mail' is not one of 'tunnel', 'direct'"),
        (["--health-interval", "5 s"], "'5 s' is not a time: write it such as 500ms, 5s or 2m"),
        (["--health-timeout", "-1"], "'-1' is not a time"),
        (["--health-timeout", "99999999d"], "'99999999d' is not a time"),
        (["--health-port", "http"], "'http' can't be right: give 1 to 65535, or 0 for the port of the pool's VIP"),
        (["--health-rise", "1.5"], "'1.5' can't be right: give a whole number"),
        (["--slow-start", "1.5s"], "'1.5s' is not a time in whole seconds: write it such as 90s, 10m or 2h"),
        (["--slow-start", "soon"], "'soon' is not a time in whole seconds"),
        (["--min-healthy", "50%"], "'50%' can't be right: give a whole number"),
        (["--on-down", "panic"], "'panic' is not one of 'reassign', 'keep'"),
        (["--health-check", "none", "--health-fall", "3"], "give no other --health option with it"),
        (["--health-host", "\udcff"], "cannot be sent to lbd"),
    ],
)
def test_what_cannot_be_sent_is_refused_here(fake: FakeServer, run: Run, args: list[str], complaint: str) -> None:
    before = dict(fake.pools)
    result = run("pool", "update", "web", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint in " ".join(result.stderr.split())
    assert dict(fake.pools) == before


def test_every_field_of_a_check_has_its_option() -> None:
    """And is named as the field is, so that a violation names the option."""
    message = HealthCheck.DESCRIPTOR
    fields = {field.name for field in message.fields if not field.message_type}
    for field in message.fields:
        if field.message_type:
            fields |= {inner.name for inner in field.message_type.fields}
    assert fields == health_options.FIELDS
    for verb in ("create", "update"):
        params = cli.commands["pool"].commands[verb].params
        assert fields <= {param.name for param in params}
