# SPDX-License-Identifier: Apache-2.0
"""BackendService, over a socket."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import grpc
import pytest
from fakes.controller import RESOLVED, FakeController

from lb.core.model import RING_SIZE, AdminState, Backend, Config, Pool, Protocol, Unresolved, Vip
from lb.v1.backend_pb2 import Backend as Message
from lb.v1.backend_pb2 import (
    BackendStatus,
    CreateBackendRequest,
    DeleteBackendRequest,
    GetBackendRequest,
    HealthStatus,
    ListBackendsRequest,
    NextHop,
    UpdateBackendRequest,
)

B1 = Backend("b1", IPv4Address("10.0.0.11"), 2)
B2 = Backend("b2", IPv4Address("10.0.0.12"), 1, AdminState.DRAINING)
NAME = "pools/web/backends/b1"
UNCHECKED = HealthStatus(state="UNCHECKED", weight_percent=100)


@pytest.fixture
def controller() -> FakeController:
    pools = {"web": Pool("web", backends={"b1": B1, "b2": B2}), "dns": Pool("dns", backends={"b1": B1})}
    return FakeController(Config(pools=pools, vips={"v": Vip("v", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")}))


def create(name: str = "new", *, parent: str = "pools/web", **fields: Any) -> CreateBackendRequest:
    return CreateBackendRequest(parent=parent, backend_id=name, backend=Message(**{"address": "10.0.0.13", **fields}))


async def test_get_shows_what_was_set_and_what_was_observed(api) -> None:
    backend = await api.backends.GetBackend(GetBackendRequest(name=NAME))
    hop = NextHop(state="RESOLVED", interface="eth0", mac="02:00:00:00:00:01", mtu_bytes=1500)
    assert backend == Message(
        name=NAME,
        address="10.0.0.11",
        weight=2,
        admin_state="ENABLED",
        status=BackendStatus(in_ring=True, slots=RING_SIZE, next_hop=hop, health=UNCHECKED),
        etag=backend.etag,
    )
    assert backend.etag


async def test_get_says_why_a_backend_is_not_in_the_ring(api, controller: FakeController) -> None:
    draining = await api.backends.GetBackend(GetBackendRequest(name="pools/web/backends/b2"))
    assert draining.status.reason == "admin state is DRAINING"
    assert not draining.status.in_ring
    controller.hops[B1.address] = Unresolved("no route to 10.0.0.11: add one")
    lost = await api.backends.GetBackend(GetBackendRequest(name=NAME))
    assert lost.status == BackendStatus(
        reason="no route to 10.0.0.11: add one",
        next_hop=NextHop(state="UNRESOLVED", reason="no route to 10.0.0.11: add one"),
        health=UNCHECKED,
    )


async def test_get_shows_the_router_on_the_way(api, controller: FakeController) -> None:
    controller.hops[B1.address] = replace(RESOLVED, gateway=IPv4Address("10.0.0.254"))
    assert (await api.backends.GetBackend(GetBackendRequest(name=NAME))).status.next_hop.gateway == "10.0.0.254"


async def test_create_fills_in_the_defaults(api, controller: FakeController) -> None:
    created = await api.backends.CreateBackend(create())
    assert created == await api.backends.GetBackend(GetBackendRequest(name="pools/web/backends/new"))
    assert controller.view().config.pools["web"].backends["new"] == Backend("new", IPv4Address("10.0.0.13"))


async def test_an_ipv6_backend_beside_an_ipv4_one(api, controller: FakeController) -> None:
    created = await api.backends.CreateBackend(create(address="2001:DB8:0::13"))
    assert created.address == "2001:db8::13"
    addresses = {member.address for member in controller.view().config.pools["web"].backends.values()}
    assert addresses >= {B1.address, IPv6Address("2001:db8::13")}
    failure = await api.failure(api.backends.CreateBackend(create("again", address="2001:db8::0013")))
    assert failure.code is grpc.StatusCode.ALREADY_EXISTS


async def test_weight_0_is_not_the_default_weight(api) -> None:
    assert (await api.backends.CreateBackend(create(weight=0))).weight == 0


@pytest.mark.parametrize(
    ("request_", "field", "message"),
    [
        (create(address="10.0.0.11:8080"), "backend.address", "direct server return cannot change ports"),
        (create(address=""), "backend.address", "is required"),
        (create(address="fe80::1"), "backend.address", "is link-local"),
        (create(address="::ffff:10.0.0.1"), "backend.address", "is a mapped IPv4 address: write 10.0.0.1"),
        (create(weight=-1), "backend.weight", "-1 is not a weight"),
        (create(weight=65536), "backend.weight", "65536 is not a weight"),
        (create(admin_state=9), "backend.admin_state", "'9' is not an admin state: choose one of ENABLED,"),
        (create("B1"), "backend_id", "is not a name"),
        (create(""), "backend_id", "is required"),
        (create(parent=""), "parent", "is required: write a resource name such as pools/web"),
        (create(parent="pools/-"), "parent", "'-' is not a name"),
    ],
)
async def test_bad_fields_are_named_with_the_remedy(api, controller, request_, field: str, message: str) -> None:
    before = controller.view()
    failure = await api.failure(api.backends.CreateBackend(request_))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID")
    assert list(failure.violations) == [field]
    assert message in failure.violations[field]
    assert controller.view() == before


async def test_taken_names_and_addresses(api) -> None:
    failure = await api.failure(api.backends.CreateBackend(create("b1")))
    assert failure.code is grpc.StatusCode.ALREADY_EXISTS
    assert failure.resource == ("lb.v1.Backend", NAME)
    failure = await api.failure(api.backends.CreateBackend(create(address="10.0.0.11")))
    assert failure.code is grpc.StatusCode.ALREADY_EXISTS
    assert "10.0.0.11 is backend web/b1 already" in failure.message


async def test_an_unknown_pool_is_not_found(api) -> None:
    for call in (
        api.backends.CreateBackend(create(parent="pools/nope")),
        api.backends.ListBackends(ListBackendsRequest(parent="pools/nope")),
    ):
        failure = await api.failure(call)
        assert failure.code is grpc.StatusCode.NOT_FOUND
        assert failure.resource == ("lb.v1.Pool", "pools/nope")


async def test_an_address_of_a_vip_is_refused(api) -> None:
    failure = await api.failure(api.backends.CreateBackend(create(address="192.0.2.1")))
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "packets to the backend would come back to the balancer" in failure.message


@pytest.mark.parametrize(
    ("mask", "weight", "admin_state"),
    [(["weight"], 0, "ENABLED"), (["admin_state"], 2, "DISABLED"), ([], 0, "DISABLED"), (["*"], 0, "DISABLED")],
)
async def test_update_changes_what_the_mask_names(api, mask: list[str], weight: int, admin_state: str) -> None:
    wanted = Message(name=NAME, weight=0, admin_state="DISABLED")
    updated = await api.backends.UpdateBackend(UpdateBackendRequest(backend=wanted, update_mask={"paths": mask}))
    assert (updated.weight, updated.admin_state) == (weight, Message.AdminState.Value(admin_state))
    assert updated == await api.backends.GetBackend(GetBackendRequest(name=NAME))


async def test_a_field_that_the_mask_names_and_the_message_leaves_out_gets_its_default(api) -> None:
    request = UpdateBackendRequest(backend={"name": NAME}, update_mask={"paths": ["weight"]})
    assert (await api.backends.UpdateBackend(request)).weight == 1


async def test_a_backend_that_was_read_can_be_edited_and_sent_back(api) -> None:
    backend = await api.backends.GetBackend(GetBackendRequest(name=NAME))
    backend.weight = 7
    assert (await api.backends.UpdateBackend(UpdateBackendRequest(backend=backend))).weight == 7


async def test_an_address_is_never_changed(api) -> None:
    request = UpdateBackendRequest(backend={"name": NAME, "address": "10.0.0.99", "weight": -1})
    failure = await api.failure(api.backends.UpdateBackend(request))
    assert set(failure.violations) == {"backend.address", "backend.weight"}
    assert "delete the backend and create it anew" in failure.violations["backend.address"]
    request = UpdateBackendRequest(backend={"name": NAME}, update_mask={"paths": ["status", "address"]})
    failure = await api.failure(api.backends.UpdateBackend(request))
    assert list(failure.violations) == ["update_mask"]


async def test_a_stale_etag_is_refused(api) -> None:
    stale = (await api.backends.GetBackend(GetBackendRequest(name=NAME))).etag
    await api.backends.UpdateBackend(UpdateBackendRequest(backend={"name": NAME, "weight": 3, "etag": stale}))
    for call in (
        api.backends.UpdateBackend(UpdateBackendRequest(backend={"name": NAME, "weight": 4, "etag": stale})),
        api.backends.DeleteBackend(DeleteBackendRequest(name=NAME, etag=stale)),
    ):
        failure = await api.failure(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.ABORTED, "STALE_ETAG")
        assert failure.resource == ("lb.v1.Backend", NAME)


async def test_what_was_observed_does_not_change_the_etag(api, controller: FakeController) -> None:
    """Else every flap of a neighbour would fail an operator's update."""
    etag = (await api.backends.GetBackend(GetBackendRequest(name=NAME))).etag
    controller.hops[B1.address] = Unresolved("gone")
    assert (await api.backends.GetBackend(GetBackendRequest(name=NAME))).etag == etag


async def test_delete_removes_the_backend(api, controller: FakeController) -> None:
    await api.backends.DeleteBackend(DeleteBackendRequest(name=NAME, validate_only=True))
    assert "b1" in controller.view().config.pools["web"].backends
    await api.backends.DeleteBackend(DeleteBackendRequest(name=NAME))
    assert set(controller.view().config.pools["web"].backends) == {"b2"}


async def test_what_does_not_exist_and_what_is_no_name(api) -> None:
    for name, code in (
        ("pools/web/backends/nope", grpc.StatusCode.NOT_FOUND),
        ("pools/nope/backends/b1", grpc.StatusCode.NOT_FOUND),
        ("web/b1", grpc.StatusCode.INVALID_ARGUMENT),
        ("pools/web/backend/b1", grpc.StatusCode.INVALID_ARGUMENT),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        for call in (
            api.backends.GetBackend(GetBackendRequest(name=name)),
            api.backends.UpdateBackend(UpdateBackendRequest(backend={"name": name})),
            api.backends.DeleteBackend(DeleteBackendRequest(name=name)),
        ):
            failure = await api.failure(call)
            assert failure.code is code
            if code is grpc.StatusCode.NOT_FOUND:
                assert failure.resource == ("lb.v1.Backend", name)


async def test_list_of_one_pool_and_of_all(api) -> None:
    listed = await api.backends.ListBackends(ListBackendsRequest(parent="pools/web"))
    assert [backend.name for backend in listed.backends] == [NAME, "pools/web/backends/b2"]
    listed = await api.backends.ListBackends(ListBackendsRequest(parent="pools/-"))
    assert [backend.name for backend in listed.backends] == [
        "pools/dns/backends/b1",
        "pools/web/backends/b1",
        "pools/web/backends/b2",
    ]
    failure = await api.failure(api.backends.ListBackends(ListBackendsRequest(parent="web")))
    assert list(failure.violations) == ["parent"]
