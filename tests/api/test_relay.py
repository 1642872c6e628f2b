# SPDX-License-Identifier: Apache-2.0
"""The relay in front of gRPC must not be noticed: every byte arrives, nobody waits for another, nothing is left."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from lb.api import listen, relay
from lb.api.identity import Identity
from lb.api.relay import MAX_CONNECTIONS_PER_PEER, Relay
from lb.api.roles import Role
from lb.api.unix_client import UnixClient

MEBIBYTE = 1024 * 1024
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Bench:
    """A relay between clients and ``handler``, which stands for gRPC.

    ``peers``: the names that its clients came under. ``ended``: how many of them are done.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "public"
        self.private = str(folder / "private")
        self.relay = Relay(self.private)
        self.handler: Handler = echo
        self.peers: list[str] = []
        self.ended = 0
        self._server: asyncio.Server | None = None
        self._clients: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.private)
        await self.relay.start(listen.bind(self.path), UnixClient)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.append(writer.get_extra_info("peername").decode())
        try:
            await self.handler(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()
            self.ended += 1

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        self._clients.append(writer)
        return reader, writer

    async def stop(self) -> None:
        self.relay.refuse_new()
        for client in self._clients:
            client.close()
        await self.relay.stop()
        assert self._server is not None
        self._server.close()
        await until(lambda: self.ended == len(self.peers))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    await bench.start()
    yield bench
    await bench.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (what it looks at are sockets and the code under test)
            await asyncio.sleep(0.001)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def test_every_byte_arrives_in_order_also_after_the_client_has_finished(bench: Bench) -> None:
    """Half-closing: a client that has said everything still gets all of the answer, then the end."""
    reader, writer = await bench.connect()
    sent = os.urandom(8 * MEBIBYTE)
    writer.write(sent)
    writer.write_eof()
    assert await reader.read() == sent


async def test_a_client_that_says_everything_at_once(bench: Bench) -> None:
    """Its bytes and its end may be there before gRPC is connected."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(bench.path))
        client.sendall(b"all of it")
        client.shutdown(socket.SHUT_WR)
        client.setblocking(False)
        async with asyncio.timeout(30):
            assert await asyncio.get_running_loop().sock_recv(client, 100) == b"all of it"
            assert await asyncio.get_running_loop().sock_recv(client, 100) == b""


async def test_a_slow_server_slows_its_client_down(bench: Bench) -> None:
    """What a client sends must not pile up in the daemon's memory."""
    go_on = asyncio.Event()
    received = bytearray()

    async def slow(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        while data := await reader.read(65_536):
            received.extend(data)

    bench.handler = slow
    _, writer = await bench.connect()
    await until(lambda: bool(bench.peers))
    sent = os.urandom(16 * MEBIBYTE)
    writer.write(sent)
    writer.write_eof()
    backlog = await settled(writer.transport.get_write_buffer_size)
    assert backlog > 12 * MEBIBYTE
    go_on.set()
    await until(lambda: len(received) == len(sent))
    assert bytes(received) == sent


async def test_a_slow_client_slows_its_server_down(bench: Bench) -> None:
    sent = os.urandom(16 * MEBIBYTE)
    writers: list[asyncio.StreamWriter] = []

    async def generous(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(sent)
        await writer.drain()

    bench.handler = generous
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(bench.path))
        client.setblocking(False)
        await until(lambda: bool(writers))
        assert await settled(writers[0].transport.get_write_buffer_size) > 12 * MEBIBYTE
        received = bytearray()
        async with asyncio.timeout(30):
            while data := await asyncio.get_running_loop().sock_recv(client, 65_536):
                received.extend(data)
    assert bytes(received) == sent


async def settled(measure: Callable[[], int]) -> int:
    """The value of something that has stopped to change for 50 turns of the loop."""
    async with asyncio.timeout(30):
        last, same = measure(), 0
        while same < 50:
            await asyncio.sleep(0.001)
            last, same = measure(), same + 1 if measure() == last else 0
        return last


async def test_connections_do_not_mix(bench: Bench) -> None:
    async def talk(number: int) -> bool:
        reader, writer = await bench.connect()
        sent = bytes([number]) * (number * 5_000 + 1)
        writer.write(sent)
        writer.write_eof()
        return await reader.read() == sent

    assert all(await asyncio.gather(*map(talk, range(MAX_CONNECTIONS_PER_PEER))))
    await until(lambda: bench.ended == MAX_CONNECTIONS_PER_PEER)


async def test_each_connection_is_known_while_it_lasts(bench: Bench) -> None:
    """By a name that cannot be guessed, and so not be taken beforehand."""
    connections = [await bench.connect() for _ in range(2)]
    for reader, writer in connections:
        writer.write(b"?")
        await reader.readexactly(1)
    names = ["unix-abstract:" + peer.removeprefix("\0") for peer in bench.peers]
    assert len(set(names)) == 2
    assert all(len(name) == len("unix-abstract:lb-") + 32 for name in names)
    known = bench.relay.identity(names[0])
    assert isinstance(known, Identity)
    assert (known.origin, known.role) == (f"unix, pid {os.getpid()}", Role.ADMIN)
    for _, writer in connections:
        writer.close()
    await until(lambda: bench.relay.identity(names[0]) is None)


async def test_one_user_cannot_take_all_connections(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    connections = [await bench.connect() for _ in range(MAX_CONNECTIONS_PER_PEER)]
    await until(lambda: len(bench.peers) == MAX_CONNECTIONS_PER_PEER)
    reader, _ = await bench.connect()
    assert await reader.read() == b""
    (line,) = [record.getMessage() for record in caplog.records if record.name == relay.__name__]
    assert line == f"refused a connection of uid {os.geteuid()}, which has 64 of 64"
    connections[0][1].close()
    await until(lambda: bench.ended == 1)
    reader, writer = await bench.connect()
    writer.write(b"?")
    assert await reader.readexactly(1) == b"?"


async def test_all_users_together_cannot_take_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MAX_CONNECTIONS", 2)
    for _ in range(2):
        await bench.connect()
    await until(lambda: len(bench.peers) == 2)
    reader, _ = await bench.connect()
    assert await reader.read() == b""


async def test_a_client_that_is_gone_ends_its_connection(bench: Bench) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(bench.path))
        await until(lambda: bool(bench.peers))
    await until(lambda: bench.ended == 1)


async def test_a_client_that_is_gone_before_it_was_connected(bench: Bench) -> None:
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(bench.path))
    await until(lambda: bench.ended == len(bench.peers) == 20)
    assert not bench.relay._identities


async def test_when_grpc_is_gone_the_client_learns_it(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await asyncio.to_thread(Path(bench.private).unlink)
    reader, _ = await bench.connect()
    assert await reader.read() == b""
    assert "on to gRPC: No such file or directory" in caplog.text


async def test_stop_delivers_the_last_answer(bench: Bench) -> None:
    """A mutation that was made must be answered: gRPC wrote it, the relay has to hand it over."""
    sent = os.urandom(MEBIBYTE)

    async def last_words(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()

    bench.handler = last_words
    reader, _ = await bench.connect()
    await until(lambda: bool(bench.peers))
    answer = asyncio.ensure_future(reader.read())
    bench.relay.refuse_new()
    await bench.relay.stop()
    assert await answer == sent


async def test_stop_does_not_wait_for_who_never_reads(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "FLUSH_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(bench.path))
        await until(lambda: bool(bench.peers))
        bench.relay.refuse_new()
        await bench.relay.stop()
    await until(lambda: not bench.relay._identities)
