# SPDX-License-Identifier: Apache-2.0
"""``lbctl`` against two daemons: a fake with two pools, three backends and three VIPs, and the real API in memory."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cli.fake_server import FakeServer
from click.testing import CliRunner, Result
from fakes.controller import FakeController
from google.protobuf import json_format

from lb.api.server import Server
from lb.cli.main import cli
from lb.v1 import backend_pb2, config_pb2, events_pb2, pool_pb2, vip_pb2

Run = Callable[..., Result]

POOLS = [
    {"name": "pools/spare"},
    {
        "name": "pools/web",
        "description": "front servers",
        "vips": ["vips/dns", "vips/web"],
        "filledSlots": 65537,
        "settleSeconds": 7500,
        "udpSettleSeconds": 60,
        "drainIdleSeconds": 350,
        "healthCheck": {
            "kind": "HTTPS",
            "via": "DIRECT",
            "port": 8443,
            "intervalMs": 5000,
            "timeoutMs": 1500,
            "rise": 2,
            "fall": 3,
            "jitterPercent": 10,
            "http": {
                "method": "GET",
                "path": "/healthz",
                "host": "www.example.com",
                "expectedStatus": "200",
                "serverName": "shop.example.com",
            },
        },
        "slowStartSeconds": 90,
        "failOpen": True,
        "minHealthyPercent": 50,
        "onDown": "KEEP",
        "failingOpen": True,
        "rings": [
            {"protocol": "TCP", "stableSlots": 65507, "movingSlots": 10, "trackedSlots": 20},
            {"protocol": "UDP", "stableSlots": 65530, "movingSlots": 7, "refusedFlows": "12", "heldBack": True},
        ],
        "backends": [
            {"name": "pools/web/backends/b1", "status": {"inRing": True}},
            {"name": "pools/web/backends/b2", "status": {"inRing": False}},
        ],
    },
    {"name": "pools/blue"},
]
BACKENDS = [
    {
        "name": "pools/web/backends/b1",
        "address": "10.0.0.11",
        "weight": 2,
        "adminState": "ENABLED",
        "status": {
            "inRing": True,
            "slots": 43691,
            "health": {"state": "UP", "since": "2026-01-02T03:04:05Z", "weightPercent": 40},
            "nextHop": {
                "state": "RESOLVED",
                "interface": "eth1",
                "mac": "02:00:00:00:00:11",
                "gateway": "10.9.0.1",
                "mtuBytes": 1500,
            },
        },
    },
    {
        "name": "pools/web/backends/b2",
        "address": "10.0.0.12",
        "weight": 0,
        "adminState": "DRAINING",
        "status": {
            "reason": "no route to 10.0.0.12: add one, or a default route, on the balancer's own machine",
            "health": {
                "state": "DOWN",
                "since": "2026-01-02T03:01:00Z",
                "lastError": "connection refused",
                "weightPercent": 100,
            },
            "nextHop": {"state": "UNRESOLVED", "reason": "no route to 10.0.0.12"},
        },
    },
    {"name": "pools/spare/backends/b9", "address": "10.0.1.9", "weight": 1, "adminState": "DISABLED"},
]
VIPS = [
    {"name": "vips/web", "address": "192.0.2.1", "port": 80, "protocol": "TCP", "pool": "pools/web", "hashPolicy": 3},
    {"name": "vips/dns", "address": "192.0.2.53", "port": 0, "protocol": "UDP", "pool": "pools/web", "force": True},
    {"name": "vips/alt", "address": "192.0.2.1", "port": 8080, "protocol": "TCP", "pool": "pools/spare"},
]
STATUS = {
    "ready": True,
    "version": "9.9.9",
    "revision": "17",
    "startTime": "2026-01-02T03:04:05Z",
    "interfaces": [{"interface": "eth0", "attached": True, "mode": "NATIVE"}],
    "vips": 3,
    "pools": 3,
    "backends": 3,
    "backendsInRing": 1,
    "bpfDir": "/run/lb/bpf",
}
STATS = {
    "time": "2026-01-02T03:04:05Z",
    "received": {"packets": "1200000", "bytes": "90000000"},
    "vips": [
        {
            "vip": "vips/web",
            "received": {"packets": "1000", "bytes": "60000"},
            "forwarded": {"packets": "990", "bytes": "59400"},
            "tooBigPackets": "3000",
        }
    ],
    "backends": [{"backend": "pools/web/backends/b1", "forwarded": {"packets": "990", "bytes": "59400"}}],
    "verdicts": [
        {"verdict": "FORWARDED", "count": {"packets": "990", "bytes": "59400"}, "description": "sent on"},
        {"verdict": "DROP_NO_BACKEND", "count": {"packets": "0", "bytes": "0"}, "description": "add a backend"},
    ],
    "flowTable": {
        "capacity": "1048576",
        "entries": "6001",
        "insertedSyn": "5001",
        "insertedOld": "4001",
        "refusedSyn": "3001",
        "refusedOld": "2001",
        "expired": "1001",
    },
}
CONFIG = {
    "settings": {"hashKey": "00112233445566778899aabbccddeeff", "outerSourceIpv4": "off"},
    "pools": [
        {
            "name": "pools/web",
            "backends": [
                {"name": "pools/web/backends/b1", "address": "10.0.0.11", "weight": 0, "adminState": "ENABLED"}
            ],
        }
    ],
    "vips": [{"name": "vips/web", "address": "192.0.2.1", "port": 80, "protocol": "TCP", "pool": "pools/web"}],
}
APPLIED = {
    "revision": "18",
    "differences": [
        {
            "action": "CHANGED",
            "name": "pools/web/backends/b1",
            "fields": [{"name": "weight", "old": "1", "new": "3"}],
        }
    ],
    "impacts": [
        {
            "pool": "pools/web",
            "protocol": "TCP",
            "movedSlots": 21845,
            "newFlowsPercent": 33.33,
            "measuredMovedSlots": 21845,
        }
    ],
}
REVISIONS = [
    {
        "revision": "18",
        "time": "2026-01-02T03:04:05Z",
        "who": "root (uid 0)",
        "origin": "unix, pid 4711",
        "method": "BackendService.UpdateBackend",
        "differences": APPLIED["differences"],
    },
    {
        "time": "2026-01-02T03:04:04Z",
        "who": "guest",
        "origin": "192.0.2.7:53142",
        "method": "VipService.DeleteVip",
        "note": "needs role operate",
    },
    {"revision": "17", "time": "2026-01-01T00:00:00Z", "who": "lbd", "note": "rollback to revision 3"},
]
EVENTS = [
    {"snapshot": {"name": "pools/web/backends/b1", "state": "UP"}},
    {"sync": {}},
    {"health": {"backend": "pools/web/backends/b1", "state": "DOWN", "reason": "connection refused"}},
]


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[FakeServer]:
    """A daemon without any resource."""
    fake = FakeServer(tmp_path / "lbd.sock")
    yield fake
    fake.stop()


@pytest.fixture
def fake(empty: FakeServer) -> FakeServer:
    """A daemon with resources."""
    fill(empty)
    return empty


def cells(text: str) -> list[list[str]]:
    """A table's cells; columns are at least two blanks apart."""
    return [re.split(" {2,}", line) for line in text.splitlines()]


def fill(fake: FakeServer) -> None:
    """Give the fake its resources."""
    for table, kind, items in (
        (fake.pools, pool_pb2.Pool, POOLS),
        (fake.backends, backend_pb2.Backend, BACKENDS),
        (fake.vips, vip_pb2.Vip, VIPS),
    ):
        for item in items:
            table.put(json_format.ParseDict(item, kind()))
    json_format.ParseDict(STATUS, fake.status)
    json_format.ParseDict(STATS, fake.stats)
    json_format.ParseDict(CONFIG, fake.config)
    json_format.ParseDict(APPLIED, fake.applied)
    fake.revisions += [json_format.ParseDict(item, config_pb2.Revision()) for item in REVISIONS]
    fake.verified.compared = 131_074
    fake.events += [
        json_format.ParseDict({"time": "2026-01-02T12:03:07Z", "revision": "18", **item}, events_pb2.WatchResponse())
        for item in EVENTS
    ]


@pytest.fixture
def run(empty: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``lbctl`` in this process against the fake."""
    monkeypatch.setenv("LB_TARGET", empty.target)

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(cli, args, prog_name="lbctl")

    return invoke


@pytest.fixture
def controller() -> FakeController:
    """What is behind the API of ``real``."""
    return FakeController(local_addresses=[IPv4Address("192.0.2.200")])


@pytest.fixture
def real(controller: FakeController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run ``lbctl`` against an API that has pool web, its backend b1 and VIP web; ``stdin``: what is typed."""
    target = f"unix://{tmp_path}/lbd.sock"
    monkeypatch.setenv("LB_TARGET", target)
    started, loop, done = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        server = Server(controller, target)
        await server.start()
        started.set()
        await done.wait()
        await server.stop(0)

    def invoke(*args: str, stdin: str = "") -> Result:
        return CliRunner().invoke(cli, args, input=stdin, prog_name="lbctl")

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(30)
    try:
        for line in (
            "pool create web",
            "backend create web/b1 --address 10.0.0.11",
            "vip create web --address 192.0.2.1 --port 80 --protocol tcp --pool web",
        ):
            assert invoke(*line.split()).exit_code == 0
        yield invoke
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(30)
        loop.close()
