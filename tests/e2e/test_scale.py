# SPDX-License-Identifier: Apache-2.0
"""`make scale` measures what it says it does. Never the times: those are for an idle machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bench.scale import Files, measure
from bench.scale_config import Size

pytestmark = pytest.mark.root

SMALL = Size(pools=2, members=8, vips=4, vips_compared=(2, 6), changes=2, checks=32, check_seconds=1.0)


def test_everything_is_measured_on_a_small_configuration(tmp_path: Path) -> None:
    """Packets follow each change, backends see their checks, the right processes are looked at."""
    rows = list(measure(SMALL, Files(tmp_path, SMALL), f"lbtest{os.getpid()}-scale"))
    found = dict(rows)
    assert len(found) == len(rows), "each row has a name of its own"
    assert all(value.split()[0] != "0" for value in found.values()), found
    assert len([name for name in found if name.startswith("one backend changed")]) == 3
