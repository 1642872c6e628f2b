# SPDX-License-Identifier: Apache-2.0
"""Whose call is being served: set by the server's interceptor, read by the services."""

from __future__ import annotations

from contextvars import ContextVar

from lb.core.audit import Caller

_UNKNOWN = Caller("unknown")
_current: ContextVar[Caller] = ContextVar("caller", default=_UNKNOWN)


def caller() -> Caller:
    """Of the call that this task serves."""
    return _current.get()


def set_caller(found: Caller) -> None:
    """For the rest of this task."""
    _current.set(found)
