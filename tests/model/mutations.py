# SPDX-License-Identifier: Apache-2.0
"""The machine with one rule taken out: each must be found out by the exploration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lb.core.slots import Facts, Kind, base, current, kind, stable, tracked, transition


def stable_at_settle(word: int, target: int, moved: int | None, clear: bool, facts: Facts) -> tuple[int, int | None]:
    """A settled move ends STABLE instead of TRACKED: entries of the old backend are no longer looked at."""
    after, began = transition(word, target, moved, clear, facts)
    settled = kind(word) is Kind.MOVING and base(word) in facts.accepting and target == current(word)
    return (stable(target), None) if settled and after == tracked(target) else (after, began)


def deaf_timer(word: int, target: int, moved: int | None, clear: bool, facts: Facts) -> tuple[int, int | None]:
    """A timer that ignores refusals: flows that got no entry are forgotten."""
    return transition(word, target, moved, clear, replace(facts, refused_at=-(10**6)))


def other_backends_only(word: int, backend: int, life: int) -> bool:  # noqa: ARG001 - the scan's interface
    """A scan that takes CLOSING entries of the slot's own backend for harmless."""
    return backend != current(word)


QUICK: Mapping[str, Mapping[str, object]] = {
    "MOVING becomes STABLE at settle": {"transition": stable_at_settle},
    "base is ignored": {"ignore_base": True},
    "a timer ignores refusals": {"transition": deaf_timer, "udp": True},
    "a SYN obeys a live entry": {"obey_live": True},
    "no epoch change on DISABLED": {"silent_disable": True},
    "new flows are not held back while a move ends": {"hold": False},
    "a batch cut short is not mended first": {"mend": False},
    "a ring number is reused with its entries": {"same_ring": True},
    "an entry outlives the move's limit": {"closing": 3},
    "the promise outlives a RST": {"rst_ends": False, "closing": 2},
}

SLOW: Mapping[str, Mapping[str, object]] = {
    "TRACKED slots write their own backend's entries": {"established": 3, "closing": 2, "touch_all": True},
    "a scan overlooks CLOSING entries": {"established": 3, "closing": 2, "blocks": other_backends_only},
}
