# SPDX-License-Identifier: Apache-2.0
"""Testbeds for the end-to-end tests; names carry the process id, so suites side by side do not clash."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from e2e.dual_stack import VIPS
from testbed import Lbd, Testbed


@pytest.fixture(scope="session")
def prefix() -> str:
    """Start of every namespace's name in this session."""
    return f"lbtest{os.getpid()}"


@pytest.fixture(scope="module")
def flat_bed(prefix: str) -> Iterator[Testbed]:
    """One subnet, three backends; up for the whole module."""
    with Testbed(backends=3, name_prefix=f"{prefix}-flat", vips=tuple(VIPS.values())) as bed:
        yield bed


@pytest.fixture(scope="module")
def routed_bed(prefix: str) -> Iterator[Testbed]:
    """A router between client, balancer and two backends; up for the whole module."""
    with Testbed(backends=2, routed=True, name_prefix=f"{prefix}-routed", vips=tuple(VIPS.values())) as bed:
        yield bed


@pytest.fixture
def lbd(flat_bed: Testbed) -> Iterator[Lbd]:
    """A new `lbd` without configuration in the flat testbed's balancer."""
    with Lbd(flat_bed) as running:
        yield running
