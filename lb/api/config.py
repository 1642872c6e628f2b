# SPDX-License-Identifier: Apache-2.0
"""ConfigService."""

# ruff: noqa: N802 (gRPC names the methods)
from __future__ import annotations

from lb.api.present import config_to_proto
from lb.ports import Controller
from lb.v1 import config_pb2, config_pb2_grpc


class ConfigService(config_pb2_grpc.ConfigServiceServicer):
    """Shows the whole configuration, as a configuration file would say it."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def GetConfig(self, _request: config_pb2.GetConfigRequest, _context: object) -> config_pb2.Config:
        return config_to_proto(self._controller.view().config)
