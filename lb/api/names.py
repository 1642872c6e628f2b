# SPDX-License-Identifier: Apache-2.0
"""Resource names: ``vips/web``, ``pools/web``, ``pools/web/backends/b1``.

As in ``lb.core.validate``, a ``parse_*`` function notes what is wrong in ``found`` and returns a stand-in. ``short``
accepts a bare name too, as people write it in a configuration file.
"""

from __future__ import annotations

from lb.core.errors import Violation
from lb.core.resource_names import backend_name as backend_name
from lb.core.resource_names import pool_name as pool_name
from lb.core.resource_names import vip_name as vip_name
from lb.core.validate import Found, parse_name, quote


def parse_vip_name(found: Found, field: str, text: str, *, short: bool = False) -> str:
    """The VIP's name."""
    if short and "/" not in text:
        return parse_name(found, field, text)
    return _parse(found, field, text, vip_name("*"))[0]


def parse_pool_name(found: Found, field: str, text: str, *, short: bool = False) -> str:
    """The pool's name."""
    if short and "/" not in text:
        return parse_name(found, field, text)
    return _parse(found, field, text, pool_name("*"))[0]


def parse_backend_name(found: Found, field: str, text: str) -> tuple[str, str]:
    """The pool's and the backend's name."""
    pool, name = _parse(found, field, text, backend_name("*", "*"))
    return pool, name


def parse_member_name(found: Found, field: str, text: str, pool: str) -> str:
    """Name of a backend that is written inside its pool: bare, or in full with that pool."""
    if "/" not in text:
        return parse_name(found, field, text)
    return _parse(found, field, text, backend_name(pool, "*"))[0]


def _parse(found: Found, field: str, text: str, pattern: str) -> list[str]:
    """The parts of ``text`` where ``pattern`` has "*"."""
    wanted, given = pattern.split("/"), text.split("/")
    if len(wanted) != len(given) or any(part not in ("*", have) for part, have in zip(wanted, given, strict=True)):
        example = pattern.replace("backends/*", "backends/b1").replace("*", "web")
        problem = f"{quote(text)} is not of this form" if text else "is required"
        found.append(Violation(field, f"{problem}: write a resource name such as {example}"))
        return [""] * pattern.count("*")
    return [parse_name(found, field, have) for part, have in zip(wanted, given, strict=True) if part == "*"]
