# SPDX-License-Identifier: Apache-2.0
"""EventService, over a socket."""

from __future__ import annotations

import asyncio
import logging
import time
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import grpc
import pytest
from api.client import Api
from fakes.controller import FakeController

from lb.api import watch
from lb.api.events import snapshot_to_proto
from lb.api.server import serve
from lb.core.events import DrainProgressed, HealthChanged, MovesHeldBack, NextHopChanged
from lb.core.health import UNCHECKED, Health, Status
from lb.core.model import (
    Backend,
    BackendState,
    Config,
    DrainState,
    Pool,
    Protocol,
    RingState,
    Unresolved,
    View,
    Vip,
)
from lb.daemon import events
from lb.v1.config_pb2 import ApplyConfigRequest, Difference
from lb.v1.events_pb2 import (
    ConfigEvent,
    DrainEvent,
    HealthEvent,
    MovesEvent,
    NextHopEvent,
    SyncMarker,
    WatchRequest,
    WatchResponse,
)
from lb.v1.system_pb2 import GetStatusRequest

B1, B2 = (Backend(name, IPv4Address(address)) for name, address in (("b1", "10.0.0.11"), ("b2", "10.0.0.12")))
CONFIG = Config(
    pools={"web": Pool("web", backends={"b1": B1, "b2": B2}), "spare": Pool("spare")},
    vips={
        "web": Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web"),
        "alt": Vip("alt", IPv4Address("192.0.2.2"), 80, Protocol.TCP, "spare"),
    },
)
DOWN = HealthChanged("web", "b1", Status.DOWN, "connection refused")
THIRD = {"pools": [{"name": "web", "backends": [{"name": "b3", "address": "10.0.0.13"}]}]}


@pytest.fixture
def controller() -> FakeController:
    return FakeController(CONFIG)


async def read(call: Any) -> WatchResponse:
    """The next message of a stream that goes on."""
    message = await asyncio.wait_for(call.read(), 10)
    assert isinstance(message, WatchResponse), "the stream has ended"
    return message


async def until_sync(call: Any) -> list[WatchResponse]:
    """The snapshot."""
    items = []
    while not (message := await read(call)).HasField("sync"):
        items.append(message)
    return items


async def test_snapshot_marker_events(api: Api, controller: FakeController) -> None:
    """Who begins anew knows when it has seen everything, and misses nothing after that."""
    call = api.events.Watch(WatchRequest())
    items = await until_sync(call)
    assert [(item.snapshot.name, item.snapshot.state) for item in items] == [
        ("pools/spare", "0 of 0 backends take new flows"),
        ("pools/web", "2 of 2 backends take new flows"),
        ("pools/web/backends/b1", "UP"),
        ("pools/web/backends/b2", "UP"),
        ("vips/alt", "dropped: no backend of pools/spare takes new flows"),
        ("vips/web", "balanced over 2 backends of pools/web"),
    ]
    assert abs(items[0].time.seconds - time.time()) < 60
    controller.hub.emit(DOWN)
    event = await read(call)
    assert event.health == HealthEvent(backend="pools/web/backends/b1", state="DOWN", reason="connection refused")
    assert abs(event.time.seconds - time.time()) < 60


async def test_a_change_made_through_the_api_is_an_event(api: Api) -> None:
    call = api.events.Watch(WatchRequest())
    await until_sync(call)
    await api.config.ApplyConfig(ApplyConfigRequest(config=THIRD))
    event = await read(call)
    assert event.revision == 1
    (difference,) = event.config.differences
    assert (difference.action, difference.name) == (Difference.ADDED, "pools/web/backends/b3")


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (DrainProgressed("web", "b1", 7), "drain", DrainEvent(backend="pools/web/backends/b1", flows=7)),
        (
            DrainProgressed("web", "b1", 3, "deadline"),
            "drain",
            DrainEvent(backend="pools/web/backends/b1", flows=3, done="deadline"),
        ),
        (
            NextHopChanged("web", "b1", "", "no route"),
            "next_hop",
            NextHopEvent(backend="pools/web/backends/b1", problem="no route"),
        ),
        (
            NextHopChanged("web", "b1", "02:00:00:00:00:01 via eth0", ""),
            "next_hop",
            NextHopEvent(backend="pools/web/backends/b1", via="02:00:00:00:00:01 via eth0"),
        ),
        (MovesHeldBack("web", Protocol.UDP), "moves", MovesEvent(pool="pools/web", protocol="UDP")),
        (
            HealthChanged("web", "b1", Status.UP, ""),
            "health",
            HealthEvent(backend="pools/web/backends/b1", state="UP"),
        ),
    ],
)
async def test_every_kind_of_event(api: Api, controller: FakeController, body: Any, field: str, message: Any) -> None:
    call = api.events.Watch(WatchRequest())
    await until_sync(call)
    controller.hub.emit(body)
    event = await read(call)
    assert event.WhichOneof("body") == field
    assert getattr(event, field) == message


async def test_going_on_from_a_revision(api: Api, controller: FakeController) -> None:
    await api.config.ApplyConfig(ApplyConfigRequest(config=THIRD))
    controller.hub.emit(DOWN)
    call = api.events.Watch(WatchRequest(start_revision=1))
    assert (await read(call)).health.state == "DOWN"
    await api.config.ApplyConfig(ApplyConfigRequest(config={}, prune=True))
    assert isinstance((await read(call)).config, ConfigEvent)


@pytest.mark.parametrize("revision", [1, 3, 2**64 - 1])
async def test_a_revision_that_cannot_be_gone_on_from(api: Api, controller: FakeController, revision: int) -> None:
    """A client that would get a stream with a hole has to list again; so has one of another balancer's."""
    controller.hub.begin(2)
    failure = await api.failure(api.events.Watch(WatchRequest(start_revision=revision)).read())
    assert (failure.code, failure.reason) == (grpc.StatusCode.OUT_OF_RANGE, "OUT_OF_RANGE")
    assert "list again" in failure.message


async def test_a_slow_reader_is_told_to_list_again(api: Api, controller: FakeController) -> None:
    """It gets what it was sent before, then the reason; the daemon keeps no more than its share for it."""
    call = api.events.Watch(WatchRequest())
    await until_sync(call)
    for _ in range(events.MAX_QUEUED + 1):
        controller.hub.emit(DOWN)  # All at once: the stream has had no turn to send any.
    failure = await api.failure(drain(call))
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED")
    assert "list again" in failure.message


async def test_a_reader_that_takes_nothing_is_given_up(api: Api, controller: FakeController, monkeypatch) -> None:
    """Its subscription is one of few. What fills the transport's buffers is read, then comes the reason."""
    monkeypatch.setattr(watch, "STALL_SECONDS", 0.2)
    call = api.events.Watch(WatchRequest())
    await until_sync(call)
    large = HealthChanged("web", "b1", Status.DOWN, "x" * 100_000)
    async with asyncio.timeout(30):
        while controller.hub._subscriptions:
            controller.hub.emit(large)
            await asyncio.sleep(0.001)
    failure = await api.failure(drain(call))
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def drain(call: Any) -> None:
    """Read a stream to its end."""
    async with asyncio.timeout(30):
        while isinstance(await call.read(), WatchResponse):
            pass


async def test_too_many_watches(api: Api, monkeypatch) -> None:
    monkeypatch.setattr(events, "MAX_SUBSCRIPTIONS", 1)
    await until_sync(api.events.Watch(WatchRequest()))
    failure = await api.failure(api.events.Watch(WatchRequest()).read())
    assert (failure.code, failure.message) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "1 watches are open already: end one first",
    )


async def test_a_client_that_hangs_up_leaves_nothing_behind(api: Api, controller: FakeController) -> None:
    call = api.events.Watch(WatchRequest())
    await until_sync(call)
    call.cancel()
    async with asyncio.timeout(10):
        while controller.hub._subscriptions:  # noqa: ASYNC110 (the hub has nobody to tell)
            await asyncio.sleep(0.001)


async def test_a_stopping_server_ends_its_watches_at_once(controller: FakeController, tmp_path: Path) -> None:
    """They would hold it up for the whole grace period, each time it is restarted."""
    server = await serve(controller, f"unix://{tmp_path}/lbd.sock")
    api = Api(f"unix://{server.path}")
    call = api.events.Watch(WatchRequest())
    await until_sync(call)
    async with asyncio.timeout(10):
        failure, _ = await asyncio.gather(api.failure(drain(call)), server.stop(60))
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
    assert "watch again when it is back" in failure.message
    await api.channel.close()


async def test_a_bug_in_a_stream_is_answered_logged_and_survived(api: Api, controller: FakeController, caplog) -> None:
    controller.failure = ZeroDivisionError("secret detail")
    with caplog.at_level(logging.ERROR, "lb.api.errors"):
        failure = await api.failure(api.events.Watch(WatchRequest()).read())
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert failure.message == "internal error: lbd's log has the traceback"
    assert "/lb.v1.EventService/Watch failed" in caplog.text
    controller.failure = None
    assert (await api.system.GetStatus(GetStatusRequest())).ready


DRAINING = DrainState(3, 0.0, 0.0, drained=False)
UNRESOLVED = Unresolved("no route to 10.0.0.11: add one")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (BackendState(5, "", UNRESOLVED), "unresolved: no route to 10.0.0.11: add one"),
        (BackendState(5, "", None, Health(Status.UP, 1.0)), "UP"),
        (BackendState(5, "", None, Health(Status.UP, 1.0, "timeout")), "UP"),
        (BackendState(0, "its checks fail: refused", None, Health(Status.DOWN, 1.0, "refused")), "DOWN: refused"),
        (BackendState(0, "no verdict", None, Health(Status.UNKNOWN, 1.0)), "UNKNOWN"),
        (BackendState(0, "weight 0: no new flows", None), "takes no new flows: weight 0: no new flows"),
        (BackendState(0, "draining", None, UNCHECKED, DRAINING), "takes no new flows: draining; 3 flows left"),
        (
            BackendState(0, "draining", None, UNCHECKED, DrainState(0, 0.0, 0.0, drained=True)),
            "takes no new flows: draining; drained",
        ),
        (
            BackendState(0, "draining", UNRESOLVED, Health(Status.DOWN, 1.0, "refused"), DRAINING),
            "DOWN: refused; unresolved: no route to 10.0.0.11: add one; 3 flows left",
        ),
    ],
)
def test_a_backend_in_words(state: BackendState, words: str) -> None:
    view = View(7, Config(pools={"web": Pool("web", backends={"b1": B1})}), {("web", "b1"): state})
    pool, backend, sync = snapshot_to_proto(view, 1_700_000_000.25)
    assert backend.snapshot.state == words
    assert (pool.revision, pool.time.ToMilliseconds()) == (7, 1_700_000_000_250)
    assert sync.sync == SyncMarker()


def test_a_pool_in_words() -> None:
    states = {("web", "b1"): BackendState(5, "", None), ("web", "b2"): BackendState(0, "weight 0", None)}
    rings = {"web": (RingState(Protocol.TCP, 1, 0, 0), RingState(Protocol.UDP, 1, 0, 0, held_back=True))}
    view = View(7, CONFIG, states, rings, failing_open=frozenset({"web"}))
    found = {message.snapshot.name: message.snapshot.state for message in snapshot_to_proto(view, 0.0)}
    assert found["pools/web"] == (
        "1 of 2 backends take new flows; fails open: too few backends are UP, so all are used; "
        "UDP moves are held back: flows cannot be tracked"
    )
    assert found["vips/web"] == "balanced over 1 backend of pools/web"
