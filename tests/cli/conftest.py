# SPDX-License-Identifier: Apache-2.0
"""A fake daemon with two pools, three backends and three VIPs, and a way to run ``lbctl`` against it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.fake_server import FakeServer
from click.testing import CliRunner, Result
from google.protobuf import json_format

from lb.cli.main import cli
from lb.v1 import backend_pb2, pool_pb2, vip_pb2

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


@pytest.fixture
def run(empty: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``lbctl`` in this process against the fake."""
    monkeypatch.setenv("LB_TARGET", empty.target)

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(cli, args, prog_name="lbctl")

    return invoke
