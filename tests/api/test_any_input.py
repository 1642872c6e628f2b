# SPDX-License-Identifier: Apache-2.0
"""Whatever a client sends, it gets an answer that blames the input, never the server, and a change is made whole."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from tempfile import TemporaryDirectory

import grpc
from api.any_message import messages
from api.client import Api
from fakes.controller import FakeController
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.api.server import serve
from lb.v1 import backend_pb2, config_pb2, events_pb2, pool_pb2, stats_pb2, system_pb2, vip_pb2

MODULES = (vip_pb2, pool_pb2, backend_pb2, stats_pb2, system_pb2, config_pb2, events_pb2)
METHODS: dict[str, MethodDescriptor] = {
    method.name: method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
CALLS = st.one_of([st.tuples(st.just(name), messages(method.input_type)) for name, method in METHODS.items()])
GARBAGE = st.tuples(st.sampled_from(list(METHODS)), st.binary(max_size=40))
BLAMED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
}
BEGINNING = (
    ("CreatePool", {"pool_id": "web", "pool": {"backends": [{"name": "b1", "address": "10.0.0.1"}]}}),
    ("CreateVip", {"vip_id": "web", "vip": {"address": "192.0.2.1", "port": 80, "protocol": 1, "pool": "pools/web"}}),
)
WATCH_SECONDS = 0.02


@settings(max_examples=100)
@given(st.lists(CALLS, min_size=1, max_size=12))
def test_any_sequence_of_calls_is_answered_with_blame_where_it_belongs(
    calls: list[tuple[str, Message]],
) -> None:
    asyncio.run(_run([(name, request.SerializeToString()) for name, request in calls]))


@settings(max_examples=40)
@given(st.lists(GARBAGE, min_size=1, max_size=12))
def test_bytes_that_are_no_message_harm_nobody(calls: list[tuple[str, bytes]]) -> None:
    asyncio.run(_run(calls))


async def _run(calls: list[tuple[str, bytes]]) -> None:
    controller = FakeController()
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory())
        server = await serve(controller, f"unix://{directory}/lbd.sock")
        stack.push_async_callback(server.stop, 0)
        api = Api(f"unix://{server.path}")
        stack.push_async_callback(api.channel.close)
        for name, fields in BEGINNING:
            request = GetMessageClass(METHODS[name].input_type)(**fields)
            await _call(api, METHODS[name], request.SerializeToString())
        for name, request in calls:
            before = controller.view()
            code = await _call(api, METHODS[name], request)
            after = controller.view()
            changed = after.revision - before.revision
            # Never in part: all of a change is one revision, and a call that failed has made none.
            assert changed in ((0, 1) if code is grpc.StatusCode.OK else (0,))
            assert changed or after.config == before.config
        await _check_that_it_holds(api)


async def _call(api: Api, method: MethodDescriptor, request: bytes) -> grpc.StatusCode:
    """Make a call; its code, which must be one that a client may get, with the details that clients are promised."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        if method.server_streaming:
            async for answer in api.channel.unary_stream(path)(request, timeout=WATCH_SECONDS):
                GetMessageClass(method.output_type).FromString(answer)
        else:
            answer = await api.channel.unary_unary(path)(request)
            GetMessageClass(method.output_type).FromString(answer)
    except grpc.aio.AioRpcError as error:
        if method.server_streaming and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return grpc.StatusCode.OK
        if error.code() not in BLAMED or rpc_status.from_call(error) is None:
            raise
        return error.code()
    return grpc.StatusCode.OK


async def _check_that_it_holds(api: Api) -> None:
    """What is configured is a configuration: exported and applied again, it changes nothing."""
    config = await api.config.GetConfig(config_pb2.GetConfigRequest())
    plan = await api.config.ApplyConfig(config_pb2.ApplyConfigRequest(config=config, prune=True, validate_only=True))
    assert not plan.differences
