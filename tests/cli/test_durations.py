# SPDX-License-Identifier: Apache-2.0
"""Times as people write and read them."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.cli.durations import milliseconds, milliseconds_text, span, whole_seconds


@pytest.mark.parametrize(
    ("text", "number"),
    [("500ms", 500), ("5s", 5_000), ("5", 5_000), ("0.25", 250), ("2m", 120_000), ("1h", 3_600_000), ("0", 0)],
)
def test_milliseconds(text: str, number: int) -> None:
    assert milliseconds(text) == number


@pytest.mark.parametrize(
    ("text", "number"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5m", 90), ("2h", 7_200), ("7d", 604_800), ("0", 0)]
)
def test_whole_seconds(text: str, number: int) -> None:
    assert whole_seconds(text) == number


@pytest.mark.parametrize("text", ["", "s", "5 s", "-5s", "5sec", "1e3", "5S", "\u0665s", "50d"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a time: write it such as 500ms"):
        milliseconds(text)


@pytest.mark.parametrize("text", ["", "500ms", "0.5", "50000d", "soon"])
def test_what_is_no_time_in_whole_seconds(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a time in whole seconds: write it such as 90s"):
        whole_seconds(text)


@pytest.mark.parametrize(
    ("seconds", "long", "short"),
    [
        (-3, "0s", "0s"),
        (0.9, "0s", "0s"),
        (59.9, "59s", "59s"),
        (60, "1m", "1m"),
        (252, "4m 12s", "4m"),
        (3_612, "1h", "1h"),
        (7_380, "2h 3m", "2h"),
        (90_000, "1d 1h", "1d"),
    ],
)
def test_spans(seconds: float, long: str, short: str) -> None:
    assert (span(seconds), span(seconds, parts=1)) == (long, short)


@given(st.integers(0, 2**32 - 1))
def test_what_is_shown_is_read_back(number: int) -> None:
    assert milliseconds(milliseconds_text(number)) == number
