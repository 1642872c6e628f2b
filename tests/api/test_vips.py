# SPDX-License-Identifier: Apache-2.0
"""VipService, over a socket."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import grpc
import pytest
from fakes.controller import FakeController

from lb.core.limits import MAX_VIPS
from lb.core.model import Backend, Config, HashPolicy, Pool, Protocol, Vip
from lb.v1.vip_pb2 import (
    CreateVipRequest,
    DeleteVipRequest,
    GetVipRequest,
    ListVipsRequest,
    UpdateVipRequest,
)
from lb.v1.vip_pb2 import Vip as Message

POOLS = {"web": Pool("web"), "spare": Pool("spare")}
WEB = Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")
FIELDS = {"address": "192.0.2.1", "port": 80, "protocol": "TCP", "pool": "pools/web", "hash_policy": "FIVE_TUPLE"}


@pytest.fixture
def controller() -> FakeController:
    return FakeController(Config(pools=POOLS, vips={"web": WEB}))


def create(name: str = "new", *, validate_only: bool = False, **fields: Any) -> CreateVipRequest:
    return CreateVipRequest(vip_id=name, vip=Message(**{**FIELDS, "port": 81, **fields}), validate_only=validate_only)


async def test_get_shows_what_was_set(api) -> None:
    vip = await api.vips.GetVip(GetVipRequest(name="vips/web"))
    assert vip.etag
    assert vip == Message(name="vips/web", etag=vip.etag, **FIELDS)


async def test_create_adds_a_vip_and_returns_it(api, controller: FakeController) -> None:
    created = await api.vips.CreateVip(create(protocol="UDP", port=0, force=True, hash_policy="SOURCE"))
    assert created == await api.vips.GetVip(GetVipRequest(name="vips/new"))
    assert controller.view().config.vips["new"] == Vip(
        "new", IPv4Address("192.0.2.1"), 0, Protocol.UDP, "web", force=True, hash_policy=HashPolicy.SOURCE
    )


@pytest.mark.parametrize("policy", HashPolicy)
async def test_every_hash_policy_of_the_model_is_one_of_the_api(api, controller, policy: HashPolicy) -> None:
    """And the other way round: the two lists have numbers of their own, so the names must agree."""
    created = await api.vips.CreateVip(create(hash_policy=policy.name))
    assert controller.view().config.vips["new"].hash_policy is policy
    assert created.hash_policy == Message.HashPolicy.Value(policy.name)
    assert len(Message.HashPolicy.items()) == len(HashPolicy) + 1


async def test_a_hash_policy_that_is_not_given_is_the_default(api, controller: FakeController) -> None:
    created = await api.vips.CreateVip(create(hash_policy="HASH_POLICY_UNSPECIFIED"))
    assert created.hash_policy == Message.FIVE_TUPLE
    assert controller.view().config.vips["new"].hash_policy is HashPolicy.FIVE_TUPLE


async def test_an_ipv6_vip(api, controller: FakeController) -> None:
    created = await api.vips.CreateVip(create(address="2001:DB8:0::1"))
    assert created.address == "2001:db8::1"
    assert controller.view().config.vips["new"].address == IPv6Address("2001:db8::1")
    failure = await api.failure(api.vips.CreateVip(create("again", address="2001:db8:0:0::1")))
    assert failure.message.startswith("2001:db8::1 port 81 TCP is vip 'new' already: ")


async def test_create_ignores_the_name_and_output_fields(api) -> None:
    created = await api.vips.CreateVip(create(name="new", etag="whatever"))
    assert created.name == "vips/new"
    assert created.etag != "whatever"


async def test_validate_only_answers_the_same_and_changes_nothing(api, controller: FakeController) -> None:
    before = controller.view()
    would_be = await api.vips.CreateVip(create(validate_only=True))
    await api.vips.UpdateVip(UpdateVipRequest(vip={"name": "vips/web", "pool": "pools/spare"}, validate_only=True))
    await api.vips.DeleteVip(DeleteVipRequest(name="vips/web", validate_only=True))
    assert controller.view() == before
    assert await api.vips.CreateVip(create()) == would_be
    failure = await api.failure(api.vips.CreateVip(create(validate_only=True)))
    assert failure.code is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"address": ""}, "vip.address", "is required"),
        ({"address": "192.0.2.1:80"}, "vip.address", "the port of a VIP is a field of its own"),
        ({"address": "[2001:db8::1]:80"}, "vip.address", "the port of a VIP is a field of its own"),
        ({"address": "ff0e::1"}, "vip.address", "ff0e::1 is a multicast address: use a unicast address"),
        ({"address": "::"}, "vip.address", ":: is the unspecified address"),
        ({"port": 70000}, "vip.port", "70000 is not a port"),
        ({"protocol": "PROTOCOL_UNSPECIFIED"}, "vip.protocol", "is required: TCP or UDP"),
        ({"protocol": 77}, "vip.protocol", "'77' is not a protocol that is balanced"),
        ({"hash_policy": 77}, "vip.hash_policy", "'77' is not a hash policy: choose one of FIVE_TUPLE, SOURCE,"),
        ({"pool": ""}, "vip.pool", "is required: write a resource name such as pools/web"),
        ({"pool": "web"}, "vip.pool", "'web' is not of this form: write a resource name such as pools/web"),
        ({"pool": "pools/We b"}, "vip.pool", "is not a name"),
    ],
)
async def test_bad_fields_are_named_with_the_remedy(api, controller, fields, field: str, message: str) -> None:
    before = controller.view()
    failure = await api.failure(api.vips.CreateVip(create(**fields)))
    assert (failure.code, failure.reason, failure.domain) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID", "lb")
    assert list(failure.violations) == [field]
    assert message in failure.violations[field]
    assert controller.view() == before


async def test_all_violations_come_at_once(api) -> None:
    failure = await api.failure(api.vips.CreateVip(CreateVipRequest(vip_id="Web", vip={"port": 70000})))
    assert set(failure.violations) == {"vip_id", "vip.address", "vip.port", "vip.protocol", "vip.pool"}


async def test_taken_names_and_endpoints(api) -> None:
    failure = await api.failure(api.vips.CreateVip(create("web", port=82)))
    assert (failure.code, failure.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    assert failure.resource == ("lb.v1.Vip", "vips/web")
    failure = await api.failure(api.vips.CreateVip(create(port=80)))
    assert failure.code is grpc.StatusCode.ALREADY_EXISTS
    assert failure.message.startswith("192.0.2.1 port 80 TCP is vip 'web' already: ")


async def test_an_unknown_pool_is_not_found_and_names_the_field(api) -> None:
    for call in (
        api.vips.CreateVip(create(pool="pools/nope")),
        api.vips.UpdateVip(UpdateVipRequest(vip={"name": "vips/web", "pool": "pools/nope"})),
    ):
        failure = await api.failure(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
        assert failure.violations == {"vip.pool": "pool 'nope' does not exist: create it first"}


async def test_an_address_of_the_box_needs_force(api, controller: FakeController) -> None:
    controller.local_addresses = frozenset({IPv4Address("192.0.2.1")})
    failure = await api.failure(api.vips.CreateVip(create()))
    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert "say so with --force (in a file, force: true) if that is wanted" in failure.message
    assert list(failure.violations) == ["vip.address"]
    await api.vips.CreateVip(create(force=True))


async def test_an_address_of_a_backend_is_refused(api, controller: FakeController) -> None:
    controller._config = Config(pools={"web": Pool("web", backends={"b1": Backend("b1", IPv4Address("10.0.0.11"))})})
    failure = await api.failure(api.vips.CreateVip(create(address="10.0.0.11")))
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.resource == ("lb.v1.Vip", "vips/new")


async def test_one_too_many_is_refused(api, controller: FakeController) -> None:
    vips = {f"v{number}": Vip(f"v{number}", IPv4Address(number), 1, Protocol.TCP, "web") for number in range(MAX_VIPS)}
    controller._config = Config(pools=POOLS, vips=vips)
    failure = await api.failure(api.vips.CreateVip(create()))
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED")


@pytest.mark.parametrize("mask", [[], ["*"], ["pool", "force", "hash_policy"]])
async def test_update_changes_what_the_mask_names(api, mask: list[str]) -> None:
    wanted = {"name": "vips/web", "pool": "pools/spare", "force": True, "hash_policy": "DESTINATION_PORT"}
    updated = await api.vips.UpdateVip(UpdateVipRequest(vip=wanted, update_mask={"paths": mask}))
    assert updated == Message(etag=updated.etag, **{**FIELDS, **wanted})
    assert updated == await api.vips.GetVip(GetVipRequest(name="vips/web"))


async def test_update_leaves_the_rest_alone(api) -> None:
    wanted = {"name": "vips/web", "pool": "pools/nope", "force": True, "address": "nowhere"}
    updated = await api.vips.UpdateVip(UpdateVipRequest(vip=wanted, update_mask={"paths": ["force"]}))
    assert (updated.pool, updated.address, updated.force) == ("pools/web", "192.0.2.1", True)


async def test_an_update_keeps_or_resets_the_hash_policy_as_the_mask_says(api) -> None:
    etag = (await api.vips.GetVip(GetVipRequest(name="vips/web"))).etag
    for wanted, mask, policy in (
        ({"hash_policy": "SOURCE"}, ["hash_policy"], Message.SOURCE),
        ({"force": True}, ["force"], Message.SOURCE),
        ({}, ["hash_policy"], Message.FIVE_TUPLE),
    ):
        request = UpdateVipRequest(vip={"name": "vips/web", **wanted}, update_mask={"paths": mask})
        updated = await api.vips.UpdateVip(request)
        assert updated.hash_policy == policy
        assert updated.etag != etag
        etag = updated.etag


async def test_an_update_to_an_unknown_hash_policy_is_refused(api, controller: FakeController) -> None:
    before = controller.view()
    request = UpdateVipRequest(vip={"name": "vips/web", "hash_policy": 9}, update_mask={"paths": ["hash_policy"]})
    failure = await api.failure(api.vips.UpdateVip(request))
    assert list(failure.violations) == ["vip.hash_policy"]
    assert controller.view() == before


async def test_a_vip_that_was_read_can_be_edited_and_sent_back(api) -> None:
    vip = await api.vips.GetVip(GetVipRequest(name="vips/web"))
    vip.pool = "pools/spare"
    updated = await api.vips.UpdateVip(UpdateVipRequest(vip=vip))
    assert updated.pool == "pools/spare"
    assert updated.etag != vip.etag


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("colour", "'colour' is not a field of Vip; fields that an update can change: force, hash_policy, pool"),
        ("Pool", "'Pool' is not a field of Vip"),
        ("pool.name", "'pool.name' is not a field of Vip"),
        ("port", "port can't be changed by an update: delete the VIP and create it anew"),
        ("etag", "etag is reported by the balancer, not set"),
        ("name", "name names the resource and can't be changed"),
    ],
)
async def test_masks_that_are_refused(api, path: str, message: str) -> None:
    request = UpdateVipRequest(vip={"name": "vips/web", "pool": "pools/spare"}, update_mask={"paths": [path, "pool"]})
    failure = await api.failure(api.vips.UpdateVip(request))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert message in failure.violations["update_mask"]


@pytest.mark.parametrize("changed", [{"address": "192.0.2.2"}, {"port": 81}, {"protocol": "UDP"}])
async def test_an_update_that_wants_another_address_is_refused_not_ignored(api, changed: dict[str, Any]) -> None:
    request = UpdateVipRequest(vip=Message(name="vips/web", **{**FIELDS, **changed}))
    failure = await api.failure(api.vips.UpdateVip(request))
    (field,) = changed
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.violations == {f"vip.{field}": "can't be changed by an update: delete the VIP and create it anew"}


async def test_a_stale_etag_is_refused(api, controller: FakeController) -> None:
    stale = (await api.vips.GetVip(GetVipRequest(name="vips/web"))).etag
    await api.vips.UpdateVip(UpdateVipRequest(vip={"name": "vips/web", "pool": "pools/spare", "etag": stale}))
    before = controller.view()
    for call in (
        api.vips.UpdateVip(UpdateVipRequest(vip={"name": "vips/web", "pool": "pools/web", "etag": stale})),
        api.vips.DeleteVip(DeleteVipRequest(name="vips/web", etag=stale)),
    ):
        failure = await api.failure(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.ABORTED, "STALE_ETAG")
        assert failure.resource == ("lb.v1.Vip", "vips/web")
        assert "read it again" in failure.message
    assert controller.view() == before


async def test_of_many_writers_with_one_etag_exactly_one_wins(api) -> None:
    """The etag is checked where the change is made: nobody's change is lost between."""
    vip = await api.vips.GetVip(GetVipRequest(name="vips/web"))
    calls = [
        api.vips.UpdateVip(UpdateVipRequest(vip={"name": vip.name, "pool": "pools/spare", "etag": vip.etag}))
        for _ in range(20)
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    lost = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert len(lost) == 19
    assert {error.code() for error in lost} == {grpc.StatusCode.ABORTED}


async def test_delete_removes_the_vip(api, controller: FakeController) -> None:
    vip = await api.vips.GetVip(GetVipRequest(name="vips/web"))
    await api.vips.DeleteVip(DeleteVipRequest(name="vips/web", etag=vip.etag))
    assert controller.view().config.vips == {}


async def test_what_does_not_exist(api) -> None:
    name = "vips/nope"
    for call in (
        api.vips.GetVip(GetVipRequest(name=name)),
        api.vips.UpdateVip(UpdateVipRequest(vip={"name": name, "pool": "pools/web"})),
        api.vips.DeleteVip(DeleteVipRequest(name=name)),
    ):
        failure = await api.failure(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
        assert failure.resource == ("lb.v1.Vip", name)


@pytest.mark.parametrize("name", ["", "web", "pools/web", "vips/", "vips/Web", "vips/web/", "vips/web/x", "/vips/web"])
async def test_names_that_are_no_names(api, name: str) -> None:
    for field, call in (
        ("name", api.vips.GetVip(GetVipRequest(name=name))),
        ("vip.name", api.vips.UpdateVip(UpdateVipRequest(vip={"name": name, "pool": "pools/web"}))),
        ("name", api.vips.DeleteVip(DeleteVipRequest(name=name))),
    ):
        failure = await api.failure(call)
        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(failure.violations) == [field]


async def test_list_is_in_the_order_of_names(api) -> None:
    await api.vips.CreateVip(create("zoo"))
    await api.vips.CreateVip(create("abc", port=82))
    listed = await api.vips.ListVips(ListVipsRequest())
    assert [vip.name for vip in listed.vips] == ["vips/abc", "vips/web", "vips/zoo"]
    assert listed.next_page_token == ""
    assert listed.vips[1] == await api.vips.GetVip(GetVipRequest(name="vips/web"))
