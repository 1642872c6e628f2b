# SPDX-License-Identifier: Apache-2.0
"""A client of all services, and what it learns from a call that failed."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from lb.v1 import (
    backend_pb2_grpc,
    config_pb2_grpc,
    events_pb2_grpc,
    pool_pb2_grpc,
    stats_pb2_grpc,
    system_pb2_grpc,
    vip_pb2_grpc,
)


@dataclass
class Failure:
    """What a client learns from a call that failed."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    violations: dict[str, str] = field(default_factory=dict)
    resource: tuple[str, str] | None = None


class Api:
    """The stubs of all services on one channel."""

    def __init__(
        self,
        target: str,
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self.target = target
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(target, options)
        else:
            self.channel = grpc.aio.secure_channel(target, credentials, options)
        self.vips = vip_pb2_grpc.VipServiceStub(self.channel)
        self.pools = pool_pb2_grpc.PoolServiceStub(self.channel)
        self.backends = backend_pb2_grpc.BackendServiceStub(self.channel)
        self.stats = stats_pb2_grpc.StatsServiceStub(self.channel)
        self.system = system_pb2_grpc.SystemServiceStub(self.channel)
        self.config = config_pb2_grpc.ConfigServiceStub(self.channel)
        self.events = events_pb2_grpc.EventServiceStub(self.channel)

    @staticmethod
    async def failure(call: Awaitable[Any]) -> Failure:
        """The failure of a call that must fail."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        status = rpc_status.from_call(caught.value)
        assert status is not None, f"no google.rpc.Status: {caught.value}"
        info, bad, about = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.ResourceInfo(),
        )
        for detail in status.details:
            assert detail.Unpack(info) or detail.Unpack(bad) or detail.Unpack(about)
        return Failure(
            caught.value.code(),
            status.message,
            info.reason,
            info.domain,
            {item.field: item.description for item in bad.field_violations},
            (about.resource_type, about.resource_name) if about.resource_name else None,
        )
