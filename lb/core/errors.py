# SPDX-License-Identifier: Apache-2.0
"""Errors that the operator can do something about. The API maps each class to one status code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with an input: the field's path ("vip.port") and a sentence that names the remedy."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class LbError(Exception):
    """Base class. ``reason``: UPPER_SNAKE_CASE, stable, for programs. ``violations``: the fields at fault, if any."""

    reason = "INTERNAL"

    def __init__(self, message: str, violations: Sequence[Violation] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.violations = tuple(violations)


class InvalidError(LbError):
    """The input can't be right, whatever the state: all its violations at once."""

    reason = "INVALID"

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(map(str, violations)), violations)


class NotFoundError(LbError):
    """A named resource does not exist."""

    reason = "NOT_FOUND"


class ExistsError(LbError):
    """A resource of that name, or a VIP of that address, port and protocol, is there already."""

    reason = "ALREADY_EXISTS"


class StaleError(LbError):
    """The etag is not the current one: somebody else changed the resource meanwhile."""

    reason = "STALE_ETAG"


class RefusedError(LbError):
    """Valid in itself, but the present state forbids it (a pool in use, an address of the box)."""

    reason = "FAILED_PRECONDITION"


class LimitError(LbError):
    """A fixed capacity of the data plane would be exceeded."""

    reason = "LIMIT_EXCEEDED"


class GoneError(LbError):
    """What was asked for is no longer kept, or not there yet: begin anew."""

    reason = "OUT_OF_RANGE"


class DeniedError(LbError):
    """The caller may not do this: another role is needed."""

    reason = "PERMISSION_DENIED"


class UnavailableError(LbError):
    """The daemon can't do it now (data plane not ready, store not writable); the configuration is unchanged."""

    reason = "UNAVAILABLE"
