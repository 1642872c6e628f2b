# SPDX-License-Identifier: Apache-2.0
"""Errors in words: what they say, and whether they say anything about the backend at all."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.probe.failures import MAX_WORDS, Failed, Sign, Unable, judge, quote, span, unopened


@pytest.mark.parametrize(
    ("code", "words", "sign"),
    [
        (errno.ECONNREFUSED, "connection refused: is the service running?", Sign.REFUSED),
        (errno.ECONNRESET, "connection reset", Sign.ANSWERED),
        (errno.EHOSTUNREACH, "no route to host: is the host up?", Sign.NONE),
        (errno.ENETUNREACH, "ip route add", Sign.NONE),
        (errno.EACCES, "firewall", Sign.NONE),
        (errno.EISDIR, "Is a directory", Sign.NONE),
    ],
)
def test_an_error_of_the_network_fails_the_backend(code: int, words: str, sign: Sign) -> None:
    """And names what to look at."""
    failed = judge(OSError(code, os.strerror(code)))
    assert isinstance(failed, Failed)
    assert words in failed.words
    assert failed.sign is sign


@pytest.mark.parametrize(
    "code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.EAGAIN]
)
def test_a_lack_of_the_balancer_says_nothing_about_the_backend(code: int) -> None:
    """Else it would take all backends DOWN at once."""
    assert isinstance(judge(OSError(code, os.strerror(code))), Unable)


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.EPERM, "CAP_NET_ADMIN"), (errno.EMFILE, "LimitNOFILE"), (errno.EPROTONOSUPPORT, "cannot open a socket")],
)
def test_a_socket_that_cannot_be_made_names_the_remedy(code: int, words: str) -> None:
    """It is lbd's environment that is wrong."""
    assert words in str(unopened(OSError(code, os.strerror(code))))


def test_an_error_without_a_number_keeps_its_text() -> None:
    """As some libraries raise it."""
    failed = judge(OSError("something odd"))
    assert isinstance(failed, Failed)
    assert failed.words == "something odd"


@given(st.binary(max_size=100))
def test_quotes_are_short_and_printable(data: bytes) -> None:
    """They end up in logs and on terminals."""
    assert quote(data).isprintable()
    assert len(quote(data)) <= 170


def test_words_are_bounded() -> None:
    """Whatever they quote."""
    assert len(Failed("x" * 5000).words) == MAX_WORDS


@pytest.mark.parametrize(("milliseconds", "text"), [(2000, "2 s"), (1500, "1.5 s"), (200, "200 ms"), (60_000, "60 s")])
def test_times_are_for_people(milliseconds: int, text: str) -> None:
    """Not 2000 ms."""
    assert span(milliseconds) == text
