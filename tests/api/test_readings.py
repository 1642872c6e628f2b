# SPDX-License-Identifier: Apache-2.0
"""StatsService, SystemService and ConfigService, over a socket."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Network

import pytest
from fakes.controller import FakeController
from google.protobuf.timestamp_pb2 import Timestamp

from lb import __version__
from lb.api.config_file import dump, dump_message, merge, parse
from lb.core.model import AdminState, Backend, Config, HashPolicy, Pool, Protocol, Settings, Vip
from lb.core.verdicts import Verdict
from lb.ports import Count, Counters, FlowTableCount, InterfaceState, VipCount, XdpMode
from lb.v1.config_pb2 import GetConfigRequest
from lb.v1.stats_pb2 import BackendStats, Counter, FlowTableStats, GetStatsRequest, VerdictStats, VipStats
from lb.v1.system_pb2 import GetStatusRequest, InterfaceStatus, SystemStatus

B1 = Backend("b1", IPv4Address("10.0.0.11"))
B2 = Backend("b2", IPv4Address("10.0.0.12"), 3, AdminState.DISABLED)
CONFIG = Config(
    Settings(bytes(range(16)), None, IPv6Network("2001:db8::/48")),
    {"web": Pool("web", "the shop", {"b2": B2, "b1": B1}, 0, 30, 5)},
    {
        "web": Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web"),
        "any": Vip(
            "any", IPv4Address("192.0.2.2"), 0, Protocol.UDP, "web", force=True, hash_policy=HashPolicy.DESTINATION_PORT
        ),
    },
)


@pytest.fixture
def controller() -> FakeController:
    return FakeController(CONFIG)


async def test_stats_have_a_line_for_everything(api, controller: FakeController) -> None:
    controller.reported = Counters(
        vips={
            "web": VipCount(Count(10, 1000), Count(9, 900), too_big=4),
            "deleted-meanwhile": VipCount(Count(1, 1), Count(1, 1)),
        },
        backends={("web", "b1"): Count(9, 900)},
        verdicts={Verdict.FORWARDED: Count(9, 900), Verdict.DROP_NO_BACKEND: Count(1, 100)},
    )
    stats = await api.stats.GetStats(GetStatsRequest())
    assert abs(stats.time.seconds - time.time()) < 60
    assert stats.received == Counter(packets=10, bytes=1000)
    some, none = Counter(packets=9, bytes=900), Counter()
    assert list(stats.vips) == [
        VipStats(vip="vips/any", received=none, forwarded=none),
        VipStats(vip="vips/web", received=Counter(packets=10, bytes=1000), forwarded=some, too_big_packets=4),
    ]
    assert list(stats.backends) == [
        BackendStats(backend="pools/web/backends/b1", forwarded=some),
        BackendStats(backend="pools/web/backends/b2", forwarded=none),
    ]
    assert [verdict.verdict for verdict in stats.verdicts] == [verdict.value for verdict in Verdict]
    assert [verdict.count.packets for verdict in stats.verdicts if verdict.count.packets] == [9, 1]
    assert all(verdict.description for verdict in stats.verdicts)


async def test_stats_of_the_flow_table(api, controller: FakeController) -> None:
    """Each number is another one, so that none can stand in another's place."""
    assert (await api.stats.GetStats(GetStatsRequest())).flow_table == FlowTableStats()
    controller.reported = replace(
        controller.reported,
        flow_table=FlowTableCount(
            capacity=100, entries=6, inserted_syn=5, inserted_old=4, refused_syn=3, refused_old=2, expired=1
        ),
    )
    assert (await api.stats.GetStats(GetStatsRequest())).flow_table == FlowTableStats(
        capacity=100, entries=6, inserted_syn=5, inserted_old=4, refused_syn=3, refused_old=2, expired=1
    )


def test_the_proto_names_every_verdict() -> None:
    named = dict(VerdictStats.Verdict.items())
    assert named.pop("VERDICT_UNSPECIFIED") == 0
    assert named == {verdict.name: verdict.value for verdict in Verdict}


async def test_status_of_a_healthy_balancer(api) -> None:
    assert await api.system.GetStatus(GetStatusRequest()) == SystemStatus(
        ready=True,
        version=__version__,
        start_time=Timestamp(seconds=1_700_000_000),
        interfaces=[InterfaceStatus(interface="eth0", attached=True, mode="NATIVE")],
        vips=2,
        pools=1,
        backends=2,
        backends_in_ring=1,
        bpf_dir="/run/lb/bpf",
    )


async def test_status_says_what_is_wrong(api, controller: FakeController) -> None:
    interfaces = (
        InterfaceState("eth0", attached=False, mode=None, reason="no such interface"),
        InterfaceState("eth1", attached=True, mode=XdpMode.GENERIC, reason=""),
    )
    controller.daemon = replace(controller.daemon, ready=False, reason="eth0 is gone", interfaces=interfaces)
    status = await api.system.GetStatus(GetStatusRequest())
    assert (status.ready, status.reason) == (False, "eth0 is gone")
    assert list(status.interfaces) == [
        InterfaceStatus(interface="eth0", reason="no such interface"),
        InterfaceStatus(interface="eth1", attached=True, mode="GENERIC"),
    ]


async def test_the_configuration_reads_back_as_a_file(api) -> None:
    """`lbctl export` on one balancer, `lbd --config` on the next: the same rings and the same hash key."""
    message = await api.config.GetConfig(GetConfigRequest())
    text = dump_message(message)
    assert text == dump(CONFIG)
    assert merge(Config(), parse(text, "lb.yaml"))[0] == CONFIG
