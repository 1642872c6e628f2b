# SPDX-License-Identifier: Apache-2.0
"""What stands before every call: whose it is, and whether they may."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from lb.api.budget import Budget
from lb.api.callers import set_caller
from lb.api.errors import to_status
from lb.api.identity import Identity
from lb.api.roles import ROLE_URI, Role, needed_role
from lb.core.audit import Caller
from lb.core.errors import DeniedError, InvalidError, LbError, UnavailableError, Violation

DENIALS_PER_MINUTE = 30
"""That go on record: who is denied may ask again and again."""

Context = grpc.aio.ServicerContext[Any, Any]


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """The outermost interceptor. A request is parsed only when its caller may make it."""

    def __init__(
        self, identify: Callable[[str], Identity | None], denied: Callable[[Caller, str], Awaitable[None]]
    ) -> None:
        """``identify``: who is behind a peer as gRPC names it. ``denied``: records a call that was denied, and why."""
        self._identify = identify
        self._denied = denied
        self._budget = Budget(DENIALS_PER_MINUTE)

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method

        async def one_answer(raw: bytes, context: Context) -> Any:
            request = await self._admit(method, context, handler, raw)
            return await handler.unary_unary(request, context)

        async def stream_of_answers(raw: bytes, context: Context) -> None:
            request = await self._admit(method, context, handler, raw)
            await _stream(handler.unary_stream, request, context)

        async def dialogue(requests: Any, context: Context) -> None:
            await self._check(method, context)
            await _stream(handler.stream_stream, requests, context)

        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(one_answer, None, handler.response_serializer)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(stream_of_answers, None, handler.response_serializer)
        assert handler.stream_stream is not None, "no method takes a stream and gives one answer"
        return grpc.stream_stream_rpc_method_handler(
            dialogue, handler.request_deserializer, handler.response_serializer
        )

    async def _admit(self, method: str, context: Context, handler: Any, raw: bytes) -> Any:
        """The parsed request of a call that is allowed; aborts any other."""
        await self._check(method, context)
        try:
            return handler.request_deserializer(raw)
        except DecodeError:
            await _abort(context, InvalidError([Violation("request", f"is not a message of {short(method)}")]))

    async def _check(self, method: str, context: Context) -> None:
        """Say whose call this is; aborts it when they may not make it."""
        identity = self._identify(context.peer())
        if identity is None:
            await _abort(context, UnavailableError("the connection has ended"))
        caller = Caller(identity.who, identity.origin, short(method))
        set_caller(caller)
        needed = needed_role(method)
        if identity.role is not None and identity.role >= needed:
            return
        note = f"needs role {needed.word}, the certificate has {_which(identity.role)}"
        await self._record(caller, note)
        # Its owner may believe that it has one: a typo in the URI is as good as none.
        hint = "" if identity.role else f": the URI {ROLE_URI}{needed.word} in its subjectAltName gives that role"
        await _abort(context, DeniedError(f"{caller.method} {note}{hint}"))

    async def _record(self, caller: Caller, note: str) -> None:
        remark = self._budget.take()
        if remark is not None:
            await self._denied(caller, note + remark)


def short(method: str) -> str:
    """ "BackendService.UpdateBackend" for "/lb.v1.BackendService/UpdateBackend"."""
    service, _, name = method.removeprefix("/").rpartition("/")
    return f"{service.rpartition('.')[2]}.{name}"


def _which(role: Role | None) -> str:
    return "none" if role is None else f"role {role.word}"


async def _stream(behaviour: Any, request: Any, context: Context) -> None:
    """Run a servicer's method of either kind: it yields its answers, or writes them itself."""
    if not inspect.isasyncgenfunction(behaviour):
        await behaviour(request, context)
        return
    async with aclosing(behaviour(request, context)) as answers:
        async for answer in answers:
            await context.write(answer)


async def _abort(context: Context, error: LbError) -> NoReturn:
    """Raises ``grpc.aio.AbortError``."""
    answer = rpc_status.to_status(to_status(error, Empty()))
    await context.abort(answer.code, answer.details, answer.trailing_metadata)
    raise AssertionError("abort always raises")
