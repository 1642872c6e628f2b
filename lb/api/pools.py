# SPDX-License-Identifier: Apache-2.0
"""PoolService."""

# ruff: noqa: N802 (gRPC names the methods)
from __future__ import annotations

import time

from google.protobuf.empty_pb2 import Empty

from lb.api import convert, etags, masks, names, present
from lb.api.callers import caller
from lb.api.paging import paginate
from lb.core import edit
from lb.core.model import Config, Pool
from lb.core.validate import Found, parse_name, raise_if_any
from lb.ports import Controller
from lb.v1 import pool_pb2, pool_pb2_grpc

MUTABLE = frozenset(
    {
        "description",
        "settle_seconds",
        "udp_settle_seconds",
        "drain_idle_seconds",
        "health_check",
        "slow_start_seconds",
        "fail_open",
        "min_healthy_percent",
        "on_down",
    }
)
FIXED = {"backends": "create, update or delete its backends with BackendService"}


class PoolService(pool_pb2_grpc.PoolServiceServicer):
    """Reads and edits the pools of the controller's configuration."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def GetPool(self, request: pool_pb2.GetPoolRequest, _context: object) -> pool_pb2.Pool:
        name = _name("name", request.name)
        view = self._controller.view()
        return present.pool_to_proto(edit.find_pool(view.config, name), view)

    async def ListPools(self, request: pool_pb2.ListPoolsRequest, _context: object) -> pool_pb2.ListPoolsResponse:
        view = self._controller.view()
        pools = view.config.pools
        page, token = paginate(
            "pools", pools, request.page_size, request.page_token, lambda name: present.pool_to_proto(pools[name], view)
        )
        return pool_pb2.ListPoolsResponse(pools=page, next_page_token=token)

    async def CreatePool(self, request: pool_pb2.CreatePoolRequest, _context: object) -> pool_pb2.Pool:
        found: Found = []
        name = parse_name(found, "pool_id", request.pool_id)
        pool = convert.pool_from_proto(found, "pool", request.pool, name, now=time.time())
        raise_if_any(found)
        view = await self._controller.mutate(
            lambda config: edit.create_pool(config, pool), caller(), validate_only=request.validate_only
        )
        return present.pool_to_proto(view.config.pools[name], view)

    async def UpdatePool(self, request: pool_pb2.UpdatePoolRequest, _context: object) -> pool_pb2.Pool:
        name = _name("pool.name", request.pool.name)

        def change(config: Config) -> Config:
            old = edit.find_pool(config, name)
            etags.check_etag(request.pool.name, request.pool.etag, etags.pool_etag(old))
            found: Found = []
            message = masks.overlay(found, present.plain_pool(old), request.pool, request.update_mask, MUTABLE, FIXED)
            # What the mask cleared gets its default; members that are sent back in part are still the same.
            base = Pool(name, backends=old.backends)
            new = convert.pool_from_proto(found, "pool", message, name, base)
            masks.check_fixed(found, "pool", old, new, FIXED)
            raise_if_any(found)
            return edit.put_pool(config, new)

        view = await self._controller.mutate(change, caller(), validate_only=request.validate_only)
        return present.pool_to_proto(view.config.pools[name], view)

    async def DeletePool(self, request: pool_pb2.DeletePoolRequest, _context: object) -> Empty:
        name = _name("name", request.name)

        def change(config: Config) -> Config:
            etags.check_etag(request.name, request.etag, etags.pool_etag(edit.find_pool(config, name)))
            return edit.delete_pool(config, name)

        await self._controller.mutate(change, caller(), validate_only=request.validate_only)
        return Empty()


def _name(field: str, text: str) -> str:
    found: Found = []
    name = names.parse_pool_name(found, field, text)
    raise_if_any(found)
    return name
