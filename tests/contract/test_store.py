# SPDX-License-Identifier: Apache-2.0
"""What every store promises: the durable one and the one in memory pass the same tests."""

from __future__ import annotations

import dataclasses

import pytest
from contract.configs import ALLOCATION, ALLOCATIONS, CONFIG, EDITS, Edit
from contract.media import NewMedium
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lb.core.allocation import Allocation
from lb.core.audit import DAEMON
from lb.core.errors import UnavailableError
from lb.core.model import Config, Pool
from lb.ports import Stored


def test_a_new_store_is_empty_at_revision_0(new_medium: NewMedium) -> None:
    assert new_medium().reopen().load() == Stored(0, Config(), Allocation())


def test_what_was_committed_survives_a_restart(new_medium: NewMedium) -> None:
    medium = new_medium()
    assert medium.reopen().commit(CONFIG, ALLOCATION, DAEMON) == 1
    assert medium.reopen().load() == Stored(1, CONFIG, ALLOCATION)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=st.lists(st.tuples(EDITS, ALLOCATIONS, st.booleans()), max_size=6))
def test_load_equals_the_last_commit(new_medium: NewMedium, commits: list[tuple[Edit, Allocation, bool]]) -> None:
    """Writing only what differs must never leave an old object behind, restart in between or not."""
    medium = new_medium()
    store = medium.reopen()
    expected = Stored(0, Config(), Allocation())
    for number, (edit, allocation, restart) in enumerate(commits, start=1):
        config = edit(expected.config)
        assert store.commit(config, allocation, DAEMON) == number
        expected = Stored(number, config, allocation)
        if restart:
            store = medium.reopen()
    assert medium.reopen().load() == expected


def test_a_failed_commit_changes_nothing(new_medium: NewMedium) -> None:
    """A full disk must leave the old configuration whole, and the next call after clean-up must work."""
    medium = new_medium()
    store = medium.reopen()
    store.commit(CONFIG, ALLOCATION, DAEMON)
    medium.fill()
    many = {f"p{number}": Pool(f"p{number}", "x" * 200) for number in range(500)}
    with pytest.raises(UnavailableError, match="full"):
        store.commit(dataclasses.replace(CONFIG, pools={**CONFIG.pools, **many}), ALLOCATION, DAEMON)
    assert store.load() == Stored(1, CONFIG, ALLOCATION)
    medium.free()
    assert store.commit(dataclasses.replace(CONFIG, vips={}), ALLOCATION, DAEMON) == 2
    assert medium.reopen().load() == Stored(2, dataclasses.replace(CONFIG, vips={}), ALLOCATION)
