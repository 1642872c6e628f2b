# SPDX-License-Identifier: Apache-2.0
"""The build for jumbo frames, which arrive in several buffers: the same program, and what lies behind the first."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from packets.box import HASH_KEY, Box, box
from packets.cases.mtu import exactly
from packets.expect import icmp_error
from packets.table import TABLE
from packets.world import build, set_icmp_tokens

from lb.core.verdicts import Verdict
from lb.dataplane import libbpf
from lb.dataplane.pins import PROGRAM
from lb.dataplane.source import balancer_source

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def jumbo() -> Iterator[Box]:
    """The world of the table of cases, behind that build."""
    with box() as made:
        made.data_plane.load_source(balancer_source(HASH_KEY, multi_buffer=True), libbpf.F_XDP_HAS_FRAGS)
        made.data_plane.attach()
        os.close(made.program)
        made.program = libbpf.obj_get(made.bpf_dir / PROGRAM)
        build(made)
        yield made


def test_it_decides_as_the_other_build_does(jumbo: Box) -> None:
    """The whole table of cases, verdict by verdict."""
    for _, case in TABLE:
        set_icmp_tokens(jumbo, 1000)
        for packet in case.before:
            jumbo.run(packet, case.interface)
        assert jumbo.verdict(case.packet, case.interface)[0] is case.verdict, case.name


@pytest.mark.parametrize(
    ("vip", "kind", "code", "mtu_bytes"), [("big", 3, 4, 2980), ("46", 3, 4, 1460), ("66", 2, 0, 1460)]
)
def test_a_frame_of_several_buffers_is_answered(jumbo: Box, vip: str, kind: int, code: int, mtu_bytes: int) -> None:
    """Cut to what is quoted, whatever was behind it."""
    packet = exactly(vip, 8972)
    set_icmp_tokens(jumbo, 1000)
    verdict, result = jumbo.verdict(packet)
    assert verdict is Verdict.ANSWERED_TOO_BIG
    assert result.data == icmp_error(packet, kind, code, mtu_bytes)


def test_a_frame_of_several_buffers_passes_whole(jumbo: Box) -> None:
    """The host's own jumbo frames."""
    packet = exactly("44", 8972)
    elsewhere = packet[:30] + b"\xc0\x00\x02\xc8" + packet[34:]
    verdict, result = jumbo.verdict(elsewhere)
    assert verdict is Verdict.PASS_NOT_VIP
    assert result.data == elsewhere
