# SPDX-License-Identifier: Apache-2.0
"""EventService."""

# ruff: noqa: N802 (gRPC names the methods)
from __future__ import annotations

import asyncio
import time
from typing import Any, TypeAlias

import grpc

from lb.api.events import event_to_proto, snapshot_to_proto
from lb.core.errors import LimitError
from lb.ports import Controller, Subscription
from lb.v1 import events_pb2, events_pb2_grpc

STALL_SECONDS = 60.0
"""A reader that takes nothing for this long is given up: it holds a subscription that others may need."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class EventService(events_pb2_grpc.EventServiceServicer):
    """Streams what happens. Nothing is read from the network of a client, so only its pace can hurt."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._open: set[Subscription] = set()

    def stop(self) -> None:
        """End every stream with UNAVAILABLE: none would end by itself, and the server waits for calls to end."""
        for subscription in self._open:
            subscription.close()

    async def Watch(self, request: events_pb2.WatchRequest, context: Context) -> None:
        subscription = self._controller.subscribe(request.start_revision)
        self._open.add(subscription)
        try:
            if subscription.snapshot is not None:
                for message in snapshot_to_proto(subscription.snapshot, time.time()):
                    await _send(context, message)
            while True:
                await _send(context, event_to_proto(await subscription.next()))
        finally:
            self._open.discard(subscription)
            subscription.close()


async def _send(context: Context, message: events_pb2.WatchResponse) -> None:
    """Hand a message to the transport, which waits for the reader; raises ``LimitError``."""
    try:
        async with asyncio.timeout(STALL_SECONDS):
            await context.write(message)
    except TimeoutError as error:
        raise LimitError(
            f"the reader took nothing for {STALL_SECONDS:g} s: list again, then watch from there"
        ) from error
