# SPDX-License-Identifier: Apache-2.0
"""The table of cases against the real program: what every kind of packet becomes, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from packets.box import Box, box
from packets.case import XDP_PASS, XDP_REDIRECT, XDP_TX, Case
from packets.table import TABLE
from packets.wire import defects
from packets.world import build, set_icmp_tokens

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def world() -> Iterator[Box]:
    """A box with the configuration that all cases share."""
    with box() as made:
        build(made)
        yield made


def test_the_table_is_large_enough_and_says_everything_once() -> None:
    """A case that overwrites another is a case less."""
    names = [f"{topic}: {case.name}" for topic, case in TABLE]
    assert len(names) == len(set(names))
    assert len(names) >= 200


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{topic}: {case.name}") for topic, case in TABLE])
def test_case(world: Box, case: Case) -> None:
    """Verdict, action and every byte."""
    set_icmp_tokens(world, 1000)
    for packet in case.before:
        world.run(packet, case.interface)
    verdict, result = world.verdict(case.packet, case.interface)
    assert verdict is case.verdict
    assert result.action == case.xdp_action
    if result.action == XDP_PASS:
        assert result.data == case.packet
    if result.action not in (XDP_TX, XDP_REDIRECT):
        assert case.expected is None
        return
    assert defects(result.data) == list(case.defects)
    if isinstance(case.expected, bytes):
        assert result.data.hex(" ") == case.expected.hex(" ")
    else:
        assert case.expected is not None
        case.expected(result.data)
