# SPDX-License-Identifier: Apache-2.0
"""Pages of a list: in the order of names, with a token that says after which name the next page begins.

So a page stays right when objects come and go between two calls: none is shown twice, none that stayed is left out.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import json
from collections.abc import Callable, Collection
from typing import TypeVar

from google.protobuf.message import Message

from lb.core.errors import Violation
from lb.core.validate import Found, raise_if_any

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000
MAX_PAGE_BYTES = 2 * 1024 * 1024
"""A page ends early rather than exceed what clients accept by default (4 MiB)."""

M = TypeVar("M", bound=Message)


def paginate(
    kind: str, names: Collection[str], size: int, token: str, render: Callable[[str], M]
) -> tuple[list[M], str]:
    """One page of a list.

    Args:
        kind: Which list it is ("pools/web/backends"): a token of another list is refused.
        names: All names of the list, in any order.
        size: ``page_size`` of the request.
        token: ``page_token`` of the request.
        render: The message for a name.

    Returns:
        The page, and the token of the next one ("" on the last).

    Raises:
        InvalidError: A negative size, or a token that this list did not hand out.
    """
    found: Found = []
    limit = parse_size(found, size)
    last = decode(found, kind, token)
    raise_if_any(found)
    ordered = sorted(names)
    start = bisect.bisect_right(ordered, last)
    page: list[M] = []
    used_bytes = 0
    for name in ordered[start : start + limit]:
        message = render(name)
        used_bytes += message.ByteSize()
        if page and used_bytes > MAX_PAGE_BYTES:
            break
        page.append(message)
    end = start + len(page)
    return page, encode(kind, ordered[end - 1]) if end < len(ordered) else ""


def parse_size(found: Found, size: int) -> int:
    """How long a page may be, by ``page_size`` of the request."""
    if size < 0:
        found.append(Violation("page_size", f"{size} is negative: 0 for {DEFAULT_PAGE_SIZE}, or up to {MAX_PAGE_SIZE}"))
    return min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def encode(kind: str, last: str) -> str:
    """The token of the page that begins after ``last`` in the list ``kind``."""
    return base64.urlsafe_b64encode(json.dumps([kind, last]).encode()).decode()


def decode(found: Found, kind: str, token: str) -> str:
    """What the next page of the list ``kind`` begins after; "" for no token."""
    if not token:
        return ""
    try:
        match json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True)):
            case [str(its_kind), str(last)] if its_kind == kind:
                return last
    except (binascii.Error, ValueError, RecursionError):
        pass
    found.append(Violation("page_token", "is not a token of this list: start again without one"))
    return ""
