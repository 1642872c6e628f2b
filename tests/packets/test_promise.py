# SPDX-License-Identifier: Apache-2.0
"""No flow changes its backend: the real program and the real planner, through whatever may happen to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from packets.promise.lab import Lab, lab
from packets.promise.machine import Balancer

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def both_planes() -> Iterator[Lab]:
    """One lab for the module: a program takes a second to compile."""
    with lab() as made:
        yield made


def test_flows_stay_where_they_are_whatever_happens(both_planes: Lab) -> None:
    """The promise of DESIGN §4.2 and its invariants, after every batch and for every packet."""
    Balancer.lab = both_planes
    run_state_machine_as_test(
        Balancer,
        settings=settings(
            max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
