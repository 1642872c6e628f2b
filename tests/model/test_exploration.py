# SPDX-License-Identifier: Apache-2.0
"""No flow broken: every order of events in a small world, and proof that the search would notice.

``LB_DEEP=1`` explores larger worlds (an hour or so).
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from model.explore import explore
from model.mutations import QUICK, SLOW
from model.parameters import Model

DEEP = "LB_DEEP" in os.environ
SMALL: dict[str, Any] = {"drift": False, "slack": 0, "backends": 2}
"""A world in which no tick passes within a packet's run or a batch, so that no slack is needed."""

WORLDS: dict[str, dict[str, Any]] = {
    "tcp": {**SMALL, "established": 3, "closing": 2},
    "udp": {**SMALL, "udp": True, "backends": 3},
}
DEEP_WORLDS: dict[str, dict[str, Any]] = {
    "tcp, three backends": {**SMALL, "backends": 3},
    "tcp, long handshake": {**SMALL, "established": 3, "closing": 2, "half_open": 2},
    "tcp, three backends, three limits": {**SMALL, "backends": 3, "established": 3, "closing": 2},
    "udp, long limit": {**SMALL, "udp": True, "backends": 3, "established": 3},
    "udp, time passes anywhere": {"udp": True, "backends": 2},
    "tcp, time passes anywhere": {"backends": 2},
}
MOST = 10_000_000


@pytest.mark.parametrize("world", WORLDS)
def test_no_flow_breaks_in_any_order_of_events(world: str) -> None:
    """The promise and the invariants hold in every reachable state."""
    result = explore(Model(**WORLDS[world]), MOST)
    assert not result.violation, "\n".join((result.violation, *result.trace))
    assert result.complete


@pytest.mark.parametrize("rule", QUICK)
def test_taking_out_a_rule_is_noticed(rule: str) -> None:
    """Each rule earns its place: without it there is a way to break a flow or an invariant."""
    parameters: dict[str, Any] = {**SMALL, **QUICK[rule]}
    assert explore(Model(**parameters), MOST).violation


# LB_DEEP=1 explores these as well: minutes to hours.
if DEEP:

    @pytest.mark.timeout(3600)
    @pytest.mark.parametrize("world", DEEP_WORLDS)
    def test_no_flow_breaks_in_larger_worlds(world: str) -> None:
        """As far as memory goes; all of them were explored to the end or to ten million states."""
        result = explore(Model(**DEEP_WORLDS[world]), MOST)
        assert not result.violation, "\n".join((result.violation, *result.trace))

    @pytest.mark.parametrize("rule", SLOW)
    def test_taking_out_a_subtle_rule_is_noticed(rule: str) -> None:
        """These need a larger world, the same in which nothing breaks with the rule in."""
        parameters: dict[str, Any] = {**SMALL, **SLOW[rule]}
        assert explore(Model(**parameters), MOST).violation
