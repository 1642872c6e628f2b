# SPDX-License-Identifier: Apache-2.0
"""Pages of lists."""

from __future__ import annotations

import base64
from dataclasses import replace
from ipaddress import IPv4Address

import grpc
import pytest
from fakes.controller import FakeController

from lb.api import paging
from lb.core.edit import delete_vip
from lb.core.model import Backend, Config, Pool, Protocol, Vip
from lb.v1.backend_pb2 import ListBackendsRequest
from lb.v1.pool_pb2 import ListPoolsRequest
from lb.v1.vip_pb2 import ListVipsRequest

COUNT = 250
VIPS = {f"v{number}": Vip(f"v{number}", IPv4Address(number), 1, Protocol.TCP, "web") for number in range(COUNT)}
BACKENDS = {f"b{number}": Backend(f"b{number}", IPv4Address(number)) for number in range(COUNT)}
POOLS = {"web": Pool("web", backends=BACKENDS), **{f"p{number}": Pool(f"p{number}") for number in range(COUNT - 1)}}


@pytest.fixture
def controller() -> FakeController:
    return FakeController(Config(pools=POOLS, vips=VIPS))


@pytest.mark.parametrize("size", [0, 1, 7, 100, 249, 250, 1000, 2**31 - 1])
async def test_pages_add_up_to_the_whole(api, size: int) -> None:
    seen, token, pages = [], "", 0
    while pages == 0 or token:
        page = await api.vips.ListVips(ListVipsRequest(page_size=size, page_token=token))
        assert 0 < len(page.vips) <= min(size or 100, 1000)
        seen += [vip.name for vip in page.vips]
        token, pages = page.next_page_token, pages + 1
    assert seen == sorted(f"vips/{name}" for name in VIPS)


async def test_pools_and_backends_have_pages_too(api) -> None:
    page = await api.pools.ListPools(ListPoolsRequest(page_size=249))
    rest = await api.pools.ListPools(ListPoolsRequest(page_size=249, page_token=page.next_page_token))
    assert ([pool.name for pool in rest.pools], rest.next_page_token) == (["pools/web"], "")
    for parent in ("pools/web", "pools/-"):
        page = await api.backends.ListBackends(ListBackendsRequest(parent=parent, page_size=249))
        request = ListBackendsRequest(parent=parent, page_size=249, page_token=page.next_page_token)
        rest = await api.backends.ListBackends(request)
        assert ([one.name for one in rest.backends], rest.next_page_token) == (["pools/web/backends/b99"], "")


async def test_a_list_that_changes_between_pages(api, controller: FakeController) -> None:
    """None is shown twice, none that stayed is left out, also when the last one shown is gone."""
    first = await api.vips.ListVips(ListVipsRequest())
    controller._config = delete_vip(controller.view().config, first.vips[-1].name.removeprefix("vips/"))
    second = await api.vips.ListVips(ListVipsRequest(page_token=first.next_page_token))
    names = [vip.name for vip in (*first.vips, *second.vips)]
    assert names == sorted(f"vips/{name}" for name in VIPS)[:200]


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "é",
        "!!!!",
        base64.urlsafe_b64encode(b"[]").decode(),
        base64.urlsafe_b64encode(b"[" * 2000).decode(),
        "/w==",
    ],
)
async def test_tokens_that_nobody_handed_out(api, token: str) -> None:
    failure = await api.failure(api.vips.ListVips(ListVipsRequest(page_token=token)))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.violations == {"page_token": "is not a token of this list: start again without one"}


async def test_a_token_of_another_list_is_refused(api) -> None:
    token = (await api.vips.ListVips(ListVipsRequest())).next_page_token
    failure = await api.failure(api.pools.ListPools(ListPoolsRequest(page_token=token)))
    assert list(failure.violations) == ["page_token"]
    token = (await api.backends.ListBackends(ListBackendsRequest(parent="pools/web"))).next_page_token
    failure = await api.failure(api.backends.ListBackends(ListBackendsRequest(parent="pools/-", page_token=token)))
    assert list(failure.violations) == ["page_token"]


async def test_a_negative_size_is_refused(api) -> None:
    failure = await api.failure(api.vips.ListVips(ListVipsRequest(page_size=-1)))
    assert failure.violations == {"page_size": "-1 is negative: 0 for 100, or up to 1000"}


async def test_a_page_ends_before_it_is_too_large_for_a_client(api, controller: FakeController, monkeypatch) -> None:
    """Clients accept 4 MiB by default; a page of a thousand full pools would be far more."""
    monkeypatch.setattr(paging, "MAX_PAGE_BYTES", 1000)
    big = {name: replace(POOLS["web"], name=name) for name in ("a", "b")}
    controller._config = Config(pools=big)
    page = await api.pools.ListPools(ListPoolsRequest())
    assert [pool.name for pool in page.pools] == ["pools/a"]
    rest = await api.pools.ListPools(ListPoolsRequest(page_token=page.next_page_token))
    assert ([pool.name for pool in rest.pools], rest.next_page_token) == (["pools/b"], "")
