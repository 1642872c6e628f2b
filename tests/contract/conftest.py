# SPDX-License-Identifier: Apache-2.0
"""Both kinds of store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.media import Disk, Medium, Memory, NewMedium

from lb.store.limits import LIMITS, Limits


@pytest.fixture(params=["disk", "memory"])
def new_medium(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewMedium]:
    made: list[Medium] = []

    def new(limits: Limits = LIMITS) -> Medium:
        made.append(Disk(tmp_path / f"{len(made)}.db", limits) if request.param == "disk" else Memory(limits))
        return made[-1]

    yield new
    for medium in made:
        medium.reopen().close()
