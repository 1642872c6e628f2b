# SPDX-License-Identifier: Apache-2.0
"""Rules taken out, one at a time, of the program's text or of the planner: a scenario or an invariant has to notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from packets.box import HASH_KEY
from packets.promise import scenarios
from packets.promise.lab import Lab

from lb.core import moves, planner, slots
from lb.core.operations import SetEpoch
from lb.core.slots import Facts, Kind
from lb.dataplane.flow_table import FlowTable
from lb.dataplane.source import Source, balancer_source

Scenario = Callable[[Lab], None]

PROGRAMS: dict[str, tuple[str, str, Scenario]] = {
    "ignores base": ("__u32 old = base_epoch & 1 ? base : cur;", "__u32 old = cur;", scenarios.a_slot_moves),
    "a SYN obeys a live entry": (
        "if (steering == STEER_SYN) {\n\t\t\t\t/* A SYN always begins",
        "if (0) {\n\t\t\t\t/* A SYN always begins",
        scenarios.a_port_is_used_again,
    ),
    "no hold": ("if (info->hold &&", "if (0 &&", scenarios.a_move_ends_as_flows_begin),
}
"""By name: what to replace in the program's text, by what, and the scenario that notices."""


def mutated_source(name: str) -> Source:
    """The program without one of its rules; fails when the line is not there any more."""
    source = balancer_source(HASH_KEY)
    old, new, _ = PROGRAMS[name]
    assert source.text.count(old) == 1, f"{name}: the program has changed, and this mutation with it"
    return replace(source, text=source.text.replace(old, new))


def _stable_at_settle(patch: pytest.MonkeyPatch) -> None:
    real = slots.transition

    def transition(word: int, target: int, moved: int | None, clear: bool, facts: Facts) -> tuple[int, int | None]:
        after, began = real(word, target, moved, clear, facts)
        if slots.kind(word) is Kind.MOVING and slots.kind(after) is Kind.TRACKED:
            return slots.stable(slots.current(after)), None
        return after, began

    patch.setattr(moves, "transition", transition)


def _ignores_refusals(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FlowTable, "refused_at", lambda self, ring: -(10**6))  # noqa: ARG005


def _silent_disable(patch: pytest.MonkeyPatch) -> None:
    """No epoch ever goes even."""
    real = planner._Draft.set_epochs

    def set_epochs(draft: planner._Draft) -> None:
        real(draft)
        silenced = [found for found in draft._operations if isinstance(found, SetEpoch) and found.epoch % 2 == 0]
        for found in silenced:
            draft._operations.remove(found)
            draft._epochs[found.index] = found.epoch - 1
            draft._accepting.add(found.index)

    patch.setattr(planner._Draft, "set_epochs", set_epochs)


PLANNERS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Scenario]] = {
    "STABLE at settle": (_stable_at_settle, scenarios.a_move_ends),
    "a timer that ignores refusals": (_ignores_refusals, scenarios.a_move_ends_while_flows_are_refused),
    "no epoch change on DISABLED": (_silent_disable, scenarios.a_backend_is_disabled),
}
