# SPDX-License-Identifier: Apache-2.0
"""Whatever a client sends, it gets an answer that blames the input, never the server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from api.client import Api
from fakes.controller import FakeController
from grpc_status import rpc_status
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.api.server import serve
from lb.v1.backend_pb2 import CreateBackendRequest, ListBackendsRequest, UpdateBackendRequest
from lb.v1.pool_pb2 import CreatePoolRequest, ListPoolsRequest, UpdatePoolRequest
from lb.v1.vip_pb2 import CreateVipRequest, GetVipRequest, UpdateVipRequest

TEXT = st.text(st.characters(codec="utf-8"), max_size=80)
SHORT_NAMES = st.sampled_from(["a", "web"]) | TEXT
NAMES = st.sampled_from(["vips/a", "pools/web", "pools/web/backends/a"]) | TEXT
ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2"]) | st.ip_addresses().map(str) | TEXT
INT32 = st.integers(-(2**31), 2**31 - 1)
UINT32 = st.integers(0, 2**32 - 1)
PATHS = ["*", "pool", "weight", "status", "etag", "backends", "name", "settle_seconds", "hash_policy", "rings"]
MASK = st.fixed_dictionaries({"paths": st.lists(st.sampled_from(PATHS) | TEXT, max_size=3)})
BACKEND = st.fixed_dictionaries(
    {}, optional={"name": NAMES, "address": ADDRESSES, "weight": INT32, "admin_state": INT32, "etag": TEXT}
)
POOL = st.fixed_dictionaries(
    {},
    optional={
        "name": NAMES,
        "description": TEXT,
        "backends": st.lists(BACKEND, max_size=4),
        "vips": st.lists(TEXT),
        "settle_seconds": UINT32,
        "udp_settle_seconds": UINT32,
        "drain_idle_seconds": UINT32,
    },
)
VIP = st.fixed_dictionaries(
    {},
    optional={
        "name": NAMES,
        "address": ADDRESSES,
        "port": UINT32 | st.integers(0, 65535),
        "protocol": st.integers(0, 3) | INT32,
        "pool": NAMES,
        "force": st.booleans(),
        "hash_policy": st.integers(0, 5) | INT32,
        "etag": TEXT,
    },
)
CALLS = st.one_of(
    st.tuples(st.just("vips.CreateVip"), st.builds(CreateVipRequest, vip_id=SHORT_NAMES, vip=VIP)),
    st.tuples(st.just("vips.UpdateVip"), st.builds(UpdateVipRequest, vip=VIP, update_mask=MASK)),
    st.tuples(st.just("vips.GetVip"), st.builds(GetVipRequest, name=NAMES)),
    st.tuples(st.just("pools.CreatePool"), st.builds(CreatePoolRequest, pool_id=SHORT_NAMES, pool=POOL)),
    st.tuples(st.just("pools.UpdatePool"), st.builds(UpdatePoolRequest, pool=POOL, update_mask=MASK)),
    st.tuples(st.just("pools.ListPools"), st.builds(ListPoolsRequest, page_size=INT32, page_token=TEXT)),
    st.tuples(
        st.just("backends.CreateBackend"),
        st.builds(CreateBackendRequest, parent=NAMES, backend_id=SHORT_NAMES, backend=BACKEND),
    ),
    st.tuples(st.just("backends.UpdateBackend"), st.builds(UpdateBackendRequest, backend=BACKEND, update_mask=MASK)),
    st.tuples(
        st.just("backends.ListBackends"),
        st.builds(ListBackendsRequest, parent=NAMES, page_size=INT32, page_token=TEXT),
    ),
)
OURS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.FAILED_PRECONDITION,
}


@settings(max_examples=60, deadline=None)
@given(st.lists(CALLS, min_size=1, max_size=12))
def test_any_sequence_of_calls_is_answered_with_blame_where_it_belongs(calls: list[tuple[str, Any]]) -> None:
    with TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory), calls))


async def run(directory: Path, calls: list[tuple[str, Any]]) -> None:
    server = await serve(FakeController(), f"unix://{directory}/lbd.sock")
    api = Api(f"unix://{server.path}")
    for path, request in (("pools.CreatePool", CreatePoolRequest(pool_id="web")), *calls):
        service, method = path.split(".")
        try:
            await getattr(getattr(api, service), method)(request)
        except grpc.aio.AioRpcError as error:
            if error.code() not in OURS or rpc_status.from_call(error) is None:
                raise
    await api.channel.close()
    await server.stop(0)
