# SPDX-License-Identifier: Apache-2.0
"""Calls to the API. The three kinds of resources have the same five methods, so they are called by name."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

import click
import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from lb.cli.channel import open_channel
from lb.cli.names import ALL_POOLS, BACKEND, Kind, Name
from lb.cli.rpc_errors import failure_of
from lb.cli.target import Target
from lb.v1 import (
    backend_pb2,
    backend_pb2_grpc,
    config_pb2,
    config_pb2_grpc,
    events_pb2,
    events_pb2_grpc,
    pool_pb2,
    pool_pb2_grpc,
    stats_pb2,
    stats_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
    vip_pb2,
    vip_pb2_grpc,
)

_MODULES: dict[str, tuple[Any, Any]] = {
    "Vip": (vip_pb2, vip_pb2_grpc),
    "Pool": (pool_pb2, pool_pb2_grpc),
    "Backend": (backend_pb2, backend_pb2_grpc),
    "Stats": (stats_pb2, stats_pb2_grpc),
    "System": (system_pb2, system_pb2_grpc),
    "Config": (config_pb2, config_pb2_grpc),
    "Event": (events_pb2, events_pb2_grpc),
}
_LOOKS = ("Get", "List", "Diagnose", "Verify", "Watch")
"""How methods begin that change nothing."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""gRPC's 4 MiB are too few for the statistics of 65,534 backends."""


class Client:
    """One connection. Every method raises ``Failure`` when the daemon refuses or can't be reached."""

    def __init__(self, target: Target, timeout_seconds: float) -> None:
        self._target = target
        self._timeout_seconds = timeout_seconds
        options = [
            # A proxy of the environment is for the web, not for the machine's own daemon.
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
        ]
        self._channel = open_channel(target, options)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def get(self, kind: Kind, name: Name) -> Any:
        """The resource."""
        return self._standard("Get", kind, name=name.full)

    def list(self, kind: Kind, parent: str = ALL_POOLS) -> Iterator[Any]:
        """All resources of a kind, page after page; ``parent`` narrows backends down to one pool."""
        scope = {"parent": parent} if kind is BACKEND else {}
        return self._pages(kind.noun.title(), f"List{kind.plural.title()}", kind.plural, **scope)

    def revisions(self, page_size: int) -> Iterator[Any]:
        """The history, newest first, read as far as it is asked for."""
        return self._pages("Config", "ListRevisions", "revisions", page_size=page_size)

    def _pages(self, service: str, method: str, field: str, **scope: Any) -> Iterator[Any]:
        token = ""
        while True:
            page = self.call(service, method, page_token=token, **scope)
            yield from getattr(page, field)
            token = page.next_page_token
            if not token:
                return

    def create(self, kind: Kind, name: Name, fields: Mapping[str, Any], *, validate_only: bool) -> Any:
        """The new resource; fields that are None stay unset."""
        scope = {"parent": name.parent} if kind is BACKEND else {}
        resource = {key: value for key, value in fields.items() if value is not None}
        return self._standard(
            "Create", kind, **scope, **{f"{kind.noun}_id": name.id, kind.noun: resource}, validate_only=validate_only
        )

    def update(self, kind: Kind, name: Name, fields: Mapping[str, Any], *, etag: str, validate_only: bool) -> Any:
        """The changed resource; exactly ``fields`` change."""
        resource = {**fields, "name": name.full, "etag": etag}
        mask = FieldMask(paths=sorted(fields))
        return self._standard("Update", kind, **{kind.noun: resource}, update_mask=mask, validate_only=validate_only)

    def delete(self, kind: Kind, name: Name, *, etag: str, validate_only: bool) -> None:
        """Delete the resource."""
        self._standard("Delete", kind, name=name.full, etag=etag, validate_only=validate_only)

    def _standard(self, verb: str, kind: Kind, **fields: Any) -> Any:
        service = kind.noun.title()
        return self.call(service, verb + service, **fields)

    def call(self, service: str, method: str, **fields: Any) -> Any:
        """Call ``lb.v1.{service}Service.{method}`` with a request of these fields; its answer."""
        stub, request = self._prepare(service, method, fields)
        try:
            return stub(request, timeout=self._timeout_seconds)
        except grpc.RpcError as error:
            changes = not (method.startswith(_LOOKS) or fields.get("validate_only"))
            raise failure_of(error, self._target, self._timeout_seconds, changes=changes) from error

    def stream(self, service: str, method: str, **fields: Any) -> Generator[Any]:
        """Like ``call``, for a method that goes on answering; no time limit. Closing the generator ends the call."""
        stub, request = self._prepare(service, method, fields)
        call = stub(request)
        try:
            yield from call
        except grpc.RpcError as error:
            raise failure_of(error, self._target, self._timeout_seconds) from error
        finally:
            call.cancel()

    def _prepare(self, service: str, method: str, fields: Mapping[str, Any]) -> tuple[Any, Any]:
        """The method's stub, and its request."""
        messages, stubs = _MODULES[service]
        try:
            request = getattr(messages, f"{method}Request")(**fields)
        except ValueError as error:
            # Text that is not UTF-8, for example.
            raise click.UsageError(f"cannot be sent to lbd: {error}") from error
        return getattr(getattr(stubs, f"{service}ServiceStub")(self._channel), method), request
