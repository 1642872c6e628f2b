# SPDX-License-Identifier: Apache-2.0
"""The TLS listener: who is refused learns why, and certificates are renewed without a restart."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from api.client import Api
from api.pki import Authority, Pair
from fakes.controller import FakeController

from lb.api import tls_client
from lb.api.identity import valid_until
from lb.api.server import Server, serve
from lb.api.tls import TlsSettings
from lb.core.errors import InvalidError, UnavailableError
from lb.v1.config_pb2 import ListRevisionsRequest
from lb.v1.pool_pb2 import CreatePoolRequest
from lb.v1.system_pb2 import GetStatusRequest

ADMIN = "URI:urn:lb:role:admin"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "ca")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "other-ca", "another CA")


@pytest.fixture(scope="module")
def admin(authority: Authority) -> Pair:
    return authority.issue("admin", ADMIN)


@pytest.fixture(scope="module")
def lbd(authority: Authority) -> Pair:
    return authority.issue("lbd", "IP:127.0.0.1", "IP:::1")


@pytest.fixture
def settings(authority: Authority, lbd: Pair, tmp_path: Path) -> TlsSettings:
    """Files that a test may replace."""
    names = {lbd.cert: "cert.pem", lbd.key: "key.pem", authority.ca: "ca.pem"}
    for source, name in names.items():
        shutil.copy(source, tmp_path / name)
    return TlsSettings("127.0.0.1:0", *(tmp_path / name for name in names.values()))


@pytest.fixture
async def server(controller: FakeController, tmp_path: Path, settings: TlsSettings) -> AsyncIterator[Server]:
    server = await serve(controller, f"unix://{tmp_path}/lbd.sock", settings)
    yield server
    await server.stop(0)


def client(server: Server, pair: Pair | None, ca: Path, host: str = "127.0.0.1") -> Api:
    files = [ca] if pair is None else [ca, pair.key, pair.cert]
    return Api(f"{host}:{server.tls_port}", grpc.ssl_channel_credentials(*(file.read_bytes() for file in files)))


async def works(server: Server, pair: Pair, ca: Path) -> bool:
    api = client(server, pair, ca)
    code = await api.system.GetStatus(GetStatusRequest()).code()
    await api.channel.close()
    return code is grpc.StatusCode.OK


def alert(port: int, pair: Pair | None, ca: Path) -> str | None:
    """What a client of another TLS library is told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    with (
        socket.create_connection(("127.0.0.1", port), 30) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as channel,
    ):
        try:
            # As gRPC does: the first bytes go out with the end of the handshake.
            channel.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            channel.recv(1)
        except ssl.SSLError as error:
            return error.reason
        return None


def refused(kind: str, authority: Authority, stranger: Authority) -> Pair | None:
    match kind:
        case "expired":
            return authority.issue("expired", ADMIN, days=-1)
        case "wrong CA":
            return stranger.issue("admin", ADMIN)
        case "not for clients":
            return authority.issue("server", ADMIN, usage="serverAuth")
    return None


@pytest.mark.parametrize(
    ("kind", "reason", "logged"),
    [
        ("wrong CA", "TLSV1_ALERT_UNKNOWN_CA", "unable to get local issuer certificate"),
        ("expired", "SSLV3_ALERT_CERTIFICATE_EXPIRED", "certificate has expired"),
        ("not for clients", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "unsuitable certificate purpose"),
        ("no certificate", "TLSV13_ALERT_CERTIFICATE_REQUIRED", "peer did not return a certificate"),
    ],
)
async def test_who_is_refused_learns_why_and_so_does_the_log(
    server: Server,
    authority: Authority,
    stranger: Authority,
    kind: str,
    reason: str,
    logged: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pair = refused(kind, authority, stranger)
    assert await asyncio.to_thread(alert, server.tls_port, pair, authority.ca) == reason
    (line,) = [item.getMessage() for item in caplog.records if item.name == "lb.api.relay"]
    assert line.startswith("TLS connection from 127.0.0.1:")
    assert line.endswith(f" refused: {logged}")


@pytest.mark.parametrize("kind", ["wrong CA", "expired", "not for clients", "no certificate"])
async def test_grpc_clients_get_nothing_done_without_a_good_certificate(
    server: Server, controller: FakeController, authority: Authority, stranger: Authority, kind: str
) -> None:
    api = client(server, refused(kind, authority, stranger), authority.ca)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.pools.CreatePool(CreatePoolRequest(pool_id="web"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not controller.view().config.pools
    await api.channel.close()


async def test_a_good_certificate_gets_things_done(
    server: Server, controller: FakeController, authority: Authority, admin: Pair
) -> None:
    api = client(server, admin, authority.ca)
    await api.pools.CreatePool(CreatePoolRequest(pool_id="web", pool={"description": "x" * 256}))
    assert set(controller.view().config.pools) == {"web"}
    await api.channel.close()


async def test_large_messages_pass_in_both_directions(server: Server, authority: Authority, admin: Pair) -> None:
    """Longer than any buffer on the way, and than a TLS record."""
    backends = [{"name": f"b{n}", "address": f"10.0.{n >> 8}.{n & 255}"} for n in range(4_000)]
    api = client(server, admin, authority.ca)
    answer = await api.pools.CreatePool(CreatePoolRequest(pool_id="web", pool={"backends": backends}))
    assert len(answer.backends) == 4_000
    assert answer.ByteSize() > 256 * 1024
    await api.channel.close()


async def test_a_client_that_says_goodbye_is_let_go(server: Server, authority: Authority, admin: Pair) -> None:
    """By TLS's own message, which says that no more will come. Others must not notice."""

    def goodbye() -> bytes:
        context = ssl.create_default_context(cafile=authority.ca)
        context.load_cert_chain(admin.cert, admin.key)
        with (
            socket.create_connection(("127.0.0.1", server.tls_port), 30) as connection,
            context.wrap_socket(connection, server_hostname="127.0.0.1") as channel,
        ):
            assert channel.recv(65_536)
            return channel.unwrap().recv(1)

    assert await asyncio.to_thread(goodbye) == b""
    assert await works(server, admin, authority.ca)


async def test_a_broken_record_ends_its_connection(
    server: Server, authority: Authority, admin: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """After a good handshake; and it is a stranger's fault, not an error of ours."""
    context = ssl.create_default_context(cafile=authority.ca)
    context.load_cert_chain(admin.cert, admin.key)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.tls_port, ssl=context)
    assert await reader.read(65_536)
    plain: socket.socket = writer.get_extra_info("socket")
    os.write(plain.fileno(), b"\x17\x03\x03\x00\x20" + b"x" * 32)
    async with asyncio.timeout(30):
        with pytest.raises(ssl.SSLError, match="bad record mac"):
            await reader.read()
    writer.close()
    (line,) = [item for item in caplog.records if item.name.startswith(("lb.", "asyncio"))]
    assert line.getMessage().endswith("decryption failed or bad record mac")


async def test_what_is_no_tls_is_closed(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.tls_port)
    writer.write(b"GET / HTTP/1.1\r\nHost: lb\r\n\r\n")
    async with asyncio.timeout(30):
        await reader.read()
    assert "refused: http request" in caplog.text
    writer.close()


async def test_who_never_finishes_the_handshake_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else anybody could hold all connections without any certificate."""
    monkeypatch.setattr(tls_client, "HANDSHAKE_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.tls_port)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


async def test_a_certificate_that_expires_takes_its_connections_with_it(
    server: Server, authority: Authority, admin: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that was opened in time must not outlive the right to it."""
    monkeypatch.setattr(tls_client, "valid_until", lambda _certificate: time.time() + 0.05)
    context = ssl.create_default_context(cafile=authority.ca)
    context.load_cert_chain(admin.cert, admin.key)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.tls_port, ssl=context)
    async with asyncio.timeout(30):
        # gRPC's greeting, then the end.
        assert await reader.read()
    writer.close()


def test_the_end_of_a_certificate() -> None:
    assert valid_until({"notAfter": "Jan  2 00:00:00 1970 GMT"}) == 86_400


# The files.


def install(pair: Pair, settings: TlsSettings) -> None:
    """Replace certificate and key."""
    for source, target in ((pair.cert, settings.cert), (pair.key, settings.key)):
        fresh = target.with_suffix(".new")
        shutil.copy(source, fresh)
        fresh.replace(target)


async def test_a_new_certificate_is_shown_without_a_restart(
    server: Server, settings: TlsSettings, authority: Authority, stranger: Authority, admin: Pair
) -> None:
    assert await works(server, admin, authority.ca)
    install(stranger.issue("lbd", "IP:127.0.0.1"), settings)
    assert not await works(server, admin, authority.ca)
    assert await works(server, admin, stranger.ca)


async def test_a_new_ca_is_trusted_without_a_restart(
    server: Server, settings: TlsSettings, authority: Authority, stranger: Authority, admin: Pair
) -> None:
    shutil.copy(stranger.ca, settings.ca)
    assert not await works(server, admin, authority.ca)
    assert await works(server, stranger.issue("admin", ADMIN), authority.ca)


async def test_broken_files_leave_the_former_ones_in_place(
    server: Server,
    settings: TlsSettings,
    authority: Authority,
    stranger: Authority,
    admin: Pair,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Half of a renewal must not lock everybody out; it is said once, not with every connection."""
    caplog.set_level(logging.INFO, "lb.api.tls")
    renewed = stranger.issue("lbd", "IP:127.0.0.1")
    shutil.copy(renewed.cert, settings.cert)
    for _ in range(3):
        assert await works(server, admin, authority.ca)
    settings.key.unlink()
    assert await works(server, admin, authority.ca)
    shutil.copy(renewed.key, settings.key)
    assert await works(server, admin, stranger.ca)
    stay = "the TLS files changed but can't be used, the former ones stay: --tls-key"
    assert [item.getMessage() for item in caplog.records if item.name == "lb.api.tls"] == [
        f"{stay}: {settings.key}: is not the key of {settings.cert}",
        f"{stay}: {settings.key}: No such file or directory: give a PEM file",
        "the TLS files were read again",
    ]


@pytest.mark.parametrize(
    ("field", "content", "message"),
    [
        ("cert", None, "--tls-cert: {}: No such file or directory: give a PEM file"),
        ("key", None, "--tls-key: {}: No such file or directory: give a PEM file"),
        ("ca", None, "--tls-ca: {}: No such file or directory: give a PEM file"),
        ("cert", "nonsense", "--tls-cert: {} and {key}: are not a certificate and its private key in PEM form"),
        ("key", "nonsense", "--tls-cert: {cert} and {}: are not a certificate and its private key in PEM form"),
        ("ca", "", "--tls-ca: {}: holds no certificate in PEM form"),
    ],
)
def test_files_that_cannot_be_used(settings: TlsSettings, field: str, content: str | None, message: str) -> None:
    path: Path = getattr(settings, field)
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidError) as caught:
        settings.check()
    assert caught.value.message == message.format(path, key=settings.key, cert=settings.cert)


def test_a_key_of_another_certificate(settings: TlsSettings, admin: Pair) -> None:
    shutil.copy(admin.key, settings.key)
    with pytest.raises(InvalidError, match=r"--tls-key: .*key\.pem: is not the key of .*cert\.pem"):
        settings.check()


def test_a_key_behind_a_password(settings: TlsSettings, authority: Authority) -> None:
    shutil.copy(authority.encrypt(settings.key), settings.key)
    with pytest.raises(InvalidError, match=r"--tls-key: .*key\.pem: is encrypted: decrypt it"):
        settings.check()


# The address.


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("0.0.0.0:8443", ("0.0.0.0", 8443)),
        ("[::]:0", ("::", 0)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
    ],
)
def test_addresses(settings: TlsSettings, listen: str, address: tuple[str, int]) -> None:
    assert TlsSettings(listen, settings.cert, settings.key, settings.ca).address() == address


@pytest.mark.parametrize(
    "listen", ["", "8443", ":8443", "localhost:8443", "::1:8443", "[192.0.2.1]:8443", "192.0.2.1:65536", "[::1]:"]
)
def test_addresses_that_cannot_be_listened_on(settings: TlsSettings, listen: str) -> None:
    with pytest.raises(
        InvalidError, match=r"--listen-tls: .*write ADDRESS:PORT, an IP address of this machine such as"
    ):
        TlsSettings(listen, settings.cert, settings.key, settings.ca).check()


async def test_a_port_that_is_taken_leaves_nothing_behind(
    controller: FakeController, settings: TlsSettings, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        busy = TlsSettings(listen, settings.cert, settings.key, settings.ca)
        with pytest.raises(UnavailableError, match=rf"can't listen on {listen}: .*; give another --listen-tls"):
            await serve(controller, f"unix://{tmp_path}/run/lbd.sock", busy)
    assert list((tmp_path / "run").iterdir()) == []


async def test_one_listener_serves_both_families_and_says_who_called(
    controller: FakeController, settings: TlsSettings, tmp_path: Path, authority: Authority
) -> None:
    """A client over IPv4 has an IPv4 address, whatever socket it came in by."""
    both = TlsSettings("[::]:0", settings.cert, settings.key, settings.ca)
    server = await serve(controller, f"unix://{tmp_path}/lbd.sock", both)
    reader = authority.issue("reader", "URI:urn:lb:role:read")
    for host in ("127.0.0.1", "[::1]"):
        api = client(server, reader, authority.ca, host)
        await api.config.ListRevisions(ListRevisionsRequest())
        await Api.failure(api.pools.CreatePool(CreatePoolRequest(pool_id="new")))
        await api.channel.close()
    origins = [record.caller.origin.rpartition(":")[0] for record in await controller.history(0, 10)]
    assert origins == ["[::1]", "127.0.0.1"]
    await server.stop(0)
