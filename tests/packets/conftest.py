# SPDX-License-Identifier: Apache-2.0
"""One box for all packet tests of a module: they configure it anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from packets.box import Box, box


@pytest.fixture(scope="module")
def balancer() -> Iterator[Box]:
    """A balancer in a namespace of its own."""
    with box() as made:
        yield made
