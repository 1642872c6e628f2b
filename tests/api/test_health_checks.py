# SPDX-License-Identifier: Apache-2.0
"""Health checks of pools, and what is shown of health, over a socket."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import grpc
import pytest
from fakes.controller import FakeController

from lb.core.checks import CheckKind, CheckVia, HealthCheck
from lb.core.health import Health, Status
from lb.core.model import Backend, Config, OnDown, Pool
from lb.v1.backend_pb2 import GetBackendRequest, HealthStatus
from lb.v1.config_pb2 import GetConfigRequest
from lb.v1.pool_pb2 import CreatePoolRequest, GetPoolRequest, UpdatePoolRequest
from lb.v1.pool_pb2 import HealthCheck as Check

B1 = Backend("b1", IPv4Address("10.0.0.11"))
B2 = Backend("b2", IPv4Address("10.0.0.12"))
CHECK = HealthCheck(CheckKind.HTTPS, CheckVia.DIRECT, 8443, 1_000, 800, 1, 4, 0, host="www.example.com")
SHOWN = Check(
    kind="HTTPS",
    via="DIRECT",
    port=8443,
    interval_ms=1_000,
    timeout_ms=800,
    rise=1,
    fall=4,
    jitter_percent=0,
    http={"method": "GET", "path": "/", "host": "www.example.com", "expected_status": "200-399"},
)
MEMBERS = {"b1": B1, "b2": B2}
WEB = Pool("web", "the shop", MEMBERS, health_check=CHECK, slow_start_seconds=30, on_down=OnDown.KEEP)


@pytest.fixture
def controller() -> FakeController:
    return FakeController(Config(pools={"web": WEB, "bare": Pool("bare", backends=MEMBERS)}))


def pool_of(controller: FakeController, name: str = "web") -> Pool:
    return controller.view().config.pools[name]


async def update(api, mask: list[str], **fields: Any):
    pool = {"name": "pools/web", **fields}
    return await api.pools.UpdatePool(UpdatePoolRequest(pool=pool, update_mask={"paths": mask}))


async def test_get_shows_the_check_in_full(api) -> None:
    pool = await api.pools.GetPool(GetPoolRequest(name="pools/web"))
    assert pool.health_check == SHOWN
    assert (pool.slow_start_seconds, pool.fail_open, pool.min_healthy_percent) == (30, True, 0)
    assert pool.on_down == pool.KEEP
    bare = await api.pools.GetPool(GetPoolRequest(name="pools/bare"))
    assert not bare.HasField("health_check")
    assert bare.on_down == bare.REASSIGN


async def test_an_export_says_that_a_pool_has_no_check(api) -> None:
    """Left out, it would keep that of the balancer which the export is applied to."""
    bare, web = (await api.config.GetConfig(GetConfigRequest())).pools
    assert (bare.HasField("health_check"), bare.health_check) == (True, Check())
    assert web.health_check == SHOWN


async def test_create_fills_in_the_defaults(api, controller: FakeController) -> None:
    fields = {"health_check": {"kind": "TCP"}, "fail_open": False, "min_healthy_percent": 40}
    created = await api.pools.CreatePool(CreatePoolRequest(pool_id="new", pool=fields))
    assert created == await api.pools.GetPool(GetPoolRequest(name="pools/new"))
    wanted = Pool("new", health_check=HealthCheck(CheckKind.TCP), fail_open=False, min_healthy_percent=40)
    assert pool_of(controller, "new") == wanted


@pytest.mark.parametrize(
    ("check", "model"),
    [
        ({"kind": "HTTP", "http": {"path": "/x", "expected_body": "ok"}}, {"path": "/x", "expected_body": "ok"}),
        ({"kind": "HTTPS", "http": {"insecure_skip_verify": True}}, {"verify_tls": False}),
        ({"kind": "HTTPS", "http": {"ca_file": "/ca", "server_name": "a"}}, {"ca_file": "/ca", "server_name": "a"}),
        ({"kind": "UDP"}, {"send": b"\0"}),
        ({"kind": "UDP", "udp": {"send": "hex:0a", "expect": "ok"}}, {"send": b"\n", "expect": b"ok"}),
        ({"kind": "GRPC", "grpc": {"service": "shop.Cart"}}, {"grpc_service": "shop.Cart"}),
        ({"kind": "ICMP", "via": "TUNNEL"}, {"via": CheckVia.TUNNEL}),
        ({"kind": "TCP", "interval_ms": 500, "rise": 9}, {"interval_ms": 500, "timeout_ms": 500, "rise": 9}),
    ],
)
async def test_every_kind_comes_and_goes(api, controller: FakeController, check: dict, model: dict) -> None:
    """What is shown makes the same check again."""
    created = await api.pools.CreatePool(CreatePoolRequest(pool_id="new", pool={"health_check": check}))
    expected = HealthCheck(CheckKind[check["kind"]], **model)
    assert pool_of(controller, "new").health_check == expected
    await api.pools.CreatePool(CreatePoolRequest(pool_id="again", pool={"health_check": created.health_check}))
    assert pool_of(controller, "again").health_check == expected


async def test_all_violations_of_a_check_at_once(api, controller: FakeController) -> None:
    before = controller.view()
    check = {
        "kind": "ICMP",
        "via": 9,
        "port": 80,
        "interval_ms": 99,
        "timeout_ms": 9,
        "rise": 0,
        "fall": 101,
        "jitter_percent": 51,
        "http": {"method": "", "path": "x", "host": "a b", "expected_status": "2xx", "ca_file": "ca"},
        "udp": {"send": "hex:", "expect": "hex:z"},
        "grpc": {"service": "x" * 1_025},
    }
    fields = {"health_check": check, "slow_start_seconds": 3_601, "min_healthy_percent": 101, "on_down": 9}
    failure = await api.failure(api.pools.CreatePool(CreatePoolRequest(pool_id="new", pool=fields)))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID")
    inside = {f"pool.health_check.{field}" for field in check.keys() - {"kind"}} | {
        f"pool.health_check.{field}"
        for field in (
            "http.path",
            "http.host",
            "http.expected_status",
            "http.ca_file",
            "udp.send",
            "udp.expect",
            "grpc.service",
        )
    }
    assert set(failure.violations) == inside | {f"pool.{field}" for field in fields.keys() - {"health_check"}}
    assert controller.view() == before


async def test_an_unknown_kind_is_the_only_complaint(api) -> None:
    """Whether its parts fit can't be told then."""
    for kind, words in ((77, "'77' is not a kind of check"), (0, "is required: one of TCP, HTTP")):
        check = {"kind": kind, "http": {"path": "/"}, "port": 80}
        failure = await api.failure(
            api.pools.CreatePool(CreatePoolRequest(pool_id="new", pool={"health_check": check}))
        )
        assert list(failure.violations) == ["pool.health_check.kind"]
        assert failure.violations["pool.health_check.kind"].startswith(words)


async def test_an_update_replaces_the_check_as_a_whole(api, controller: FakeController) -> None:
    updated = await update(api, ["health_check"], health_check={"kind": "TCP", "port": 80})
    assert pool_of(controller).health_check == HealthCheck(CheckKind.TCP, port=80)
    assert (updated.slow_start_seconds, updated.on_down) == (30, updated.KEEP)


async def test_an_update_of_something_else_keeps_the_check(api, controller: FakeController) -> None:
    await update(api, ["fail_open", "min_healthy_percent"], fail_open=False, min_healthy_percent=10)
    assert pool_of(controller) == Pool("web", "the shop", MEMBERS, 7_500, 60, 350, CHECK, 30, False, 10, OnDown.KEEP)
    await update(api, ["slow_start_seconds", "on_down"])
    assert (pool_of(controller).slow_start_seconds, pool_of(controller).on_down) == (0, OnDown.REASSIGN)


@pytest.mark.parametrize("fields", [{}, {"health_check": {}}])
async def test_an_update_that_leaves_the_check_out_or_empty_removes_it(
    api, controller: FakeController, fields: dict
) -> None:
    await update(api, ["health_check"], **fields)
    assert pool_of(controller).health_check is None


async def test_a_pool_that_was_read_can_be_edited_and_sent_back(api, controller: FakeController) -> None:
    pool = await api.pools.GetPool(GetPoolRequest(name="pools/web"))
    pool.health_check.http.path = "/healthz"
    updated = await api.pools.UpdatePool(UpdatePoolRequest(pool=pool))
    assert updated.etag != pool.etag
    assert pool_of(controller).health_check.path == "/healthz"
    assert pool_of(controller).slow_start_seconds == 30


async def test_a_mask_names_the_check_alone(api) -> None:
    """A half of a check makes no sense beside a kind that has no such half."""
    failure = await api.failure(update(api, ["health_check.port"], health_check={"port": 80}))
    assert failure.violations == {
        "update_mask": "'health_check.port': name health_check alone, it is replaced as a whole"
    }


async def test_without_a_check_health_is_unchecked(api) -> None:
    backend = await api.backends.GetBackend(GetBackendRequest(name="pools/bare/backends/b1"))
    assert backend.status.health == HealthStatus(state="UNCHECKED", weight_percent=100)


async def test_health_is_shown_with_since_when_and_why(api, controller: FakeController) -> None:
    controller.healths["web", "b1"] = Health(Status.DOWN, 1_700_000_000.25, "connection refused")
    controller.healths["web", "b2"] = Health(Status.UP, 1_700_000_100.0, "", 40)
    controller.failing_open = frozenset({"web"})
    pool = await api.pools.GetPool(GetPoolRequest(name="pools/web"))
    down, up = (backend.status.health for backend in pool.backends)
    since = {"seconds": 1_700_000_000, "nanos": 250_000_000}
    assert down == HealthStatus(state="DOWN", since=since, last_error="connection refused", weight_percent=100)
    assert up == HealthStatus(state="UP", since={"seconds": 1_700_000_100}, weight_percent=40)
    assert pool.failing_open
    assert not (await api.pools.GetPool(GetPoolRequest(name="pools/bare"))).failing_open


async def test_without_a_verdict_there_is_no_since(api, controller: FakeController) -> None:
    controller.healths["web", "b1"] = Health(Status.UNKNOWN)
    backend = await api.backends.GetBackend(GetBackendRequest(name="pools/web/backends/b1"))
    assert backend.status.health == HealthStatus(state="UNKNOWN", weight_percent=100)


async def test_a_flapping_backend_makes_no_etag_stale(api, controller: FakeController) -> None:
    etag = (await api.pools.GetPool(GetPoolRequest(name="pools/web"))).etag
    controller.healths["web", "b1"] = Health(Status.DOWN, 1.0, "timeout")
    assert (await api.pools.GetPool(GetPoolRequest(name="pools/web"))).etag == etag
