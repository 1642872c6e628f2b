# SPDX-License-Identifier: Apache-2.0
"""Draining backends, over a socket."""

from __future__ import annotations

import time
from ipaddress import IPv4Address
from typing import Any

import grpc
import pytest
from fakes.controller import FakeController

from lb.core.model import AdminState, Backend, Config, DrainState, Pool
from lb.v1.backend_pb2 import Backend as Message
from lb.v1.backend_pb2 import (
    CreateBackendRequest,
    DrainBackendRequest,
    DrainStatus,
    GetBackendRequest,
    UpdateBackendRequest,
)
from lb.v1.pool_pb2 import CreatePoolRequest, GetPoolRequest, UpdatePoolRequest

PAST = 1_600_000_000
B1 = Backend("b1", IPv4Address("10.0.0.11"))
B2 = Backend("b2", IPv4Address("10.0.0.12"), 1, AdminState.DRAINING, PAST)
B3 = Backend("b3", IPv4Address("10.0.0.13"), 1, AdminState.DISABLED)
NAME = "pools/web/backends/b1"
DRAINING = "pools/web/backends/b2"
FIELD = "drain_deadline_at_seconds"


@pytest.fixture
def controller() -> FakeController:
    return FakeController(Config(pools={"web": Pool("web", backends={"b1": B1, "b2": B2, "b3": B3})}))


def stored(controller: FakeController, name: str) -> tuple[AdminState, int]:
    member = controller.view().config.pools["web"].backends[name]
    return member.admin_state, member.drain_deadline


async def update(api, mask: list[str], name: str = DRAINING, **fields: Any) -> Message:
    request = UpdateBackendRequest(backend={"name": name, **fields}, update_mask={"paths": mask})
    return await api.backends.UpdateBackend(request)


async def test_a_drain_without_a_deadline(api, controller: FakeController) -> None:
    drained = await api.backends.DrainBackend(DrainBackendRequest(name=NAME))
    assert (drained.admin_state, drained.drain_deadline_at_seconds) == (Message.DRAINING, 0)
    assert drained == await api.backends.GetBackend(GetBackendRequest(name=NAME))
    assert stored(controller, "b1") == (AdminState.DRAINING, 0)


async def test_a_deadline_counts_from_now(api) -> None:
    """And never makes it shorter than was asked for."""
    before = time.time()
    drained = await api.backends.DrainBackend(DrainBackendRequest(name=NAME, deadline_seconds=600))
    assert before + 600 <= drained.drain_deadline_at_seconds <= time.time() + 601


async def test_a_second_drain_changes_the_deadline(api, controller: FakeController) -> None:
    await api.backends.DrainBackend(DrainBackendRequest(name=DRAINING))
    assert stored(controller, "b2") == (AdminState.DRAINING, 0)


async def test_validate_only_changes_nothing(api, controller: FakeController) -> None:
    drained = await api.backends.DrainBackend(DrainBackendRequest(name=NAME, validate_only=True))
    assert drained.admin_state == Message.DRAINING
    assert stored(controller, "b1") == (AdminState.ENABLED, 0)


async def test_what_cannot_be_drained(api, controller: FakeController) -> None:
    before = controller.view()
    for request, code, words in (
        (DrainBackendRequest(name="web/b1"), grpc.StatusCode.INVALID_ARGUMENT, "name: "),
        (DrainBackendRequest(name="pools/web/backends/no"), grpc.StatusCode.NOT_FOUND, "backend web/no does not exist"),
        (DrainBackendRequest(name=NAME, etag="old"), grpc.StatusCode.ABORTED, "was changed meanwhile"),
        (
            DrainBackendRequest(name="pools/web/backends/b3"),
            grpc.StatusCode.FAILED_PRECONDITION,
            "`lbctl backend enable web/b3`",
        ),
        (
            DrainBackendRequest(name=NAME, deadline_seconds=604_801),
            grpc.StatusCode.INVALID_ARGUMENT,
            "deadline_seconds: 604801 is out of range: give seconds from 0 (no deadline) to 604800",
        ),
    ):
        failure = await api.failure(api.backends.DrainBackend(request))
        assert failure.code is code
        assert words in failure.message
    assert controller.view() == before


async def test_an_etag_that_is_current_is_accepted(api) -> None:
    etag = (await api.backends.GetBackend(GetBackendRequest(name=NAME))).etag
    drained = await api.backends.DrainBackend(DrainBackendRequest(name=NAME, etag=etag))
    assert drained.etag != etag


async def test_progress_is_shown(api, controller: FakeController) -> None:
    controller.drains["web", "b2"] = DrainState(12, 340.5, 1_700_000_000.0, drained=False, closing=2)
    status = (await api.backends.GetBackend(GetBackendRequest(name=DRAINING))).status
    until = {"seconds": 1_700_000_000}
    assert status.drain == DrainStatus(flows=12, packets_per_second=340.5, untracked_until=until, closing_flows=2)
    controller.drains["web", "b2"] = DrainState(0, 0.0, 0.0, drained=True, cut=3)
    (_, b2, _) = (await api.pools.GetPool(GetPoolRequest(name="pools/web"))).backends
    assert b2.status.drain == DrainStatus(drained=True, cut_flows=3)
    assert not (await api.backends.GetBackend(GetBackendRequest(name=NAME))).status.HasField("drain")


async def test_a_deadline_can_be_set_by_an_update(api, controller: FakeController) -> None:
    deadline = int(time.time()) + 3_600
    await update(api, ["admin_state", FIELD], NAME, admin_state="DRAINING", drain_deadline_at_seconds=deadline)
    assert stored(controller, "b1") == (AdminState.DRAINING, deadline)


@pytest.mark.parametrize("mask", [[FIELD], [], ["*"]])
async def test_an_update_that_leaves_the_deadline_out_removes_it(
    api, controller: FakeController, mask: list[str]
) -> None:
    await update(api, mask, admin_state="DRAINING")
    assert stored(controller, "b2") == (AdminState.DRAINING, 0)


async def test_an_update_of_something_else_keeps_a_deadline_that_has_passed(api, controller: FakeController) -> None:
    """Nobody asks for that time now."""
    await update(api, ["weight"], weight=5)
    await update(api, ["admin_state"], admin_state="DRAINING")
    backend = await api.backends.GetBackend(GetBackendRequest(name=DRAINING))
    await api.backends.UpdateBackend(UpdateBackendRequest(backend=backend))
    assert stored(controller, "b2") == (AdminState.DRAINING, PAST)


@pytest.mark.parametrize("state", ["ENABLED", "DISABLED"])
async def test_the_deadline_ends_with_the_drain(api, controller: FakeController, state: str) -> None:
    """Else a drain next week would end at once."""
    await update(api, ["admin_state"], admin_state=state)
    assert stored(controller, "b2") == (AdminState[state], 0)


async def test_a_new_deadline_is_in_the_future(api, controller: FakeController) -> None:
    before = controller.view()
    draining = {"address": "10.0.0.19", "admin_state": "DRAINING", FIELD: PAST + 1}
    for call, field in (
        (update(api, [FIELD], **{FIELD: PAST + 1}), f"backend.{FIELD}"),
        (
            api.backends.CreateBackend(CreateBackendRequest(parent="pools/web", backend_id="new", backend=draining)),
            f"backend.{FIELD}",
        ),
        (
            api.pools.CreatePool(CreatePoolRequest(pool_id="new", pool={"backends": [{"name": "b", **draining}]})),
            f"pool.backends[0].{FIELD}",
        ),
    ):
        failure = await api.failure(call)
        assert list(failure.violations) == [field]
        assert failure.violations[field].startswith(f"{PAST + 1} has passed, it is ")
    assert controller.view() == before


async def test_a_deadline_without_a_drain_is_none(api, controller: FakeController) -> None:
    await update(api, [FIELD], NAME, drain_deadline_at_seconds=PAST)
    assert stored(controller, "b1") == (AdminState.ENABLED, 0)


async def test_a_pool_with_a_drain_can_be_edited_and_sent_back(api, controller: FakeController) -> None:
    pool = await api.pools.GetPool(GetPoolRequest(name="pools/web"))
    pool.description = "new"
    await api.pools.UpdatePool(UpdatePoolRequest(pool=pool))
    assert stored(controller, "b2") == (AdminState.DRAINING, PAST)
