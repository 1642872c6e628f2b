# SPDX-License-Identifier: Apache-2.0
"""One box for all packet tests of a module: they configure it anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from packets.box import Box, box
from packets.upgrade_lab import Site, compiled_once, site


@pytest.fixture(scope="module")
def balancer() -> Iterator[Box]:
    """A balancer in a namespace of its own."""
    with box() as made:
        yield made


@pytest.fixture(scope="module")
def compiled() -> Iterator[None]:
    """Daemons of a module compile each program once."""
    with compiled_once():
        yield


@pytest.fixture
def place(compiled: None) -> Iterator[Site]:  # noqa: ARG001 - it has to be in force
    """Interfaces and a bpf dir for daemons that come and go."""
    with site() as made:
        yield made
