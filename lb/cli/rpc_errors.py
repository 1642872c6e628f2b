# SPDX-License-Identifier: Apache-2.0
"""The one place where a gRPC status becomes an exit code and a message."""

from __future__ import annotations

from typing import Any

import click
import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from lb.cli.exits import Exit, Failure

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


def failure_of(error: Any, address: str, timeout_seconds: float) -> Failure:
    """What to tell the operator, and scripts, about a failed call.

    Args:
        error: A ``grpc.RpcError`` of a call, which is also a ``grpc.Call``.
        address: The target that was called.
        timeout_seconds: The deadline that it had.
    """
    code = error.code()
    status = _status(error)
    lines = _violations(status) if status is not None else ()
    message = error.details() or f"lbd answered {code.name} without saying why: its log may tell"
    if lines and code is grpc.StatusCode.INVALID_ARGUMENT:
        # The message would only repeat the violations.
        message = "invalid input:"
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        message = (
            f"no answer from {address} within {timeout_seconds:g} s: raise --timeout, or look at lbd's log; "
            "a change that was asked for may have been made"
        )
    elif code is grpc.StatusCode.UNAVAILABLE and status is None:
        message = f"lbd does not answer on {address} ({message}): is it running?"
    elif code is grpc.StatusCode.UNIMPLEMENTED:
        message = f"lbd does not know this call: it is of another version than lbctl ({message})"
    return Failure(_EXITS.get(code, Exit.FAILED), message, lines)


def _status(error: Any) -> status_pb2.Status | None:
    """The ``google.rpc.Status`` that lbd sent along; None when the status comes from the transport."""
    try:
        found: status_pb2.Status | None = rpc_status.from_call(error)
    except ValueError:
        return None
    return found


def _violations(status: status_pb2.Status) -> tuple[str, ...]:
    lines = []
    for detail in status.details:
        bad_request = error_details_pb2.BadRequest()
        if detail.Unpack(bad_request):
            lines += [_line(violation.field, violation.description) for violation in bad_request.field_violations]
    return tuple(lines)


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
