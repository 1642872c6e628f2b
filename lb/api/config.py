# SPDX-License-Identifier: Apache-2.0
"""ConfigService."""

# ruff: noqa: N802 (gRPC names the methods)
from __future__ import annotations

import re

from lb.api import paging
from lb.api.callers import caller
from lb.api.changes import PERCENT, applied_to_proto, record_to_proto
from lb.api.overlay import lay_over, missing_pools
from lb.api.present import config_to_proto
from lb.core.errors import Violation
from lb.core.model import Config
from lb.core.validate import Found, raise_if_any
from lb.ports import Controller
from lb.v1 import config_pb2, config_pb2_grpc

HISTORY = "revisions"
"""The list that page tokens of ListRevisions belong to."""


class ConfigService(config_pb2_grpc.ConfigServiceServicer):
    """The configuration as a whole: shows it, as a configuration file would say it, and changes it."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def GetConfig(self, request: config_pb2.GetConfigRequest, _context: object) -> config_pb2.Config:
        if request.revision:
            return config_to_proto(await self._controller.at(request.revision))
        return config_to_proto(self._controller.view().config)

    async def ApplyConfig(
        self, request: config_pb2.ApplyConfigRequest, _context: object
    ) -> config_pb2.ApplyConfigResponse:
        wrong: Found = []
        max_move_percent = _max_move_percent(wrong, request)

        def change(config: Config) -> Config:
            within: Found = []
            merged = lay_over(within, config, request.config, prune=request.prune)
            missing_pools(within, merged, request.config)
            raise_if_any([*wrong, *(Violation(f"config.{item.field}", item.message) for item in within)])
            return merged

        applied = await self._controller.apply(
            change,
            caller(),
            base_revision=request.base_revision,
            max_move_percent=max_move_percent,
            validate_only=request.validate_only,
        )
        return applied_to_proto(applied)

    async def ListRevisions(
        self, request: config_pb2.ListRevisionsRequest, _context: object
    ) -> config_pb2.ListRevisionsResponse:
        found: Found = []
        limit = paging.parse_size(found, request.page_size)
        before = _number(found, paging.decode(found, HISTORY, request.page_token))
        raise_if_any(found)
        records = await self._controller.history(before, limit)
        more = records and await self._controller.history(records[-1].number, 1)
        return config_pb2.ListRevisionsResponse(
            revisions=map(record_to_proto, records),
            next_page_token=paging.encode(HISTORY, str(records[-1].number)) if more else "",
        )

    async def RollbackConfig(
        self, request: config_pb2.RollbackConfigRequest, _context: object
    ) -> config_pb2.ApplyConfigResponse:
        found: Found = []
        max_move_percent = _max_move_percent(found, request)
        if not request.revision:
            found.append(Violation("revision", "is required: `lbctl history` lists those that are kept"))
        raise_if_any(found)
        earlier = await self._controller.at(request.revision)
        applied = await self._controller.apply(
            lambda _config: earlier,
            caller(),
            base_revision=request.base_revision,
            max_move_percent=max_move_percent,
            validate_only=request.validate_only,
            note=f"rollback to revision {request.revision}",
        )
        return applied_to_proto(applied)

    async def VerifyDataPlane(
        self, _request: config_pb2.VerifyDataPlaneRequest, _context: object
    ) -> config_pb2.VerifyDataPlaneResponse:
        found = await self._controller.verify()
        return config_pb2.VerifyDataPlaneResponse(
            revision=found.revision, compared=found.compared, problems=found.problems
        )


def _max_move_percent(found: Found, request: config_pb2.ApplyConfigRequest | config_pb2.RollbackConfigRequest) -> float:
    """How much of a ring may move; all of it unless the request says something else."""
    if not request.HasField("max_move_percent"):
        return PERCENT
    # So written, it refuses what is not a number as well.
    if not 0 <= request.max_move_percent <= PERCENT:
        message = f"{request.max_move_percent:g} is not a share: give 0 (no slot may move) to {PERCENT:g} percent"
        found.append(Violation("max_move_percent", message))
    return request.max_move_percent


def _number(found: Found, text: str) -> int:
    """The record's number that a page token holds; 0 for no token."""
    if not text:
        return 0
    if not re.fullmatch("[1-9][0-9]{0,17}", text):
        found.append(Violation("page_token", "is not a token of this list: start again without one"))
        return 0
    return int(text)
