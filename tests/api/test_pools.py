# SPDX-License-Identifier: Apache-2.0
"""PoolService, over a socket."""

from __future__ import annotations

from ipaddress import IPv4Address

import grpc
import pytest
from fakes.controller import FakeController

from lb.core.model import RING_SIZE, AdminState, Backend, Config, Pool, Protocol, RingState, Vip
from lb.v1.pool_pb2 import (
    CreatePoolRequest,
    DeletePoolRequest,
    GetPoolRequest,
    ListPoolsRequest,
    RingStatus,
    UpdatePoolRequest,
)
from lb.v1.pool_pb2 import Pool as Message

B1 = Backend("b1", IPv4Address("10.0.0.11"), 2)
WEB = Pool("web", "the shop", {"b1": B1})
VIPS = {
    name: Vip(name, IPv4Address("192.0.2.1"), port, Protocol.TCP, "web") for name, port in (("tls", 443), ("web", 80))
}


def seconds(pool: Message) -> tuple[int, int, int]:
    return pool.settle_seconds, pool.udp_settle_seconds, pool.drain_idle_seconds


@pytest.fixture
def controller() -> FakeController:
    return FakeController(Config(pools={"web": WEB, "spare": Pool("spare")}, vips=VIPS))


async def test_get_shows_what_was_set_and_what_came_of_it(api) -> None:
    pool = await api.pools.GetPool(GetPoolRequest(name="pools/web"))
    assert (pool.name, pool.description, list(pool.vips)) == ("pools/web", "the shop", ["vips/tls", "vips/web"])
    assert pool.filled_slots == RING_SIZE
    (member,) = pool.backends
    assert (member.name, member.address, member.weight) == ("pools/web/backends/b1", "10.0.0.11", 2)
    assert (member.status.in_ring, member.status.slots) == (True, RING_SIZE)
    assert (await api.pools.GetPool(GetPoolRequest(name="pools/spare"))).filled_slots == 0


async def test_get_shows_the_slots_of_each_ring_by_state(api, controller: FakeController) -> None:
    """While slots move, flows cost more and need room: an operator watches that come to its end."""
    controller.rings["web", Protocol.TCP] = RingState(Protocol.TCP, RING_SIZE - 30, 10, 20, refusals=7, held_back=True)
    pool = await api.pools.GetPool(GetPoolRequest(name="pools/web"))
    assert list(pool.rings) == [
        RingStatus(
            protocol="TCP",
            stable_slots=RING_SIZE - 30,
            moving_slots=10,
            tracked_slots=20,
            refused_flows=7,
            held_back=True,
        )
    ]
    assert not (await api.pools.GetPool(GetPoolRequest(name="pools/spare"))).rings


async def test_a_pool_has_a_ring_for_each_protocol_of_its_vips(api, controller: FakeController) -> None:
    dns = Vip("dns", IPv4Address("192.0.2.1"), 53, Protocol.UDP, "web")
    controller._config = Config(pools={"web": WEB}, vips={**VIPS, "dns": dns})
    (pool,) = (await api.pools.ListPools(ListPoolsRequest())).pools
    assert [(ring.protocol, ring.stable_slots) for ring in pool.rings] == [("TCP", RING_SIZE), ("UDP", RING_SIZE)]


async def test_create_fills_in_the_default_seconds(api, controller: FakeController) -> None:
    created = await api.pools.CreatePool(CreatePoolRequest(pool_id="new"))
    assert seconds(created) == (7500, 60, 350)
    assert controller.view().config.pools["new"] == Pool("new")


async def test_0_seconds_are_not_the_default(api, controller: FakeController) -> None:
    """0 is how protection is turned off."""
    fields = {"settle_seconds": 0, "udp_settle_seconds": 0, "drain_idle_seconds": 0}
    assert seconds(await api.pools.CreatePool(CreatePoolRequest(pool_id="new", pool=fields))) == (0, 0, 0)
    assert controller.view().config.pools["new"] == Pool("new", **fields)


@pytest.mark.parametrize("field", ["settle_seconds", "udp_settle_seconds", "drain_idle_seconds"])
async def test_seconds_out_of_range_are_refused(api, controller: FakeController, field: str) -> None:
    before = controller.view()
    create = CreatePoolRequest(pool_id="new", pool={field: 604_801})
    update = UpdatePoolRequest(pool={"name": "pools/web", field: 604_801}, update_mask={"paths": [field]})
    for call in (api.pools.CreatePool(create), api.pools.UpdatePool(update)):
        failure = await api.failure(call)
        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(failure.violations) == [f"pool.{field}"]
        assert failure.violations[f"pool.{field}"].startswith("604801 is out of range: give seconds from 0 (")
    assert controller.view() == before


async def test_create_with_members(api, controller: FakeController) -> None:
    members = [
        {"name": "b1", "address": "10.0.0.11"},
        {"name": "pools/new/backends/b2", "address": "10.0.0.12", "weight": 0, "admin_state": "DISABLED"},
    ]
    created = await api.pools.CreatePool(CreatePoolRequest(pool_id="new", pool={"backends": members}))
    assert created == await api.pools.GetPool(GetPoolRequest(name="pools/new"))
    b2 = Backend("b2", IPv4Address("10.0.0.12"), 0, AdminState.DISABLED)
    assert controller.view().config.pools["new"].backends == {"b1": Backend("b1", B1.address), "b2": b2}


async def test_create_reports_every_violation(api, controller: FakeController) -> None:
    before = controller.view()
    members = [
        {"name": "b1", "address": "10.0.0.11:80"},
        {"name": "pools/other/backends/b2", "address": "10.0.0.12", "weight": -1},
        {"name": "b3", "address": "10.0.0.13"},
        {"name": "b3", "address": "10.0.0.14"},
        {"name": "b4", "address": "10.0.0.13"},
    ]
    request = CreatePoolRequest(pool_id="New", pool={"description": "a\nb", "backends": members})
    failure = await api.failure(api.pools.CreatePool(request))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(failure.violations) == {
        "pool_id",
        "pool.description",
        "pool.backends[0].address",
        "pool.backends[1].name",
        "pool.backends[1].weight",
        "pool.backends[3].name",
        "pool.backends[4].address",
    }
    assert controller.view() == before


async def test_more_violations_than_a_trailer_holds_are_counted(api) -> None:
    """HTTP/2 clients refuse large trailers: without a bound, the caller would see no error but a broken stream."""
    members = [{"name": "B" * 1000, "address": "x" * 1000} for _ in range(1000)]
    failure = await api.failure(api.pools.CreatePool(CreatePoolRequest(pool_id="new", pool={"backends": members})))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "pool.backends[0].name" in failure.violations
    assert failure.violations[""].endswith("more violations: mend these first")
    assert len(failure.message) <= 600


async def test_a_taken_name(api) -> None:
    failure = await api.failure(api.pools.CreatePool(CreatePoolRequest(pool_id="web")))
    assert failure.code is grpc.StatusCode.ALREADY_EXISTS
    assert failure.resource == ("lb.v1.Pool", "pools/web")


@pytest.mark.parametrize("mask", [[], ["*"], ["description"]])
async def test_update_changes_the_description_and_nothing_else(api, mask: list[str]) -> None:
    request = UpdatePoolRequest(pool={"name": "pools/web", "description": "new"}, update_mask={"paths": mask})
    updated = await api.pools.UpdatePool(request)
    assert updated.description == "new"
    assert [member.address for member in updated.backends] == ["10.0.0.11"]
    assert updated == await api.pools.GetPool(GetPoolRequest(name="pools/web"))


async def test_an_update_keeps_or_resets_seconds_as_the_mask_says(api) -> None:
    etags = set()
    for wanted, mask, expected in (
        ({"settle_seconds": 0, "udp_settle_seconds": 30}, ["settle_seconds", "udp_settle_seconds"], (0, 30, 350)),
        ({"drain_idle_seconds": 5, "settle_seconds": 9}, ["drain_idle_seconds"], (0, 30, 5)),
        ({"description": "new"}, ["description"], (0, 30, 5)),
        ({}, ["settle_seconds"], (7500, 30, 5)),
        ({"drain_idle_seconds": 6}, [], (7500, 60, 6)),
    ):
        request = UpdatePoolRequest(pool={"name": "pools/web", **wanted}, update_mask={"paths": mask})
        updated = await api.pools.UpdatePool(request)
        assert seconds(updated) == expected
        assert [member.weight for member in updated.backends] == [2]
        etags.add(updated.etag)
    assert len(etags) == 5


async def test_members_sent_back_in_part_are_still_the_same(api) -> None:
    """The weight and state that a member leaves out are no wish to change them."""
    member = {"name": "b1", "address": "10.0.0.11"}
    request = UpdatePoolRequest(pool={"name": "pools/web", "settle_seconds": 9, "backends": [member]})
    assert [item.weight for item in (await api.pools.UpdatePool(request)).backends] == [2]


async def test_rings_are_reported_not_set(api) -> None:
    request = UpdatePoolRequest(pool={"name": "pools/web"}, update_mask={"paths": ["rings"]})
    failure = await api.failure(api.pools.UpdatePool(request))
    assert failure.violations["update_mask"].startswith("rings is reported by the balancer, not set; ")


async def test_a_pool_that_was_read_can_be_edited_and_sent_back(api) -> None:
    pool = await api.pools.GetPool(GetPoolRequest(name="pools/web"))
    pool.description = ""
    assert (await api.pools.UpdatePool(UpdatePoolRequest(pool=pool))).description == ""


async def test_update_leaves_the_members_to_backend_service(api) -> None:
    """Silently ignoring them would look like success."""
    remedy = "can't be changed by an update: create, update or delete its backends with BackendService"
    pool = await api.pools.GetPool(GetPoolRequest(name="pools/web"))
    pool.backends[0].weight = 9
    failure = await api.failure(api.pools.UpdatePool(UpdatePoolRequest(pool=pool)))
    assert failure.violations == {"pool.backends": remedy}
    request = UpdatePoolRequest(pool={"name": "pools/web"}, update_mask={"paths": ["backends"]})
    failure = await api.failure(api.pools.UpdatePool(request))
    assert failure.violations == {"update_mask": f"backends {remedy}"}


async def test_bad_descriptions_are_refused(api) -> None:
    for description in ("x" * 257, "two\nlines"):
        request = UpdatePoolRequest(pool={"name": "pools/web", "description": description})
        failure = await api.failure(api.pools.UpdatePool(request))
        assert list(failure.violations) == ["pool.description"]


async def test_delete_removes_the_pool(api, controller: FakeController) -> None:
    etag = (await api.pools.GetPool(GetPoolRequest(name="pools/spare"))).etag
    await api.pools.DeletePool(DeletePoolRequest(name="pools/spare", validate_only=True))
    await api.pools.DeletePool(DeletePoolRequest(name="pools/spare", etag=etag))
    assert set(controller.view().config.pools) == {"web"}


async def test_a_pool_in_use_is_not_deleted(api, controller: FakeController) -> None:
    before = controller.view()
    failure = await api.failure(api.pools.DeletePool(DeletePoolRequest(name="pools/web")))
    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert "pool 'web' is used by vip tls, web" in failure.message
    assert failure.resource == ("lb.v1.Pool", "pools/web")
    assert controller.view() == before


async def test_a_change_of_a_member_makes_the_etag_stale(api, controller: FakeController) -> None:
    """Deleting a pool deletes its members: those that the caller has seen, no others."""
    pool = await api.pools.GetPool(GetPoolRequest(name="pools/web"))
    controller._config = Config(pools={"web": Pool("web", "the shop")})
    for call in (
        api.pools.DeletePool(DeletePoolRequest(name="pools/web", etag=pool.etag)),
        api.pools.UpdatePool(UpdatePoolRequest(pool=pool)),
    ):
        failure = await api.failure(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.ABORTED, "STALE_ETAG")


async def test_what_does_not_exist_and_what_is_no_name(api) -> None:
    for name, code in (
        ("pools/nope", grpc.StatusCode.NOT_FOUND),
        ("vips/web", grpc.StatusCode.INVALID_ARGUMENT),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        for call in (
            api.pools.GetPool(GetPoolRequest(name=name)),
            api.pools.UpdatePool(UpdatePoolRequest(pool={"name": name})),
            api.pools.DeletePool(DeletePoolRequest(name=name)),
        ):
            assert (await api.failure(call)).code is code


async def test_list_is_in_the_order_of_names(api) -> None:
    listed = await api.pools.ListPools(ListPoolsRequest())
    assert [pool.name for pool in listed.pools] == ["pools/spare", "pools/web"]
    assert listed.pools[1] == await api.pools.GetPool(GetPoolRequest(name="pools/web"))
