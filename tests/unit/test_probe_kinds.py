# SPDX-License-Identifier: Apache-2.0
"""Each kind of probe against real services on loopback: what passes, and the words of what does not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from api.pki import Authority, Pair
from unit.probe_lab import (
    LOOPBACK,
    LOOPBACK_6,
    SHORT_MS,
    http_service,
    refusing_port,
    silent_port,
    target,
    udp_service,
    words,
)

from lb.core.checks import PROBE_MARK, CheckKind
from lb.probe.attempt import Attempt
from lb.probe.failures import Unable
from lb.probe.sockets import open_connection, open_socket

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nall ok\n"
REFUSED = "connection refused: is the service running?"
both_families = pytest.mark.parametrize("address", [LOOPBACK, LOOPBACK_6])


def connections() -> str:
    """The kernel's table of IPv4 ones."""
    return Path("/proc/net/tcp").read_text()


# --- TCP


@both_families
async def test_tcp_passes_when_a_connection_is_accepted(address: str) -> None:
    with silent_port(address) as port:
        assert await words(target(CheckKind.TCP, port, address)) == ""


@both_families
@pytest.mark.parametrize("kind", [CheckKind.TCP, CheckKind.HTTP, CheckKind.HTTPS, CheckKind.GRPC])
async def test_a_refused_connection_asks_for_the_service(kind: CheckKind, address: str) -> None:
    """The most common of failures: the process is gone."""
    with refusing_port(address) as port:
        assert await words(target(kind, port, address)) == REFUSED


async def test_a_host_that_answers_nothing_is_a_timeout_without_an_answer() -> None:
    """A full backlog drops what comes, as a dead host would."""
    with socket.create_server((LOOPBACK, 0), backlog=0) as server:
        port = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)):
            assert await words(target(CheckKind.TCP, port, timeout_ms=SHORT_MS)) == "timeout after 150 ms: no answer"


async def test_probes_leave_no_connection_behind() -> None:
    """All backends of a VIP are probed at one address and port: ports in TIME_WAIT would run out."""
    with socket.create_server((LOOPBACK, 0)) as server:
        server.settimeout(5)
        port = server.getsockname()[1]
        assert await words(target(CheckKind.TCP, port)) == ""
        accepted, peer = server.accept()
        with accepted:
            accepted.settimeout(5)
            with pytest.raises(ConnectionResetError):
                accepted.recv(1)
        assert f":{peer[1]:04X} " not in connections()


@pytest.mark.root
async def test_a_target_through_the_tunnel_has_its_mark_on_the_socket() -> None:
    """By which the tunnel finds the backend."""
    marked = replace(target(CheckKind.TCP, 1), mark=PROBE_MARK | 7)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with open_socket(marked, kind) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == PROBE_MARK | 7


@pytest.mark.root
async def test_a_refusal_through_the_tunnel_asks_where_the_service_listens() -> None:
    """It may run, and listen on the host's own address only."""
    with refusing_port() as port:
        error = await words(replace(target(CheckKind.TCP, port), mark=PROBE_MARK | 7))
    assert error == "connection refused: is the service running, and does it listen on the VIP?"


# --- HTTP


@both_families
async def test_http_passes_with_the_expected_status_and_body(address: str) -> None:
    async with http_service(OK, address) as (port, requests):
        assert await words(target(CheckKind.HTTP, port, address, path="/live", expected_body="ok")) == ""
    assert [each.split(b"\r\n")[0] for each in requests] == [b"GET /live HTTP/1.1"]


@pytest.mark.parametrize(
    ("answer", "check", "expected"),
    [
        (b"HTTP/1.1 500 Oops\r\n\r\n", {}, "HTTP status 500, expected 200-399"),
        (OK, {"expected_status": "204"}, "HTTP status 200, expected 204"),
        (OK, {"expected_body": "fine"}, "body does not contain 'fine'"),
        (OK, {"expected_body": "ok", "method": "HEAD"}, "body does not contain 'ok'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nab", {"expected_body": "c"}, "body does not contain 'c'"),
        (
            b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 70_000 + b"late",
            {"expected_body": "late"},
            "body does not contain 'late' in its first 64 KiB",
        ),
        (b"220 mail ESMTP\r\n", {}, "the answer is not HTTP/1.1: '220 mail ESMTP\\r\\n'"),
        (b"", {}, "the connection was closed without an HTTP answer: look at the service's log"),
    ],
)
async def test_http_fails_with_what_was_wrong(answer: bytes, check: dict[str, object], expected: str) -> None:
    async with http_service(answer) as (port, _):
        assert await words(target(CheckKind.HTTP, port, **check)) == expected


async def test_redirects_are_not_followed() -> None:
    """Where it leads is another host's health."""
    async with http_service(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n") as (port, requests):
        assert await words(target(CheckKind.HTTP, port)) == ""
        assert await words(target(CheckKind.HTTP, port, expected_status="200")) == "HTTP status 302, expected 200"
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "timeout after 150 ms: connected, but no answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "timeout after 150 ms: the answer did not end"),
    ],
)
async def test_a_service_that_hangs_is_told_from_a_host_that_does(answer: bytes, expected: str) -> None:
    async with http_service(answer, hangs=True) as (port, _):
        assert await words(target(CheckKind.HTTP, port, timeout_ms=SHORT_MS)) == expected


async def test_what_was_asked_for_is_enough() -> None:
    """A body that goes on for ever, such as an event stream, does not make a probe wait."""
    async with http_service(b"HTTP/1.1 200 OK\r\n\r\ndata: ok\n", hangs=True) as (port, _):
        assert await words(target(CheckKind.HTTP, port)) == ""
        assert await words(target(CheckKind.HTTP, port, expected_body="ok")) == ""


# --- HTTPS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "ours")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    """Of a server that is reached by name or by address."""
    return authority.issue("web.test", "DNS:web.test", f"IP:{LOOPBACK}")


def server_context(pair: Pair, names: list[str] | None = None) -> ssl.SSLContext:
    """``names``: gets the server names that clients ask for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if names is not None:
        context.sni_callback = lambda _sock, name, _context: names.append(name)
    return context


@pytest.mark.parametrize(
    ("check", "name"),
    [
        ({}, None),
        ({"host": "web.test:8443"}, "web.test"),
        ({"host": "other.test", "server_name": "web.test"}, "web.test"),
    ],
)
async def test_https_verifies_whom_it_asked_for(
    authority: Authority, pair: Pair, check: dict[str, object], name: str | None
) -> None:
    """By server_name, else by host, else by address, which is never sent as a name."""
    names: list[str] = []
    async with http_service(OK, context=server_context(pair, names)) as (port, _):
        asked = target(CheckKind.HTTPS, port, ca_file=str(authority.ca), expected_body="ok", **check)
        assert await words(asked) == ""
    assert names == [name]


async def test_a_certificate_for_somebody_else_fails(authority: Authority, pair: Pair) -> None:
    async with http_service(OK, context=server_context(pair)) as (port, _):
        asked = target(CheckKind.HTTPS, port, ca_file=str(authority.ca), host="other.test")
        assert (await words(asked)).startswith("certificate verify failed: Hostname mismatch")


async def test_a_certificate_of_an_unknown_authority_fails(pair: Pair, tmp_path: Path) -> None:
    """Also when the system's authorities are asked; unless nothing is to be verified."""
    stranger = Authority(tmp_path / "theirs", "another CA")
    async with http_service(OK, context=server_context(pair)) as (port, _):
        error = await words(target(CheckKind.HTTPS, port, ca_file=str(stranger.ca)))
        assert error.startswith("certificate verify failed: unable to get local issuer certificate")
        assert error.endswith("is ca_file the CA that signed it?")
        assert (await words(target(CheckKind.HTTPS, port))).endswith("set ca_file, or server_name")
        assert await words(target(CheckKind.HTTPS, port, verify_tls=False)) == ""


async def test_an_expired_certificate_fails(authority: Authority) -> None:
    """Before the clients notice."""
    expired = authority.issue("expired", f"IP:{LOOPBACK}", days=-1)
    async with http_service(OK, context=server_context(expired)) as (port, _):
        error = await words(target(CheckKind.HTTPS, port, ca_file=str(authority.ca)))
        assert error.startswith("certificate verify failed: certificate has expired")


async def test_a_changed_ca_file_is_read_again(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    """A rotated CA needs no restart."""
    ca_file = tmp_path / "ca.pem"
    async with http_service(OK, context=server_context(pair)) as (port, _):
        asked = target(CheckKind.HTTPS, port, ca_file=str(ca_file))
        assert "No such file or directory: put the CA there" in await words(asked)
        ca_file.write_text("nonsense")
        assert f"ca_file {ca_file}: " in await words(asked)
        ca_file.write_bytes(Authority(tmp_path / "old").ca.read_bytes())
        assert "certificate verify failed" in await words(asked)
        ca_file.unlink()
        ca_file.write_bytes(authority.ca.read_bytes())
        assert await words(asked) == ""


async def test_a_port_that_does_not_speak_tls_is_named() -> None:
    """Whether it waits for a request, or greets."""
    async with http_service(OK) as (port, _):
        asked = target(CheckKind.HTTPS, port, verify_tls=False, timeout_ms=SHORT_MS)
        assert await words(asked) == "timeout after 150 ms: connected, but the TLS handshake did not end"
    server = await asyncio.start_server(lambda _, writer: writer.write(b"220 mail ESMTP\r\n"), LOOPBACK, 0)
    async with server:
        asked = target(CheckKind.HTTPS, server.sockets[0].getsockname()[1], verify_tls=False)
        error = await words(asked)
        assert error.startswith("TLS failed: ")
        assert error.endswith("does the port speak TLS?")


async def test_a_connection_that_ends_in_the_handshake_is_named() -> None:
    """As by a server that was told to speak to nobody yet."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), LOOPBACK, 0)
    async with server:
        error = await words(target(CheckKind.HTTPS, server.sockets[0].getsockname()[1]))
        assert error in (
            "TLS failed: the connection was closed: does the port speak TLS?",
            "connection reset: look at the service's log",
        )


async def test_a_name_that_no_certificate_can_have_is_refused_in_words() -> None:
    with silent_port() as port:
        for name in ("a..b", ".a"):
            error = await words(target(CheckKind.HTTPS, port, host=name))
            assert error == f"TLS failed: {name!r} cannot be in a certificate: set server_name"


# --- UDP


@both_families
async def test_udp_passes_when_the_answer_begins_as_expected(address: str) -> None:
    async with udp_service(b"pong ", address) as port:
        assert await words(target(CheckKind.UDP, port, address, send=b"a", expect=b"pong a")) == ""
        assert await words(target(CheckKind.UDP, port, address)) == ""
        error = await words(target(CheckKind.UDP, port, address, send=b"a", expect=b"PONG"))
    assert error == "the answer begins with 'pong a', expected 'PONG'"


@both_families
async def test_a_closed_udp_port_refuses(address: str) -> None:
    """The host says so by ICMP."""
    with refusing_port(address, socket.SOCK_DGRAM) as port:
        assert await words(target(CheckKind.UDP, port, address, send=b"a")) == REFUSED


async def test_a_udp_service_that_says_nothing_is_a_timeout() -> None:
    with silent_port(kind=socket.SOCK_DGRAM) as port:
        asked = target(CheckKind.UDP, port, send=b"a", timeout_ms=SHORT_MS)
        assert await words(asked) == "timeout after 150 ms: no answer"


# --- ICMP


@pytest.mark.root
@both_families
async def test_a_ping_is_answered(address: str) -> None:
    assert await words(target(CheckKind.ICMP, 0, address)) == ""


@pytest.mark.root
async def test_without_a_route_a_ping_says_so() -> None:
    """240.0.0.1 is of a class that nobody routes."""
    error = await words(target(CheckKind.ICMP, 0, "240.0.0.1", timeout_ms=SHORT_MS))
    assert error.startswith(("network is unreachable", "no route to host", "timeout after 150 ms: no answer"))


# --- what the balancer lacks


async def test_what_the_balancer_lacks_is_not_the_backends_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many open files must not take every backend DOWN."""

    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(Unable, match="LimitNOFILE"):
        await open_connection(Attempt(target(CheckKind.TCP, 1)))
