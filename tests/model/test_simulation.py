# SPDX-License-Identifier: Apache-2.0
"""No flow broken in random lives of a pool: a real weighted ring, hundreds of flows, any change of its backends."""

from __future__ import annotations

import os

import pytest

from lb.core.slots import Kind, kind
from model.mutations import deaf_timer, stable_at_settle
from model.parameters import Transition
from model.simulation import simulate

SEEDS = range(400 if "LB_DEEP" in os.environ else 6)


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_pool_lives_and_no_flow_breaks(seed: int, udp: bool) -> None:
    """The promise is checked at every packet, the invariants after every batch."""
    simulate(seed, 400, udp)


def test_lives_are_eventful() -> None:
    """The runs above pass through all states, or they would prove nothing."""
    seen = {kind(word) for seed in range(4) for word in simulate(seed, 150, udp=False).words}
    assert seen == set(Kind)


@pytest.mark.parametrize("rule", ["ignore_base", "obey_live"])
def test_a_broken_data_plane_is_noticed(rule: str) -> None:
    """The same lives, with a rule of steering taken out."""
    with pytest.raises(AssertionError):
        simulate(0, 200, udp=False, **{rule: True})


@pytest.mark.parametrize(("seed", "broken"), [(0, stable_at_settle), (2, deaf_timer)], ids=["settle", "refusals"])
def test_a_broken_control_plane_is_noticed(seed: int, broken: Transition, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lives, with moves that end STABLE, or that end although flows were refused an entry."""
    monkeypatch.setattr("lb.core.moves.transition", broken)
    with pytest.raises(AssertionError):
        simulate(seed, 200, udp=False)
