# SPDX-License-Identifier: Apache-2.0
"""HTTP as bytes: what is sent, and what is made of an answer, however it comes and whatever it is."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.checks import CheckKind, HealthCheck, Target
from lb.probe.failures import Failed
from lb.probe.http import MAX_BODY_BYTES, MAX_HEAD_BYTES, Answer, host_name, is_expected, request

PLAIN = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\nTrailer: x\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\n\r\nhello"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN
BARE_LINE_FEEDS = b"HTTP/1.1 200\nContent-Length: 5\n\nhello"


def target(address: str = "192.0.2.1", port: int = 80, kind: CheckKind = CheckKind.HTTP, **check: object) -> Target:
    """To be asked."""
    return Target(HealthCheck(kind, **check), ip_address(address), ip_address(address), port)


def read(*pieces: bytes, head_only: bool = False, closed: bool = False) -> Answer:
    """An answer that came in these pieces."""
    answer = Answer(head_only=head_only)
    for piece in pieces:
        answer.feed(piece)
    if closed:
        answer.end()
    return answer


def lines(sent: bytes) -> list[str]:
    """Of a request."""
    assert sent.endswith(b"\r\n\r\n")
    return sent.decode().removesuffix("\r\n\r\n").split("\r\n")


# --- requests


def test_a_request_names_method_path_and_host_and_asks_to_close() -> None:
    """One connection a probe."""
    first, *headers = lines(request(target(method="GET", path="/healthz?x=1", host="web.example:8080")))
    assert first == "GET /healthz?x=1 HTTP/1.1"
    assert {"Host: web.example:8080", "Connection: close"} <= set(headers)


@pytest.mark.parametrize(
    ("address", "port", "kind", "host"),
    [
        ("192.0.2.1", 80, CheckKind.HTTP, "192.0.2.1"),
        ("192.0.2.1", 443, CheckKind.HTTP, "192.0.2.1:443"),
        ("192.0.2.1", 443, CheckKind.HTTPS, "192.0.2.1"),
        ("2001:db8::1", 80, CheckKind.HTTP, "[2001:db8::1]"),
        ("2001:db8::1", 8080, CheckKind.HTTP, "[2001:db8::1]:8080"),
    ],
)
def test_without_a_host_it_is_the_address_as_a_browser_would_write_it(
    address: str, port: int, kind: CheckKind, host: str
) -> None:
    """Servers refuse a Host header that is malformed."""
    assert f"Host: {host}" in lines(request(target(address, port, kind)))


@pytest.mark.parametrize(("method", "has_length"), [("GET", False), ("HEAD", False), ("POST", True), ("OPTIONS", True)])
def test_a_method_that_may_have_a_body_says_that_it_has_none(method: str, has_length: bool) -> None:
    """Else a server may wait for one, or answer 411."""
    assert ("Content-Length: 0" in lines(request(target(method=method)))) is has_length


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("web.example", "web.example"),
        ("web.example:8443", "web.example"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("", ""),
    ],
)
def test_the_host_header_less_its_port_is_whom_a_certificate_is_for(host: str, name: str) -> None:
    """SNI has no port."""
    assert host_name(HealthCheck(CheckKind.HTTPS, host=host)) == name


# --- expected status


@pytest.mark.parametrize(
    ("expected", "fine", "wrong"),
    [
        ("200-399", [200, 301, 399], [199, 400, 500]),
        ("200,204", [200, 204], [201, 203, 205]),
        ("200-204,301,500-599", [204, 301, 503], [205, 302, 499]),
    ],
)
def test_expected_status_is_codes_and_ranges(expected: str, fine: list[int], wrong: list[int]) -> None:
    """As the API's documentation promises."""
    assert [status for status in fine + wrong if is_expected(expected, status)] == fine


# --- answers


@pytest.mark.parametrize("raw", [PLAIN, CHUNKED, UNTIL_CLOSE, INTERIM, BARE_LINE_FEEDS])
@given(data=st.data())
def test_an_answer_is_the_same_in_whatever_pieces_it_comes(raw: bytes, data: st.DataObject) -> None:
    """TCP keeps no boundaries."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    answer = read(*pieces, closed=True)
    assert (answer.status, bytes(answer.body), answer.is_over) == (200, b"hello", True)


@pytest.mark.parametrize("raw", [PLAIN, CHUNKED, INTERIM])
def test_the_end_of_a_body_is_known_before_the_connection_ends(raw: bytes) -> None:
    """A server that ignores "Connection: close" must not make a probe wait for its timeout."""
    assert read(raw).is_over


def test_without_a_length_the_body_goes_on_until_the_connection_ends() -> None:
    """HTTP/1.0."""
    assert not read(UNTIL_CLOSE).is_over
    assert read(UNTIL_CLOSE, closed=True).is_over


@pytest.mark.parametrize(
    ("raw", "head_only"),
    [(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", True), (b"HTTP/1.1 204 No Content\r\n\r\n", False)],
)
def test_some_answers_have_no_body_whatever_their_headers_say(raw: bytes, head_only: bool) -> None:
    """RFC 9112, section 6.3."""
    assert read(raw, head_only=head_only).is_over


@pytest.mark.parametrize("length", [b"-1", b"x", b"9" * 30, b""])
def test_a_length_that_makes_no_sense_is_as_none(length: bytes) -> None:
    """The probe has its timeout."""
    answer = read(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\nhello")
    assert bytes(answer.body) == b"hello"
    assert not answer.is_over


@pytest.mark.parametrize("framing", [b"Content-Length: 99999999", b"Transfer-Encoding: chunked", b"X: y"])
def test_a_body_is_looked_at_up_to_its_limit(framing: bytes) -> None:
    """A backend cannot make the prober hold more."""
    chunk = b"5f5e0ff\r\n" if b"chunked" in framing else b""
    answer = read(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + chunk, *[bytes(10_000)] * 9)
    assert answer.is_over
    assert len(answer.body) == MAX_BODY_BYTES


@pytest.mark.parametrize("piece", [b"X: " + bytes(1000) + b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_headers_are_bounded(piece: bytes) -> None:
    """So are answers that never come to the point."""
    begin = b"HTTP/1.1 100 Continue\r\n" + (b"\r\n" if piece.startswith(b"HTTP") else b"")
    with pytest.raises(Failed, match="headers are longer than 32 KiB"):
        read(begin, *[piece] * (MAX_HEAD_BYTES // len(piece) + 1))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP/1.1: 'SSH-2.0-OpenSSH_9.2\\r\\n'"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "choose kind HTTPS"),
        (b"HTTP/1.1 abc\r\n\r\n", "not HTTP/1.1: 'HTTP/1.1 abc"),
        (b"HTTP/2 200\r\n\r\n", "not HTTP/1.1"),
        (b"X" * 100, "'" + "X" * 40 + "'..."),
    ],
)
def test_what_is_not_http_is_quoted(raw: bytes, words: str) -> None:
    """Most often it is the wrong port."""
    with pytest.raises(Failed) as failed:
        read(raw)
    assert words in failed.value.words


@pytest.mark.parametrize("size", [b"zz\r\n", b"-5\r\n", b"1" * 9 + b"\r\n", b"1" * 2000])
def test_malformed_chunks_are_an_error(size: bytes) -> None:
    """And cannot grow without bound."""
    with pytest.raises(Failed, match="chunks are malformed"):
        read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: y\r\n"])
def test_a_connection_that_ends_before_the_headers_do_is_no_answer(raw: bytes) -> None:
    """As from a process that crashes on each request."""
    with pytest.raises(Failed, match="closed without an HTTP answer"):
        read(raw, closed=True)


@given(st.binary(max_size=200))
def test_whatever_comes_is_an_answer_or_a_failure_in_words(raw: bytes) -> None:
    """Backends are not trusted to speak HTTP."""
    try:
        words = str(read(b"HTTP/1.1 200 OK\r\n" + raw, raw, closed=True).status)
    except Failed as failed:
        words = failed.words
    assert words.isprintable()
