# SPDX-License-Identifier: Apache-2.0
"""Whatever comes in, nothing malformed goes out, nothing aborts, and the counters add up."""

from __future__ import annotations

import pytest
from packets.fuzz import run

from lb.core.verdicts import Verdict

pytestmark = pytest.mark.root

NEVER = {Verdict.DROP_ENCAP_FAILED}
"""A test run leaves 256 bytes of headroom: always enough."""


def test_no_packet_breaks_a_rule() -> None:
    """200,000 packets; ``make fuzz`` runs ten times as many. Every verdict is reached, so nothing goes untried."""
    total = run(seed=1, count=200_000)
    assert total.total() >= 200_000
    assert set(total) == set(Verdict) - NEVER
