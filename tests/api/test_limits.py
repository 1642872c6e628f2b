# SPDX-License-Identifier: Apache-2.0
"""What one client, or all of them together, can ask of the daemon at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from api.client import Api
from api.pki import Authority
from fakes.controller import FakeController

from lb.api.endpoint import MAX_CONCURRENT_CALLS, MAX_CONCURRENT_STREAMS, MAX_REQUEST_BYTES
from lb.api.server import Server, serve
from lb.api.tls import TlsSettings
from lb.v1.config_pb2 import ApplyConfigRequest
from lb.v1.pool_pb2 import CreatePoolRequest
from lb.v1.stats_pb2 import GetStatsRequest
from lb.v1.system_pb2 import GetStatusRequest


class Slow(FakeController):
    """Counters are not read until ``go_on`` is set. ``waiting``: calls that wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.go_on = asyncio.Event()

    async def counters(self):
        self.waiting += 1
        await self.go_on.wait()
        return await super().counters()

    async def until_waiting(self, number: int) -> None:
        async with asyncio.timeout(30):
            while self.waiting < number:  # noqa: ASYNC110 (it counts in the code under test)
                await asyncio.sleep(0.001)


@pytest.fixture
async def controller() -> AsyncIterator[Slow]:
    slow = Slow()
    yield slow
    slow.go_on.set()


async def open_apis(stack: AsyncExitStack, target: str, number: int, credentials=None) -> list[Api]:
    """Clients with a connection each: gRPC would let them share one."""
    apis = []
    for _ in range(number):
        api = Api(target, credentials, options=[("grpc.use_local_subchannel_pool", 1)])
        stack.push_async_callback(api.channel.close)
        apis.append(api)
    return apis


async def test_a_request_of_the_largest_size_passes_and_no_larger_one(api: Api) -> None:
    """16 MiB hold any configuration that is within the data plane's limits."""
    request = CreatePoolRequest(pool_id="web")
    request.pool.description = "x" * (MAX_REQUEST_BYTES - request.ByteSize() - 20)
    failure = await api.failure(api.pools.CreatePool(request))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    request.pool.description += "x" * 40
    assert await api.pools.CreatePool(request).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_large_configuration_passes(api: Api, controller: Slow) -> None:
    request = ApplyConfigRequest()
    for pool in range(100):
        backends = [{"name": f"backend-{n}", "address": f"10.{pool}.0.{n + 1}"} for n in range(50)]
        request.config.pools.add(name=f"pools/pool-{pool}", backends=backends)
    for vip in range(1_000):
        request.config.vips.add(
            name=f"vips/vip-{vip}", address="192.0.2.1", port=vip + 1, protocol=1, pool=f"pools/pool-{vip % 100}"
        )
    await api.config.ApplyConfig(request)
    assert len(controller.view().config.vips) == 1_000


async def test_one_connection_has_so_many_calls_at_a_time(server: Server, controller: Slow) -> None:
    """One more, even one that would be answered at once, does not reach the daemon. Another connection is served."""
    async with AsyncExitStack() as stack:
        api, other = await open_apis(stack, f"unix://{server.path}", 2)
        calls = [api.stats.GetStats(GetStatsRequest()) for _ in range(MAX_CONCURRENT_STREAMS)]
        await controller.until_waiting(MAX_CONCURRENT_STREAMS)
        code = await api.system.GetStatus(GetStatusRequest(), timeout=0.1).code()
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert (await other.system.GetStatus(GetStatusRequest())).ready
        controller.go_on.set()
        await asyncio.gather(*calls)


async def test_clients_of_the_network_cannot_lock_out_the_socket(controller: Slow, tmp_path: Path) -> None:
    """Each listener has its own allowance, so that root can always get in and end it."""
    authority = Authority(tmp_path / "ca")
    lbd, reader = authority.issue("lbd", "IP:127.0.0.1"), authority.issue("reader", "URI:urn:lb:role:read")
    tls = TlsSettings("127.0.0.1:0", lbd.cert, lbd.key, authority.ca)
    server = await serve(controller, f"unix://{tmp_path}/lbd.sock", tls)
    files = (authority.ca, reader.key, reader.cert)
    credentials = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
    async with AsyncExitStack() as stack:
        apis = await open_apis(stack, f"127.0.0.1:{server.tls_port}", 3, credentials)
        calls = [apis[n % 3].stats.GetStats(GetStatsRequest()) for n in range(MAX_CONCURRENT_CALLS)]
        await controller.until_waiting(MAX_CONCURRENT_CALLS)
        code = await apis[0].system.GetStatus(GetStatusRequest()).code()
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        (local,) = await open_apis(stack, f"unix://{server.path}", 1)
        assert (await local.system.GetStatus(GetStatusRequest())).ready
        controller.go_on.set()
        await asyncio.gather(*calls)
    await server.stop(0)
