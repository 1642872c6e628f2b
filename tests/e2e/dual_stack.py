# SPDX-License-Identifier: Apache-2.0
"""A balancer with a pool for every mix of address families, and an IPv4 and an IPv6 VIP for each of them."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle

import grpc
from testbed import CLIENT, ECHO_PORT, HTTP_PORT, Lbd, Testbed, wait_until

from lb.v1 import backend_pb2, backend_pb2_grpc, stats_pb2, stats_pb2_grpc

POOLS = {"four": (4,), "six": (6,), "mixed": (4, 6)}
"""Pool to the IP versions of its backends' addresses, in turn."""

VIPS = {
    (4, "four"): "192.0.2.1",
    (4, "six"): "192.0.2.2",
    (4, "mixed"): "192.0.2.3",
    (6, "four"): "2001:db8:ffff::1",
    (6, "six"): "2001:db8:ffff::2",
    (6, "mixed"): "2001:db8:ffff::3",
}
"""(IP version, pool) to VIP: every one has the web server and the echo server behind it."""

UPLOAD_BYTES = 1_000_000

_RESOLVED_SECONDS = 10.0
_ANSWER_SECONDS = 20.0


def url(address: str) -> str:
    """Of the web server at an IPv4 or IPv6 address."""
    return f"http://[{address}]/" if ":" in address else f"http://{address}/"


def configuration(bed: Testbed) -> str:
    """For ``lbd --config``. JSON is YAML."""
    pools = [
        {
            "name": pool,
            "backends": [
                {"name": name, "address": bed.address(name, version)}
                for name, version in zip(bed.backends, cycle(versions), strict=False)
            ],
        }
        for pool, versions in POOLS.items()
    ]
    vips = [
        {"name": f"{name}{version}-{pool}", "address": address, "port": port, "protocol": protocol, "pool": pool}
        for (version, pool), address in VIPS.items()
        for name, port, protocol in (("web", HTTP_PORT, "TCP"), ("echo", ECHO_PORT, "UDP"))
    ]
    return json.dumps({"pools": pools, "vips": vips})


@dataclass(frozen=True, slots=True)
class Balancer:
    """What tests ask `lbd`, without a new process for each question."""

    lbd: Lbd
    channel: grpc.Channel

    @property
    def bed(self) -> Testbed:
        """Where it runs."""
        return self.lbd.bed

    def stats(self) -> stats_pb2.Stats:
        """The counters."""
        stub = stats_pb2_grpc.StatsServiceStub(self.channel)
        return stub.GetStats(stats_pb2.GetStatsRequest(), timeout=_ANSWER_SECONDS)

    def packets(self, verdict: str) -> int:
        """How many packets have ended in that verdict."""
        number = stats_pb2.VerdictStats.Verdict.Value(verdict)
        return sum(each.count.packets for each in self.stats().verdicts if each.verdict == number)

    def next_hops(self) -> Sequence[backend_pb2.NextHop]:
        """Of every backend."""
        stub = backend_pb2_grpc.BackendServiceStub(self.channel)
        request = backend_pb2.ListBackendsRequest(parent="pools/-")
        return [each.status.next_hop for each in stub.ListBackends(request, timeout=_ANSWER_SECONDS).backends]

    def all_resolved(self) -> bool:
        """Whether every backend can be sent to."""
        return all(hop.state == backend_pb2.NextHop.RESOLVED for hop in self.next_hops())


@contextmanager
def balancing(bed: Testbed) -> Iterator[Balancer]:
    """`lbd` with that configuration, and every backend's next hop found."""
    config = bed.state_dir / "dual-stack.yaml"
    config.write_text(configuration(bed))
    with Lbd(bed, args=["--config", str(config)]) as lbd, grpc.insecure_channel(lbd.target) as channel:
        balancer = Balancer(lbd, channel)
        wait_until(balancer.all_resolved, _RESOLVED_SECONDS, "a backend has no next hop")
        yield balancer


def upload(bed: Testbed, vip: str) -> str:
    """Send a megabyte from the client to the web server; returns who got it."""
    with bed.entered(CLIENT):
        connection = http.client.HTTPConnection(vip, HTTP_PORT, timeout=_ANSWER_SECONDS)
        connection.connect()
    connection.request("POST", "/upload", body=bytes(UPLOAD_BYTES), headers={"Connection": "close"})
    response = connection.getresponse()
    name = response.read().decode().strip()
    connection.close()
    assert response.status == http.HTTPStatus.OK
    return name


def echo(bed: Testbed, vip: str, payload: bytes) -> str:
    """Have one datagram echoed to the client; returns who did."""
    with bed.entered(CLIENT):
        sock = socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(_ANSWER_SECONDS)
        sock.connect((vip, ECHO_PORT))
        sock.send(payload)
        name, _, echoed = sock.recv(2 * len(payload)).partition(b" ")
    assert echoed == payload
    return name.decode()
