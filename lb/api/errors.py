# SPDX-License-Identifier: Apache-2.0
"""The one place where errors become gRPC statuses: ``google.rpc.Status`` with typed details."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from lb.core import errors

DOMAIN = "lb"
MAX_MESSAGE = 600
MAX_VIOLATION_BYTES = 3_000
"""Statuses travel in HTTP/2 trailers, of which clients accept 8 KiB by default, base64 included."""

_CODES: dict[type[errors.LbError], grpc.StatusCode] = {
    errors.InvalidError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.ExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.StaleError: grpc.StatusCode.ABORTED,
    errors.RefusedError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.LimitError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.GoneError: grpc.StatusCode.OUT_OF_RANGE,
    errors.DeniedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
}
_ABOUT_A_RESOURCE = (errors.NotFoundError, errors.ExistsError, errors.StaleError, errors.RefusedError)

Method: TypeAlias = Callable[[Message, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Any]]

log = logging.getLogger(__name__)


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Answers an ``LbError`` with its status, and anything unexpected with INTERNAL and a traceback in the log."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        codec = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(_guarded(handler.unary_unary, handler_call_details), *codec)
        # A stream that is written by a coroutine, as ours are, ends like any other call. Generators are not ours.
        if inspect.iscoroutinefunction(handler.unary_stream):
            return grpc.unary_stream_rpc_method_handler(_guarded(handler.unary_stream, handler_call_details), *codec)
        return handler


def _guarded(method: Method, details: grpc.HandlerCallDetails) -> Method:
    """``method``, whose errors end the call with their status."""

    async def guarded(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await method(request, context)
        except grpc.aio.AbortError:
            raise
        except errors.LbError as error:
            status = to_status(error, request)
        except Exception:
            log.exception("%s failed: this is a bug in lbd", details.method)
            status = to_status(errors.LbError("internal error: lbd's log has the traceback"), request)
        answer = rpc_status.to_status(status)
        return await context.abort(answer.code, answer.details, answer.trailing_metadata)

    return guarded


def to_status(error: errors.LbError, request: Message) -> status_pb2.Status:
    """The status of a failed call: ErrorInfo always, BadRequest and ResourceInfo where they say something."""
    code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), grpc.StatusCode.INTERNAL)
    status = status_pb2.Status(code=code.value[0], message=_cut(error.message, MAX_MESSAGE))
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    if error.violations:
        status.details.add().Pack(_bad_request(error.violations))
    elif isinstance(error, _ABOUT_A_RESOURCE):
        kind, name = resource(request, exists=not isinstance(error, errors.NotFoundError))
        if name:
            status.details.add().Pack(error_details_pb2.ResourceInfo(resource_type=kind, resource_name=name))
    return status


def _bad_request(violations: Sequence[errors.Violation]) -> error_details_pb2.BadRequest:
    """As many violations as a trailer has room for, and how many there are more."""
    bad = error_details_pb2.BadRequest()
    for number, violation in enumerate(violations):
        item = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(violation.field, MAX_MESSAGE), description=_cut(violation.message, MAX_MESSAGE)
        )
        if bad.ByteSize() + item.ByteSize() > MAX_VIOLATION_BYTES:
            rest = f"{len(violations) - number} more violations: mend these first"
            bad.field_violations.add(field="", description=rest)
            break
        bad.field_violations.append(item)
    return bad


def resource(request: Message, *, exists: bool) -> tuple[str, str]:
    """Type and name of the resource that a request is about; "" when it is about no single one.

    A create that fails because something is not found is about the new resource's parent.
    """
    fields = {field.name: value for field, value in request.ListFields()}
    parent = fields.get("parent", "")
    for kind in ("vip", "pool", "backend"):
        if f"{kind}_id" in request.DESCRIPTOR.fields_by_name:
            if parent and not exists:
                return "lb.v1.Pool", parent
            return f"lb.v1.{kind.title()}", f"{parent + '/' if parent else ''}{kind}s/{fields.get(f'{kind}_id', '')}"
        if kind in fields:
            return f"lb.v1.{kind.title()}", fields[kind].name
    if "revision" in fields and not exists:
        return "lb.v1.Revision", str(fields["revision"])
    name = fields.get("name", parent)
    collection = ["", *name.split("/")][-2]
    return {"vips": "lb.v1.Vip", "pools": "lb.v1.Pool", "backends": "lb.v1.Backend"}.get(collection, ""), name


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
