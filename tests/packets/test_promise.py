# SPDX-License-Identifier: Apache-2.0
"""No flow changes its backend: the real program and the real planner, through whatever may happen to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from packets.box import HASH_KEY
from packets.promise import scenarios
from packets.promise.lab import Lab, lab
from packets.promise.machine import Balancer
from packets.promise.mutations import PLANNERS, PROGRAMS, mutated_source

from lb.dataplane.source import balancer_source

pytestmark = pytest.mark.root

BROKEN = r"the flow is on|I1|I2|I3|I4|say"
"""What the book or an invariant says, and no other assertion."""


@pytest.fixture(scope="module")
def any_planes() -> Iterator[Lab]:
    """One lab for the module, whatever program it runs: each takes a second to compile."""
    with lab() as made:
        yield made


@pytest.fixture
def both_planes(any_planes: Lab) -> Lab:
    """With the program as it is."""
    any_planes.run_program(balancer_source(HASH_KEY))
    return any_planes


@pytest.mark.timeout(420)  # hypothesis takes up to 300 s to shorten what it found
def test_flows_stay_where_they_are_whatever_happens(both_planes: Lab) -> None:
    """The promise of DESIGN §4.2 and its invariants, after every batch and for every packet."""
    Balancer.lab = both_planes
    unhurried = settings(
        max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Balancer, settings=unhurried)


@pytest.mark.parametrize("scenario", scenarios.ALL, ids=lambda scenario: scenario.__name__)
def test_flows_stay_where_they_are_when(both_planes: Lab, scenario: Callable[[Lab], None]) -> None:
    """The shortest ways to break a flow: what the mutations below are measured by."""
    scenario(both_planes)
    assert both_planes.book.kept or "settle_seconds" in scenario.__name__


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_flow_breaks_when_the_program_lacks_a_rule(any_planes: Lab, name: str) -> None:
    """A rule that no test misses is a rule that somebody will take out."""
    any_planes.run_program(mutated_source(name))
    with pytest.raises(AssertionError, match=BROKEN):
        PROGRAMS[name][2](any_planes)


@pytest.mark.parametrize("name", PLANNERS)
def test_a_flow_breaks_when_the_planner_lacks_a_rule(
    both_planes: Lab, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The same for the control plane."""
    mutate, scenario = PLANNERS[name]
    mutate(monkeypatch)
    with pytest.raises(AssertionError, match=BROKEN):
        scenario(both_planes)


def test_a_flow_breaks_when_a_batch_that_was_cut_short_is_not_mended(both_planes: Lab) -> None:
    """Nor may the reconciler go on as if nothing had been."""
    both_planes.mends = False
    try:
        with pytest.raises(AssertionError, match=BROKEN):
            scenarios.the_kernel_refuses_and_a_backend_returns(both_planes)
    finally:
        both_planes.mends = True
