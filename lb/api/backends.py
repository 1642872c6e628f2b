# SPDX-License-Identifier: Apache-2.0
"""BackendService."""

# ruff: noqa: N802 (gRPC names the methods)
from __future__ import annotations

import math
import time

from google.protobuf.empty_pb2 import Empty

from lb.api import convert, etags, masks, names, present
from lb.api.callers import caller
from lb.api.paging import paginate
from lb.core import edit
from lb.core.model import Backend, Config
from lb.core.validate import Found, parse_deadline_seconds, parse_name, raise_if_any
from lb.ports import Controller
from lb.v1 import backend_pb2, backend_pb2_grpc

MUTABLE = frozenset({"weight", "admin_state", "drain_deadline_at_seconds"})
FIXED = {"address": "delete the backend and create it anew, or create another one beside it"}
ALL_POOLS = "pools/-"


class BackendService(backend_pb2_grpc.BackendServiceServicer):
    """Reads and edits the backends of the controller's configuration."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def GetBackend(self, request: backend_pb2.GetBackendRequest, _context: object) -> backend_pb2.Backend:
        pool, name = _name("name", request.name)
        view = self._controller.view()
        return present.backend_to_proto(pool, edit.find_backend(view.config, pool, name), view)

    async def ListBackends(
        self, request: backend_pb2.ListBackendsRequest, _context: object
    ) -> backend_pb2.ListBackendsResponse:
        view = self._controller.view()
        members: dict[str, tuple[str, Backend]] = {
            names.backend_name(pool, backend.name): (pool, backend)
            for pool in _parents(view.config, request.parent)
            for backend in view.config.pools[pool].backends.values()
        }
        page, token = paginate(
            f"{request.parent}/backends",
            members,
            request.page_size,
            request.page_token,
            lambda name: present.backend_to_proto(*members[name], view),
        )
        return backend_pb2.ListBackendsResponse(backends=page, next_page_token=token)

    async def CreateBackend(self, request: backend_pb2.CreateBackendRequest, _context: object) -> backend_pb2.Backend:
        found: Found = []
        pool = names.parse_pool_name(found, "parent", request.parent)
        name = parse_name(found, "backend_id", request.backend_id)
        backend = convert.backend_from_proto(found, "backend", request.backend, name, now=time.time())
        raise_if_any(found)
        view = await self._controller.mutate(
            lambda config: edit.create_backend(config, pool, backend), caller(), validate_only=request.validate_only
        )
        return present.backend_to_proto(pool, edit.find_backend(view.config, pool, name), view)

    async def UpdateBackend(self, request: backend_pb2.UpdateBackendRequest, _context: object) -> backend_pb2.Backend:
        pool, name = _name("backend.name", request.backend.name)

        def change(config: Config) -> Config:
            old = edit.find_backend(config, pool, name)
            etags.check_etag(request.backend.name, request.backend.etag, etags.backend_etag(pool, old))
            found: Found = []
            current = present.plain_backend(pool, old)
            message = masks.overlay(found, current, request.backend, request.update_mask, MUTABLE, FIXED)
            # What the mask cleared gets its default; a deadline that is sent back may have passed.
            base = Backend(name, old.address, drain_deadline=old.drain_deadline)
            new = convert.backend_from_proto(found, "backend", message, name, base, time.time())
            masks.check_fixed(found, "backend", old, new, FIXED)
            raise_if_any(found)
            return edit.put_backend(config, pool, new)

        view = await self._controller.mutate(change, caller(), validate_only=request.validate_only)
        return present.backend_to_proto(pool, edit.find_backend(view.config, pool, name), view)

    async def DeleteBackend(self, request: backend_pb2.DeleteBackendRequest, _context: object) -> Empty:
        pool, name = _name("name", request.name)

        def change(config: Config) -> Config:
            current = etags.backend_etag(pool, edit.find_backend(config, pool, name))
            etags.check_etag(request.name, request.etag, current)
            return edit.delete_backend(config, pool, name)

        await self._controller.mutate(change, caller(), validate_only=request.validate_only)
        return Empty()

    async def DrainBackend(self, request: backend_pb2.DrainBackendRequest, _context: object) -> backend_pb2.Backend:
        found: Found = []
        pool, name = names.parse_backend_name(found, "name", request.name)
        seconds = parse_deadline_seconds(found, "deadline_seconds", request.deadline_seconds)
        raise_if_any(found)
        # Rounded up: nobody gets less time than was asked for.
        deadline = math.ceil(time.time()) + seconds if seconds else 0

        def change(config: Config) -> Config:
            current = etags.backend_etag(pool, edit.find_backend(config, pool, name))
            etags.check_etag(request.name, request.etag, current)
            return edit.drain_backend(config, pool, name, deadline)

        view = await self._controller.mutate(change, caller(), validate_only=request.validate_only)
        return present.backend_to_proto(pool, edit.find_backend(view.config, pool, name), view)


def _parents(config: Config, parent: str) -> list[str]:
    """Names of the pools that ``parent`` means."""
    if parent == ALL_POOLS:
        return list(config.pools)
    found: Found = []
    pool = names.parse_pool_name(found, "parent", parent)
    raise_if_any(found)
    return [edit.find_pool(config, pool).name]


def _name(field: str, text: str) -> tuple[str, str]:
    found: Found = []
    pool, name = names.parse_backend_name(found, field, text)
    raise_if_any(found)
    return pool, name
