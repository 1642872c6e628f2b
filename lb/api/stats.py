# SPDX-License-Identifier: Apache-2.0
"""StatsService."""

# ruff: noqa: N802 (gRPC names the methods)
from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from lb.api import names
from lb.core.verdicts import Verdict
from lb.ports import Controller, Count, Counters, FlowTableCount, VipCount
from lb.v1 import stats_pb2, stats_pb2_grpc

_NOTHING = Count()


class StatsService(stats_pb2_grpc.StatsServiceServicer):
    """Shows the data plane's counters under the names of the configuration."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def GetStats(self, _request: stats_pb2.GetStatsRequest, _context: object) -> stats_pb2.Stats:
        counters = await self._controller.counters()
        config = self._controller.view().config
        now = Timestamp()
        now.GetCurrentTime()
        return stats_pb2.Stats(
            time=now,
            received=stats_pb2.Counter(
                packets=sum(count.packets for count in counters.verdicts.values()),
                bytes=sum(count.bytes for count in counters.verdicts.values()),
            ),
            vips=[_vip(counters, name) for name in sorted(config.vips)],
            backends=[
                stats_pb2.BackendStats(
                    backend=names.backend_name(pool, name),
                    forwarded=_counter(counters.backends.get((pool, name), _NOTHING)),
                )
                for pool in sorted(config.pools)
                for name in sorted(config.pools[pool].backends)
            ],
            verdicts=[
                stats_pb2.VerdictStats(
                    verdict=verdict.name,
                    count=_counter(counters.verdicts.get(verdict, _NOTHING)),
                    description=verdict.description,
                )
                for verdict in Verdict
            ],
            flow_table=_flow_table(counters.flow_table),
        )


def _vip(counters: Counters, name: str) -> stats_pb2.VipStats:
    count = counters.vips.get(name, VipCount())
    return stats_pb2.VipStats(
        vip=names.vip_name(name),
        received=_counter(count.received),
        forwarded=_counter(count.forwarded),
        too_big_packets=count.too_big,
    )


def _flow_table(count: FlowTableCount) -> stats_pb2.FlowTableStats:
    return stats_pb2.FlowTableStats(
        capacity=count.capacity,
        entries=count.entries,
        inserted_syn=count.inserted_syn,
        refused_syn=count.refused_syn,
        inserted_old=count.inserted_old,
        refused_old=count.refused_old,
        expired=count.expired,
    )


def _counter(count: Count) -> stats_pb2.Counter:
    return stats_pb2.Counter(packets=count.packets, bytes=count.bytes)
