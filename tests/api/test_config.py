# SPDX-License-Identifier: Apache-2.0
"""ConfigService: plan, apply, history, rollback, verify; over a socket."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address

import grpc
import pytest
from fakes.controller import FakeController

from lb.api.present import config_to_proto
from lb.core.audit import Caller
from lb.core.errors import LimitError
from lb.core.impact import Impact
from lb.core.model import RING_SIZE, AdminState, Backend, Config, Pool, Protocol, Settings, Vip
from lb.ports import Applied
from lb.v1.config_pb2 import (
    ApplyConfigRequest,
    Difference,
    GetConfigRequest,
    ListRevisionsRequest,
    RollbackConfigRequest,
    VerifyDataPlaneRequest,
)
from lb.v1.pool_pb2 import ListPoolsRequest

B1, B2 = (Backend(name, IPv4Address(address)) for name, address in (("b1", "10.0.0.11"), ("b2", "10.0.0.12")))
WEB = Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")
CONFIG = Config(Settings(bytes(range(16))), {"web": Pool("web", backends={"b1": B1, "b2": B2})}, {"web": WEB})
THIRD = {"pools": [{"name": "web", "backends": [{"name": "b3", "address": "10.0.0.13"}]}]}


@pytest.fixture
def controller() -> FakeController:
    return FakeController(CONFIG)


def names(differences) -> list[tuple[str, str]]:
    return [(Difference.Action.Name(item.action), item.name) for item in differences]


# Apply.


async def test_apply_lays_the_configuration_over_the_present_one(api, controller: FakeController) -> None:
    answer = await api.config.ApplyConfig(ApplyConfigRequest(config=THIRD))
    assert answer.revision == 1
    assert names(answer.differences) == [("ADDED", "pools/web/backends/b3")]
    added = {field.name: (field.old, field.new) for field in answer.differences[0].fields}
    assert added["address"] == ("", "10.0.0.13")
    assert set(controller.view().config.pools["web"].backends) == {"b1", "b2", "b3"}


async def test_apply_answers_what_was_predicted_and_what_was_measured(api) -> None:
    """A third member takes a third of each of the others, and breaks nothing."""
    answer = await api.config.ApplyConfig(ApplyConfigRequest(config=THIRD))
    (impact,) = answer.impacts
    assert (impact.pool, impact.protocol) == ("pools/web", "TCP")
    assert impact.moved_slots == impact.measured_moved_slots == 2 * (RING_SIZE // 2 - RING_SIZE // 3)
    assert impact.new_flows_percent == pytest.approx(33.33, abs=0.01)
    assert (impact.cut_slots, impact.existing_flows_percent) == (0, 0)


async def test_a_ring_that_moved_unpredicted_is_shown(api, controller: FakeController, monkeypatch) -> None:
    """That would be a bug in lbd: the operator must see it, not only the rings that behaved."""
    udp = Impact("web", Protocol.UDP, 7)

    async def apply(*_args: object, **_more: object) -> Applied:
        return Applied(controller.view(), (), (Impact("web", Protocol.TCP, 5),), (udp,))

    monkeypatch.setattr(controller, "apply", apply)
    tcp, other = (await api.config.ApplyConfig(ApplyConfigRequest())).impacts
    assert (tcp.moved_slots, tcp.HasField("measured_moved_slots")) == (5, False)
    assert (other.protocol, other.moved_slots, other.measured_moved_slots) == ("UDP", 0, 7)


async def test_validate_only_predicts_and_changes_nothing(api, controller: FakeController) -> None:
    before = controller.view()
    answer = await api.config.ApplyConfig(ApplyConfigRequest(config=THIRD, validate_only=True))
    assert (answer.revision, names(answer.differences)) == (0, [("ADDED", "pools/web/backends/b3")])
    (impact,) = answer.impacts
    assert not impact.HasField("measured_moved_slots")
    assert controller.view() == before


async def test_prune_removes_what_is_not_named(api, controller: FakeController) -> None:
    """Without it one truncated file would empty a balancer."""
    kept = {"pools": [{"name": "web", "backends": [{"name": "b1", "address": "10.0.0.11"}]}]}
    answer = await api.config.ApplyConfig(ApplyConfigRequest(config=kept))
    assert (answer.differences, answer.revision) == ([], 0)
    answer = await api.config.ApplyConfig(ApplyConfigRequest(config=kept, prune=True))
    assert names(answer.differences) == [("REMOVED", "pools/web/backends/b2"), ("REMOVED", "vips/web")]
    assert controller.view().config == Config(CONFIG.settings, {"web": Pool("web", backends={"b1": B1})})


@pytest.mark.parametrize("prune", [False, True])
async def test_applying_what_is_exported_changes_nothing(api, prune: bool) -> None:
    exported = await api.config.GetConfig(GetConfigRequest())
    answer = await api.config.ApplyConfig(ApplyConfigRequest(config=exported, prune=prune))
    assert (answer.revision, list(answer.differences), list(answer.impacts)) == (0, [], [])


async def test_every_violation_at_once_with_its_path(api, controller: FakeController) -> None:
    wrong = {
        "pools": [{"name": "New"}, {"name": "web", "backends": [{"name": "b3", "address": "10.0.0.13:80"}]}],
        "vips": [
            {"name": "a", "address": "192.0.2.9", "port": 70_000, "protocol": "TCP", "pool": "web"},
            {"name": "b", "address": "192.0.2.9", "port": 80, "protocol": "TCP", "pool": "nowhere"},
        ],
    }
    before = controller.view()
    failure = await api.failure(api.config.ApplyConfig(ApplyConfigRequest(config=wrong, max_move_percent=101)))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(failure.violations) == {
        "max_move_percent",
        "config.pools[0].name",
        "config.pools[1].backends[0].address",
        "config.vips[0].port",
        "config.vips[1].pool",
    }
    assert failure.violations["config.vips[1].pool"].startswith("pool 'nowhere' does not exist: add it")
    assert controller.view() == before


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan"), float("inf")])
async def test_a_share_that_is_none(api, percent: float) -> None:
    for call in (
        api.config.ApplyConfig(ApplyConfigRequest(max_move_percent=percent)),
        api.config.RollbackConfig(RollbackConfigRequest(revision=1, max_move_percent=percent)),
    ):
        failure = await api.failure(call)
        assert failure.violations == {
            "max_move_percent": f"{percent:g} is not a share: give 0 (no slot may move) to 100 percent"
        }


async def test_more_than_may_move_is_refused(api, controller: FakeController) -> None:
    """A third moves: 33 % are too few to allow for it, 34 % are enough. 0 is a limit, not "none given"."""
    for percent in (0, 33):
        request = ApplyConfigRequest(config=THIRD, max_move_percent=percent, validate_only=True)
        failure = await api.failure(api.config.ApplyConfig(request))
        assert (failure.code, failure.resource) == (grpc.StatusCode.FAILED_PRECONDITION, None)
        assert "33.3 % of the slots would move" in failure.message
    await api.config.ApplyConfig(ApplyConfigRequest(config=THIRD, max_move_percent=34))
    assert "b3" in controller.view().config.pools["web"].backends


async def test_of_two_concurrent_applies_one_wins(api, controller: FakeController) -> None:
    """Both were planned from the same revision; the loser changes nothing and learns that it has to look again."""
    await api.config.ApplyConfig(ApplyConfigRequest(config=THIRD))
    base = controller.view().revision

    def member(number: int) -> ApplyConfigRequest:
        backend = {"name": f"b{number}", "address": f"10.0.0.{number}"}
        config = {"pools": [{"name": "web", "backends": [backend]}]}
        return ApplyConfigRequest(config=config, base_revision=base)

    calls = (api.config.ApplyConfig(member(number)) for number in (20, 21))
    results = await asyncio.gather(*calls, return_exceptions=True)
    (lost,) = (result for result in results if isinstance(result, grpc.aio.AioRpcError))
    assert lost.code() is grpc.StatusCode.ABORTED
    assert (controller.view().revision, len(controller.view().config.pools["web"].backends)) == (base + 1, 4)


async def test_a_base_revision_of_the_past(api, controller: FakeController) -> None:
    await api.config.ApplyConfig(ApplyConfigRequest(config=THIRD))
    before = controller.view()
    for call in (
        api.config.ApplyConfig(ApplyConfigRequest(config={}, prune=True, base_revision=7)),
        api.config.RollbackConfig(RollbackConfigRequest(revision=1, base_revision=7)),
    ):
        failure = await api.failure(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.ABORTED, "STALE_ETAG")
        assert failure.resource is None
    assert controller.view() == before


async def test_a_thousand_vips_and_five_thousand_backends_fit_into_one_request(api, controller: FakeController) -> None:
    controller._config = Config()
    pools = [
        {"name": f"p{pool}", "backends": [{"name": f"b{n}", "address": f"10.{pool}.0.{n}"} for n in range(50)]}
        for pool in range(100)
    ]
    vips = [
        {"name": f"v{n}", "address": f"192.0.2.{n % 250}", "port": n, "protocol": "TCP", "pool": f"p{n % 100}"}
        for n in range(1_000)
    ]
    request = ApplyConfigRequest(config={"pools": pools, "vips": vips})
    answer = await api.config.ApplyConfig(request)
    assert len(answer.differences) == 100 + 5_000 + 1_000
    assert await api.config.ApplyConfig(request) == type(answer)(revision=1)


async def test_a_request_larger_than_grpcs_default_is_judged(api) -> None:
    """All that the data plane holds takes 14 MiB: it must not fail because of its size."""
    config = {"pools": [{"name": "web", "description": "x" * (13 * 1024 * 1024)}]}
    failure = await api.failure(api.config.ApplyConfig(ApplyConfigRequest(config=config)))
    assert list(failure.violations) == ["config.pools[0].description"]


# History and rollback.


async def change(controller: FakeController, **fields: object) -> int:
    """Give b1 other fields; the revision that this made."""

    def edit(config: Config) -> Config:
        pool = config.pools["web"]
        members = {**pool.backends, "b1": replace(pool.backends["b1"], **fields)}
        return replace(config, pools={"web": replace(pool, backends=members)})

    return (await controller.mutate(edit, Caller("root (uid 0)", "unix, pid 4711", "Test.Change"))).revision


async def test_the_history_says_who_did_what_and_from_where(api, controller: FakeController) -> None:
    await change(controller, weight=3)
    await controller.denied(Caller("CN=ops", "192.0.2.7:53142", "VipService.DeleteVip"), "needs role admin")
    denied, revision = (await api.config.ListRevisions(ListRevisionsRequest())).revisions
    assert (denied.revision, denied.who, denied.note) == (0, "CN=ops", "needs role admin")
    assert (denied.origin, denied.method) == ("192.0.2.7:53142", "VipService.DeleteVip")
    assert (revision.revision, revision.who, revision.origin) == (1, "root (uid 0)", "unix, pid 4711")
    assert names(revision.differences) == [("CHANGED", "pools/web/backends/b1")]
    assert [(field.name, field.old, field.new) for field in revision.differences[0].fields] == [("weight", "1", "3")]
    assert denied.time.ToDatetime() >= revision.time.ToDatetime()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1000])
async def test_pages_of_the_history_add_up(api, controller: FakeController, size: int) -> None:
    """None twice, none left out, also while more is written; denied calls too, which have no revision."""
    for weight in (2, 3):
        await change(controller, weight=weight)
        await controller.denied(Caller("a"), f"first after {weight}")
        await controller.denied(Caller("a"), f"second after {weight}")
    seen, token, pages = [], "", 0
    while pages == 0 or token:
        page = await api.config.ListRevisions(ListRevisionsRequest(page_size=size, page_token=token))
        assert 0 < len(page.revisions) <= (size or 100)
        seen += [item.note or item.revision for item in page.revisions]
        token, pages = page.next_page_token, pages + 1
        await change(controller, weight=100 + pages)
    assert seen == ["second after 3", "first after 3", 2, "second after 2", "first after 2", 1]


async def test_an_empty_history(api) -> None:
    page = await api.config.ListRevisions(ListRevisionsRequest())
    assert (list(page.revisions), page.next_page_token) == ([], "")


async def test_pages_that_nobody_handed_out(api, controller: FakeController) -> None:
    controller._config = Config(pools={"a": Pool("a"), "b": Pool("b")})
    other = (await api.pools.ListPools(ListPoolsRequest(page_size=1))).next_page_token
    for token in ("x", "7", other):
        failure = await api.failure(api.config.ListRevisions(ListRevisionsRequest(page_token=token)))
        assert list(failure.violations) == ["page_token"]
    failure = await api.failure(api.config.ListRevisions(ListRevisionsRequest(page_size=-1)))
    assert list(failure.violations) == ["page_size"]


async def test_the_configuration_of_an_earlier_revision(api, controller: FakeController) -> None:
    first = await change(controller, weight=3)
    await change(controller, weight=4)
    config = await api.config.GetConfig(GetConfigRequest(revision=first))
    assert [member.weight for member in config.pools[0].backends] == [3, 1]
    assert await api.config.GetConfig(GetConfigRequest()) == config_to_proto(controller.view().config)
    for revision in (99, 2**64 - 1):
        failure = await api.failure(api.config.GetConfig(GetConfigRequest(revision=revision)))
        assert (failure.code, failure.resource) == (
            grpc.StatusCode.NOT_FOUND,
            ("lb.v1.Revision", str(revision)),
        )


async def test_rollback_brings_everything_back(api, controller: FakeController) -> None:
    """Settings, states and weights too; what was made since goes. It is a revision of its own."""
    first = await change(controller, admin_state=AdminState.DRAINING, drain_deadline=2_000_000_000)
    then = controller.view().config
    drop = {"settings": {"hash_key": "ff" * 16, "outer_source_ipv4": "off"}, "pools": [{"name": "new"}]}
    await api.config.ApplyConfig(ApplyConfigRequest(config=drop, prune=True))
    request = RollbackConfigRequest(revision=first)
    planned = await api.config.RollbackConfig(RollbackConfigRequest(revision=first, validate_only=True))
    assert (planned.revision, controller.view().revision) == (2, 2)
    done = await api.config.RollbackConfig(request)
    assert (done.revision, controller.view().config) == (3, then)
    assert names(done.differences) == names(planned.differences)
    latest = (await api.config.ListRevisions(ListRevisionsRequest(page_size=1))).revisions[0]
    assert (latest.revision, latest.note) == (3, "rollback to revision 1")
    assert (await api.config.RollbackConfig(request)).revision == 3


async def test_rollback_obeys_the_limit(api, controller: FakeController) -> None:
    await change(controller, weight=1, address=IPv4Address("10.0.0.99"))
    await change(controller, address=B1.address)
    request = RollbackConfigRequest(revision=1, max_move_percent=10, validate_only=True)
    failure = await api.failure(api.config.RollbackConfig(request))
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION


async def test_rollback_needs_a_revision_that_is_kept(api) -> None:
    failure = await api.failure(api.config.RollbackConfig(RollbackConfigRequest()))
    assert failure.violations == {"revision": "is required: `lbctl history` lists those that are kept"}
    failure = await api.failure(api.config.RollbackConfig(RollbackConfigRequest(revision=9)))
    assert (failure.code, failure.resource) == (grpc.StatusCode.NOT_FOUND, ("lb.v1.Revision", "9"))


# Verify.


async def test_verify_says_what_differs(api, controller: FakeController) -> None:
    answer = await api.config.VerifyDataPlane(VerifyDataPlaneRequest())
    assert (answer.revision, answer.compared, list(answer.problems)) == (0, 131_074, [])
    controller.problems = ("ring web TCP: slot 7 is 3, not 4",)
    answer = await api.config.VerifyDataPlane(VerifyDataPlaneRequest())
    assert list(answer.problems) == ["ring web TCP: slot 7 is 3, not 4"]


async def test_refusals_of_the_controller_arrive(api, controller: FakeController) -> None:
    controller.failure = LimitError("4,097 VIPs would exceed the limit")
    for call in (
        api.config.ApplyConfig(ApplyConfigRequest(config=THIRD)),
        api.config.ListRevisions(ListRevisionsRequest()),
        api.config.GetConfig(GetConfigRequest(revision=1)),
        api.config.RollbackConfig(RollbackConfigRequest(revision=1)),
        api.config.VerifyDataPlane(VerifyDataPlaneRequest()),
    ):
        assert (await api.failure(call)).code is grpc.StatusCode.RESOURCE_EXHAUSTED
