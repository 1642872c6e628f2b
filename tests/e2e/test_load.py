# SPDX-License-Identifier: Apache-2.0
"""The load generators must notice what they are there to notice: else a test that passes means nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from ipaddress import IPv4Address

import pytest
from testbed import connections
from testbed.connections import KINDS, Incident, Load, Report
from testbed.flood import SOURCES, compile_flood, main

from lb.dataplane.libbpf import prog_load, prog_run

HOST = "127.0.0.1"
MAC = bytes.fromhex("020000000001")
VIP = IPv4Address("192.0.2.1")
XDP_TX = 3

Answer = Callable[[int, bytes], bytes]
"""(how many before, question) -> answer; b"" closes the connection."""


@asynccontextmanager
async def tcp_server(answer: Answer) -> AsyncIterator[int]:
    """Answers lines; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        while line := await reader.readline():
            text = answer(number, line)
            if not text:
                break
            writer.write(text)
            number += 1
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def until_broken(port: int) -> Report:
    """One lasting TCP flow until it breaks."""
    report = Report()
    load = Load(KINDS["tcp"], HOST, port, 0.001, 0)
    await asyncio.wait_for(load.keep_busy(report, asyncio.Event()), 10)
    return report


def name_at(number: int) -> bytes:
    """A backend that hands over to another one after three answers."""
    return b"b1 " if number < 3 else b"b2 "


async def test_a_flow_that_changes_its_backend_is_reported() -> None:
    async with tcp_server(lambda number, line: name_at(number) + line if number < 5 else b"") as port:
        report = await until_broken(port)
    assert [(moved.backend, moved.what) for moved in report.moved] == [("b1", "answered by b2")]
    assert report.answers == 5


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (lambda number, line: b"b1 " + line if number < 2 else b"", "closed by the other end"),
        (lambda number, line: b"b1 " + line if number < 2 else b"b1 nonsense\n", "answered 'b1 nonsense"),
    ],
)
async def test_a_connection_that_breaks_is_reported(answer: Answer, what: str) -> None:
    """With its backend, so that a test can tell whether it was allowed to."""
    async with tcp_server(answer) as port:
        report = await until_broken(port)
    (broken,) = report.broken
    assert broken.backend == "b1"
    assert what in broken.what
    assert report.answers == 2


async def test_a_silent_server_breaks_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that hangs is as lost as one that is reset."""
    monkeypatch.setattr(connections, "_ANSWER_SECONDS", 0.05)
    async with tcp_server(lambda number, line: b"b1 " + line if number < 1 else b"b1 half of an answer") as port:
        report = await until_broken(port)
    assert [broken.what for broken in report.broken] == ["no answer within 0.05 s"]


async def test_a_refused_connection_is_reported() -> None:
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        report = await until_broken(bound.getsockname()[1])
    assert [(broken.backend, broken.what[:15]) for broken in report.broken] == [("", "cannot connect:")]
    assert report.opened == 0


async def test_lost_and_late_datagrams_are_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """UDP loses packets; a flow has moved only if somebody else answers."""
    monkeypatch.setattr(connections, "_DATAGRAM_SECONDS", 0.05)

    # One question gets no answer, then a late one to the question before, then its own.
    answers = {1: b"", 2: b"b1 0\n"}
    enough = asyncio.Event()

    async def serve(sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for number in range(20):
            line, client = await loop.sock_recvfrom(sock, 2048)
            if answer := answers.get(number, b"b1 " + line):
                await loop.sock_sendto(sock, answer, client)
        enough.set()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((HOST, 0))
        report = Report()
        load = Load(KINDS["udp"], HOST, sock.getsockname()[1], 0.001, 5)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(sock))
            flow = tasks.create_task(load.keep_busy(report, asyncio.Event()))
            await enough.wait()
            flow.cancel()
    assert report.lost == 2
    assert report.opened >= 3
    assert report.broken == report.moved == []


def test_a_report_survives_json() -> None:
    report = Report(opened=2, held={"b1": 1}, broken=[Incident(1.5, 40000, "b2", "reset")], longest_silence_seconds=0.2)
    assert Report.parse(json.dumps(asdict(report))) == report


@pytest.mark.root
def test_the_flood_sends_good_syns_from_many_addresses() -> None:
    """A packet with a wrong checksum would be dropped before it costs the receiver anything."""
    program = prog_load("flood", compile_flood(MAC, VIP, 7))
    frames = {prog_run(program, b"\xff" * 60).data for _ in range(200)}
    assert len(frames) == 200
    for frame in frames:
        assert frame[:14] == MAC + bytes.fromhex("020000000099") + b"\x08\x00"
        ip, tcp = frame[14:34], frame[34:54]
        assert checksum(ip) == 0
        assert checksum(ip[12:20] + struct.pack("!HH", 6, len(tcp)) + tcp) == 0
        assert IPv4Address(ip[12:16]) in SOURCES
        assert (ip[0], ip[2:4], ip[9], IPv4Address(ip[16:20])) == (0x45, b"\x00\x28", 6, VIP)
        source_port, port, _, _, offset, flags = struct.unpack_from("!HHIIBB", tcp)
        assert source_port >= 1024
        assert (port, offset, flags) == (7, 0x50, 0x02)
    assert len({frame[26:30] for frame in frames}) > 150


def checksum(data: bytes) -> int:
    """RFC 1071; 0 over data that has its own in it."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


@pytest.mark.root
def test_a_flood_that_cannot_be_sent_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nope0", "02:00:00:00:00:01", str(VIP), "7", "10"]) == 1
    assert capsys.readouterr().err.startswith("testbed.flood: ")


def test_a_flood_without_end_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["lo", "02:00:00:00:00:01", str(VIP), "7", "1000000000"])
    assert "count: 1 to" in capsys.readouterr().err
