# SPDX-License-Identifier: Apache-2.0
"""Validation: raw fields to values of the model, and what must hold between objects.

A ``parse_*`` function notes what is wrong in ``found`` and returns a stand-in, so that one pass collects every
violation of an input. Build the object only when ``found`` stayed empty (``raise_if_any``). Addresses and prefixes:
``lb.core.addresses``; health checks and what hangs on them: ``lb.core.validate_checks``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import TypeVar

from lb.core.errors import InvalidError, LimitError, RefusedError, Violation
from lb.core.limits import MAX_BACKENDS, MAX_BACKENDS_PER_POOL, MAX_POOLS, MAX_VIPS
from lb.core.model import MAX_WEIGHT, Address, AdminState, Backend, Config, HashPolicy, Pool, Protocol, Vip

Found = list[Violation]

MAX_PORT = 65_535
MAX_DESCRIPTION = 256
MAX_SETTLE_SECONDS = 604_800
"""A week: who is silent for longer has gone."""

MAX_UDP_SETTLE_SECONDS = 86_400
MAX_DRAIN_IDLE_SECONDS = 604_800
MAX_DEADLINE_SECONDS = 604_800
"""From now, of a drain."""

END_OF_TIME = 253_402_300_799
"""Last second of the year 9999, since the epoch: later ones can't be shown."""

E = TypeVar("E", bound=Enum)

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_QUOTED = 60


def quote(text: str) -> str:
    """``text`` for an error message: quoted, ASCII, cut to a bounded length."""
    return ascii(text if len(text) <= _QUOTED else text[:_QUOTED] + "...")


def raise_if_any(found: Found) -> None:
    """Raise ``InvalidError`` with everything that was found; nothing found, nothing raised."""
    if found:
        raise InvalidError(found)


def parse_name(found: Found, field: str, text: str) -> str:
    """The last part of a resource name."""
    if not text:
        found.append(Violation(field, "is required: lower-case letters, digits and '-', such as 'web'"))
    elif not _NAME.fullmatch(text):
        rule = "use lower-case letters, digits and '-', at most 63, starting with a letter"
        found.append(Violation(field, f"{quote(text)} is not a name: {rule}"))
    return text


def parse_port(found: Found, field: str, number: int) -> int:
    """Port of a VIP; 0 means every port."""
    if not 0 <= number <= MAX_PORT:
        found.append(Violation(field, f"{number} is not a port: 1 to {MAX_PORT}, or 0 for every port"))
    return number


def parse_weight(found: Found, field: str, number: int) -> int:
    """Weight of a backend; 0 means no new flows."""
    if not 0 <= number <= MAX_WEIGHT:
        found.append(Violation(field, f"{number} is not a weight: 0 (no new flows) to {MAX_WEIGHT}"))
    return number


def parse_settle_seconds(found: Found, field: str, number: int) -> int:
    """How long a TCP client may be silent; 0 means that flows are not protected."""
    return _parse_seconds(found, field, number, MAX_SETTLE_SECONDS, "flows are not protected")


def parse_udp_settle_seconds(found: Found, field: str, number: int) -> int:
    """How long a UDP client may be silent; 0 means that flows are not protected."""
    return _parse_seconds(found, field, number, MAX_UDP_SETTLE_SECONDS, "flows are not protected")


def parse_drain_idle_seconds(found: Found, field: str, number: int) -> int:
    """How long a client of a draining backend may be silent; 0 means that silent ones are not waited for."""
    return _parse_seconds(found, field, number, MAX_DRAIN_IDLE_SECONDS, "silent clients are not waited for")


def _parse_seconds(found: Found, field: str, number: int, most: int, zero: str) -> int:
    if not 0 <= number <= most:
        found.append(Violation(field, f"{number} is out of range: give seconds from 0 ({zero}) to {most}"))
    return number


def parse_protocol(found: Found, field: str, text: str) -> Protocol:
    """Protocol of a VIP by name; required."""
    choices = " or ".join(member.name for member in Protocol)
    if not text:
        found.append(Violation(field, f"is required: {choices}"))
    elif text not in Protocol.__members__:
        found.append(Violation(field, f"{quote(text)} is not a protocol that is balanced: choose {choices}"))
    else:
        return Protocol[text]
    return Protocol.TCP


def parse_hash_policy(found: Found, field: str, text: str) -> HashPolicy:
    """Hash policy of a VIP by name."""
    return parse_choice(found, field, text, HashPolicy.FIVE_TUPLE, "a hash policy")


def parse_admin_state(found: Found, field: str, text: str) -> AdminState:
    """Admin state of a backend by name."""
    return parse_choice(found, field, text, AdminState.ENABLED, "an admin state")


def parse_choice(found: Found, field: str, text: str, stand_in: E, what: str) -> E:
    """A member of an enum by name; ``what`` it is, for the message."""
    kind = type(stand_in)
    if text not in kind.__members__:
        choices = ", ".join(kind.__members__)
        found.append(Violation(field, f"{quote(text)} is not {what}: choose one of {choices}"))
        return stand_in
    return kind[text]


def parse_drain_deadline(found: Found, field: str, number: int, known: int, now: float | None) -> int:
    """When a drain ends, in seconds since the epoch; 0 means never.

    Args:
        known: The backend's present deadline: whoever sends it back wants no new one.
        now: Seconds since the epoch; None accepts times that have passed: files and exports grow old.
    """
    if not 0 <= number <= END_OF_TIME:
        found.append(Violation(field, f"{number} is not a time: give seconds since the epoch, or 0 for no deadline"))
    elif now is not None and number not in (0, known) and number <= now:
        remedy = "give a later time, or set admin_state DISABLED to cut the flows now"
        found.append(Violation(field, f"{number} has passed, it is {int(now)} now: {remedy}"))
    return number


def parse_deadline_seconds(found: Found, field: str, number: int) -> int:
    """How long a drain may take; 0 means for as long as flows need."""
    return _parse_seconds(found, field, number, MAX_DEADLINE_SECONDS, "no deadline")


def parse_description(found: Found, field: str, text: str) -> str:
    """A line for people."""
    if len(text) > MAX_DESCRIPTION:
        found.append(Violation(field, f"has {len(text)} characters: shorten it to {MAX_DESCRIPTION}"))
    elif not text.isprintable():
        found.append(Violation(field, "has a line break or another unprintable character: write one plain line"))
    return text


def parse_hash_key(found: Found, field: str, text: str) -> bytes:
    """Key of the flow hash."""
    if not re.fullmatch(r"[0-9a-fA-F]{32}", text):
        # The key is a secret, so the message does not repeat it.
        found.append(Violation(field, f"needs 32 hexadecimal digits, this has {len(text)} characters"))
        return bytes(16)
    key = bytes.fromhex(text)
    if not any(key):
        found.append(Violation(field, "is all zeros, which means none: leave it out to have one made"))
    return key


def check_vip_address(vip: Vip, local_addresses: Iterable[Address]) -> None:
    """Raise ``RefusedError`` when the VIP is an address of the box and ``force`` does not accept that."""
    if not vip.force and vip.address in local_addresses:
        traffic = f"its own traffic to port {vip.port}" if vip.port else "all its own traffic"
        raise RefusedError(
            f"{vip.address} is an address of this balancer: {traffic} would be balanced; say so with --force "
            "(in a file, force: true) if that is wanted",
            [Violation("vip.address", "is an address of this balancer: set force (--force) if that is wanted")],
        )


def check_edit(before: Config, after: Config, local_addresses: Iterable[Address]) -> None:
    """Raise ``LimitError`` or ``RefusedError`` for what an edit made worse; what was there before may stay.

    So an address that the box got after a VIP was made does not block unrelated edits, nor the way back.
    """
    _check_limits(before, after)
    if after.vips is not before.vips:
        local = frozenset(local_addresses)
        for name, vip in after.vips.items():
            if before.vips.get(name) != vip:
                check_vip_address(vip, local)
    new_loops = _loops(after, before)
    if new_loops:
        new_loops -= _loops(before, after)
    if new_loops:
        vip_name, pool, backend = min(new_loops)
        address = after.vips[vip_name].address
        raise RefusedError(
            f"{address} is vip {vip_name!r} and backend {pool}/{backend}: packets to the backend would come back to "
            "the balancer; give the host's own address as the backend's"
        )


def _loops(config: Config, other: Config) -> set[tuple[str, str, str]]:
    """Backends that are VIPs, as (vip, pool, backend); without those that ``other`` has for certain too."""
    if config.vips is not other.vips:
        members = [(pool.name, backend) for pool in config.pools.values() for backend in pool.backends.values()]
    else:
        members = [
            found for pool in config.pools.values() for found in _newly_addressed(pool, other.pools.get(pool.name))
        ]
    if not members:
        return set()
    vips: dict[Address, list[str]] = {}
    for vip in config.vips.values():
        vips.setdefault(vip.address, []).append(vip.name)
    return {(vip_name, pool, backend.name) for pool, backend in members for vip_name in vips.get(backend.address, ())}


def _newly_addressed(pool: Pool, other: Pool | None) -> list[tuple[str, Backend]]:
    """Members of a pool whose addresses the other one does not have under the same name."""
    if pool is other:
        return []
    before = other.backends if other else {}
    return [
        (pool.name, backend)
        for name, backend in pool.backends.items()
        if name not in before or before[name].address != backend.address
    ]


def _check_limits(before: Config, after: Config) -> None:
    was, now = _members(before), _members(after)
    largest = max(now, key=now.__getitem__, default="")
    for what, old, new, limit in (
        ("VIPs", len(before.vips), len(after.vips), MAX_VIPS),
        ("pools", len(was), len(now), MAX_POOLS),
        ("backends over all pools", sum(was.values()), sum(now.values()), MAX_BACKENDS),
        (f"backends in pool {largest!r}", was.get(largest, 0), now.get(largest, 0), MAX_BACKENDS_PER_POOL),
    ):
        if new > limit and new > old:
            raise LimitError(f"{new:,} {what} would exceed the data plane's limit of {limit:,}: delete some first")


def _members(config: Config) -> dict[str, int]:
    return {name: len(pool.backends) for name, pool in config.pools.items()}
