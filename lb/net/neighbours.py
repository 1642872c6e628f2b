# SPDX-License-Identifier: Apache-2.0
"""When to ask the kernel for which neighbour, and which MAC to believe meanwhile. Pure; times in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lb.core.model import Address
from lb.net.facts import Neighbour

Key = tuple[int, Address]
"""(ifindex, address)."""

HOLD_SECONDS = 0.5
"""How long a MAC outlives its entry. `ip neigh flush` and the kernel's garbage collector drop entries of machines
that are well; they answer again within milliseconds, and must not leave the ring for that."""

ASK_FIRST_SECONDS = 1.0
ASK_MAX_SECONDS = 8.0
"""Between two requests to resolve a silent neighbour: the first, and the most. The kernel sends three for each."""

CONFIRM_SECONDS = 5.0
"""Between two requests to confirm a stale MAC. XDP's packets do not count as use, so nobody else would ask, and the
kernel forgets what was not used for net.ipv4.neigh.*.gc_stale_time (60 s)."""


@dataclass(slots=True)
class _Entry:
    mac: bytes | None = None
    held_until: float = math.inf
    ask_at: float = math.inf
    ask_after: float = ASK_FIRST_SECONDS
    confirm: bool = False
    refusal: int = 0


class Neighbours:
    """The neighbours that some tracked address needs."""

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def forget(self, key: Key) -> None:
        """Nobody needs it any more."""
        self._entries.pop(key, None)

    def mac(self, key: Key) -> bytes | None:
        """The MAC to use now."""
        return self._entries[key].mac

    def refusal(self, key: Key) -> int:
        """The errno with which the kernel declined to resolve it the last time; 0 if it did not."""
        return self._entries[key].refusal

    def observe(self, seen: Neighbour, now: float) -> None:
        """Take in what the kernel says. A neighbour seen for the first time becomes a needed one."""
        entry = self._entries.setdefault((seen.ifindex, seen.address), _Entry(ask_at=now))
        if seen.mac is not None:
            asking = entry.confirm and entry.ask_at < math.inf
            confirm_at = entry.ask_at if asking else now + CONFIRM_SECONDS
            entry.mac, entry.held_until, entry.refusal = seen.mac, math.inf, 0
            entry.confirm, entry.ask_after = seen.stale, ASK_FIRST_SECONDS
            entry.ask_at = confirm_at if seen.stale else math.inf
        elif entry.mac is not None and entry.held_until == math.inf:
            entry.held_until, entry.ask_at, entry.confirm = now + HOLD_SECONDS, now, False
        elif entry.ask_at == math.inf:
            entry.ask_at = now

    def due(self, now: float) -> list[Key]:
        """Whom to ask now."""
        return [key for key, entry in self._entries.items() if entry.ask_at <= now]

    def asked(self, key: Key, now: float, refusal: int = 0) -> None:
        """It was asked for, or declined with an errno: due again later, unless ``observe`` sees an answer first."""
        entry = self._entries[key]
        entry.refusal = refusal
        if entry.confirm:
            entry.ask_at = now + CONFIRM_SECONDS
        else:
            entry.ask_at = now + entry.ask_after
            entry.ask_after = min(2 * entry.ask_after, ASK_MAX_SECONDS)

    def expire(self, now: float) -> list[Key]:
        """Stop believing MACs whose entry has been gone for too long; returns whose."""
        expired = [key for key, entry in self._entries.items() if entry.held_until <= now]
        for key in expired:
            self._entries[key].mac, self._entries[key].held_until = None, math.inf
        return expired

    def deadline(self) -> float:
        """When ``due`` or ``expire`` will have something next; infinity for never."""
        return min((min(entry.ask_at, entry.held_until) for entry in self._entries.values()), default=math.inf)
