# SPDX-License-Identifier: Apache-2.0
"""Tables on a terminal: what an operator sees at 80 columns, in an outage."""

from __future__ import annotations

import pytest

from lb.cli.terminal import draw_for_terminal
from lb.cli.views import Sheet

REASON = "its checks fail: timeout after 2 s: no answer through the tunnel, direct check answers: is the VIP on lo?"
BACKENDS = Sheet(
    ("NAME", "ADDRESS", "WEIGHT", "ADMIN", "SHARE", "HEALTH", "SINCE", "NEXT-HOP", "REASON"),
    (
        ("web/b1", "10.0.0.11", "1", "enabled", "100.0%", "up", "4m", "eth0", "-"),
        ("web/b2", "10.0.0.12", "1", "enabled", "0.0%", "down", "12s", "eth0", REASON),
    ),
    frozenset({"WEIGHT", "SHARE"}),
)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without colours."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


def draw(sheet: Sheet, columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines of text on a terminal of that width."""
    monkeypatch.setenv("COLUMNS", str(columns))
    return [line.rstrip() for line in draw_for_terminal(sheet).splitlines()]


def test_reasons_that_have_no_room_follow_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a column of nine characters nobody can read them."""
    assert draw(BACKENDS, 80, monkeypatch) == [
        "NAME    ADDRESS    WEIGHT  ADMIN     SHARE  HEALTH  SINCE  NEXT-HOP",
        "web/b1  10.0.0.11       1  enabled  100.0%  up      4m     eth0",
        "web/b2  10.0.0.12       1  enabled    0.0%  down    12s    eth0",
        "web/b2: its checks fail: timeout after 2 s: no answer through the tunnel, direct",
        "check answers: is the VIP on lo?",
    ]


def test_reasons_that_have_room_stay_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = draw(BACKENDS, 110, monkeypatch)
    assert lines[0].endswith("NEXT-HOP  REASON")
    assert lines[2].startswith("web/b2  10.0.0.12       1  enabled    0.0%  down    12s    eth0      its checks fail:")


def test_short_cells_are_not_folded_for_the_sake_of_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision, a time, an address stay whole: they are what one looks for."""
    sheet = Sheet(
        ("REV", "TIME", "WHO", "WHAT", "NOTE"),
        (("17", "2026-01-02 03:04:05", "root (uid 0)", "changed backend web/b1: weight -> 3", "n" * 60),),
    )
    lines = draw(sheet, 80, monkeypatch)
    assert lines[1].startswith("17   2026-01-02 03:04:05  root (uid 0)  ")
    assert "".join("".join(lines[1:]).split()).count("n") > 60, "and nothing is lost"
