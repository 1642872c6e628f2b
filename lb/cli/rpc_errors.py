# SPDX-License-Identifier: Apache-2.0
"""The one place where a gRPC status becomes an exit code and a message."""

from __future__ import annotations

from typing import Any

import click
import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from lb.cli.exits import Exit, Failure
from lb.cli.target import Target
from lb.cli.tls import explain

_EXITS = {
    grpc.StatusCode.INVALID_ARGUMENT: Exit.USAGE,
    grpc.StatusCode.OUT_OF_RANGE: Exit.USAGE,
    grpc.StatusCode.NOT_FOUND: Exit.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: Exit.CONFLICT,
    grpc.StatusCode.ABORTED: Exit.CONFLICT,
    grpc.StatusCode.FAILED_PRECONDITION: Exit.CONFLICT,
    grpc.StatusCode.UNAVAILABLE: Exit.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Exit.UNAVAILABLE,
    grpc.StatusCode.PERMISSION_DENIED: Exit.DENIED,
    grpc.StatusCode.UNAUTHENTICATED: Exit.DENIED,
}


def failure_of(error: Any, target: Target, timeout_seconds: float, *, changes: bool = False) -> Failure:
    """What to tell the operator, and scripts, about a failed call.

    Args:
        error: A ``grpc.RpcError`` of a call, which is also a ``grpc.Call``.
        target: What was called.
        timeout_seconds: The deadline that it had.
        changes: Whether it was to change something.
    """
    code = error.code()
    status = _status(error)
    lines = tuple(_line(item.field, item.description) for item in _violations(status))
    message = error.details() or f"lbd answered {code.name} without saying why: its log may tell"
    if lines and code is grpc.StatusCode.INVALID_ARGUMENT:
        # The message would only repeat the violations.
        message = "invalid input:"
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        message = f"no answer from {target.address} within {timeout_seconds:g} s: raise --timeout, or look at lbd's log"
        message += "; the change may have been made" if changes else ""
    elif code is grpc.StatusCode.UNAVAILABLE and status is None:
        explained = explain(target.address, target.tls) if target.path is None else None
        if explained is not None:
            return explained
        # gRPC tells a story of it, whose last part is the reason.
        message = f"lbd does not answer on {target.address}: {message.rpartition(': ')[2].lower()}: is it running?"
    elif code is grpc.StatusCode.UNIMPLEMENTED:
        message = f"lbd does not know this call: it is of another version than lbctl ({message})"
    return Failure(_EXITS.get(code, Exit.FAILED), message, lines)


def violations_of(failure: Failure) -> list[tuple[str, str]]:
    """(field, description) of all that lbd had to say against a request; none for other failures."""
    cause = failure.__cause__
    if not isinstance(cause, grpc.RpcError):
        return []
    return [(item.field, item.description) for item in _violations(_status(cause))]


def is_stale(failure: Failure) -> bool:
    """Whether lbd refused because somebody else changed meanwhile what was to be changed."""
    cause: Any = failure.__cause__
    return isinstance(cause, grpc.RpcError) and cause.code() is grpc.StatusCode.ABORTED


def _status(error: Any) -> status_pb2.Status | None:
    """The ``google.rpc.Status`` that lbd sent along; None when the status comes from the transport."""
    try:
        found: status_pb2.Status | None = rpc_status.from_call(error)
    except ValueError:
        return None
    return found


def _violations(status: status_pb2.Status | None) -> list[Any]:
    found: list[Any] = []
    for detail in status.details if status is not None else ():
        bad_request = error_details_pb2.BadRequest()
        if detail.Unpack(bad_request):
            found += bad_request.field_violations
    return found


def _line(field: str, description: str) -> str:
    """``field: description``, and the option that sets the field, unless the description names one."""
    text = f"{field}: {description}" if field else description
    if "--" in description:
        return text
    ctx = click.get_current_context(silent=True)
    for param in ctx.command.params if ctx else ():
        if isinstance(param, click.Option) and param.name == field.rpartition(".")[2] and param.expose_value:
            return f"{text} ({param.opts[-1]})"
    return text
