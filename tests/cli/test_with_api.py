# SPDX-License-Identifier: Apache-2.0
"""``lbctl`` against the real API over a fake data plane: what an operator reads after a mistake."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cli.conftest import Run, cells
from click.testing import CliRunner, Result
from fakes.controller import FakeController

from lb.api.server import Server
from lb.cli.main import cli

VIP = ["vip", "create", "new", "--address", "192.0.2.9", "--port", "80", "--protocol", "tcp", "--pool", "web"]


def vip(**changed: str) -> list[str]:
    """Arguments that would create a VIP, but for what is changed."""
    args = list(VIP)
    for option, value in changed.items():
        args[args.index(f"--{option}") + 1] = value
    return args


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run ``lbctl`` against an API that has pool web, its backend b1 and VIP web."""
    target = f"unix://{tmp_path}/lbd.sock"
    monkeypatch.setenv("LB_TARGET", target)
    started, loop, done = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        server = Server(FakeController(local_addresses=[IPv4Address("192.0.2.200")]), target)
        await server.start()
        started.set()
        await done.wait()
        await server.stop(0)

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(cli, args)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(30)
    try:
        for args in (["pool", "create", "web"], ["backend", "create", "web/b1", "--address", "10.0.0.11"]):
            assert invoke(*args).exit_code == 0
        assert invoke("vip", "create", "web", *vip(address="192.0.2.1")[3:]).exit_code == 0
        yield invoke
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(30)
        loop.close()


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (vip(address="192.0.2.x"), 2, ["vip.address: ", "is not an IP address", "(--address)"]),
        (vip(port="70000"), 2, ["vip.port: 70000 is not a port: 1 to 65535", "(--port)"]),
        (vip(protocol="sctp"), 2, ["--protocol", "'sctp' is not one of 'tcp', 'udp'"]),
        (vip(address="192.0.2.1"), 4, ["vip 'web' already", "choose another port"]),
        (["vip", "create", "web", *vip()[3:]], 4, ["vip 'web' exists already", "lbctl vip update"]),
        (vip(pool="nope"), 3, ["vip.pool: ", "create it first"]),
        (vip(address="192.0.2.200"), 4, ["is an address of this balancer", "--force"]),
        (["backend", "create", "web/b2", "--address", "10.0.0.12", "--weight", "-1"], 2, ["backend.weight: -1"]),
        (["backend", "update", "web/b1", "--weight", "65536"], 2, ["backend.weight: 65536", "(--weight)"]),
        (["backend", "update", "web/b1", "--weight", "3", "--etag", "old"], 4, ["was changed meanwhile"]),
        (["backend", "create", "web/b2", "--address", "10.0.0.12:8080"], 2, ["server return cannot change ports"]),
        (["pool", "delete", "web"], 4, ["is used by vip web", "point it at another pool"]),
        (["vip", "get", "nope"], 3, ["vip 'nope' does not exist", "lbctl vip list"]),
        (["vip", "get", "a/b"], 2, ["name: 'vips/a/b' is not of this form"]),
    ],
)
def test_mistakes_name_field_and_remedy_and_change_nothing(
    real: Run, args: list[str], code: int, words: list[str]
) -> None:
    before = real("export").stdout
    result = real(*args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert [word for word in words if word not in result.stderr] == []
    assert real("export").stdout == before


def test_weights_become_shares(real: Run) -> None:
    """`backend update --weight 3` beside a weight of 1 must give three quarters."""
    real("backend", "create", "web/b2", "--address", "10.0.0.12")
    result = real("backend", "update", "web/b1", "--weight", "3", "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["weight"]) == (0, 3)
    rows = cells(real("backend", "list", "web").stdout)[1:]
    assert [(row[0], row[2], row[4]) for row in rows] == [("web/b1", "3", "75.0%"), ("web/b2", "1", "25.0%")]


def test_an_exported_etag_is_accepted(real: Run) -> None:
    """Read, edit, write back: the way that is safe beside other operators."""
    etag = json.loads(real("vip", "get", "web", "-o", "json").stdout)["etag"]
    assert real("vip", "delete", "web", "--etag", etag).stderr == "deleted vip web\n"
    assert real("pool", "delete", "web").exit_code == 0
