# SPDX-License-Identifier: Apache-2.0
"""Real traffic through `lbd`: both topologies, both families, all four encapsulations."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from e2e.dual_stack import UPLOAD_BYTES, VIPS, Balancer, balancing, echo, upload, url
from e2e.probes import hop, ping
from testbed import BALANCER, CLIENT, ECHO_PORT, HOST_INTERFACE, ROUTER, Testbed, wait_until

pytestmark = pytest.mark.root

REQUESTS = 48
NARROW_MTU, WIDE_MTU = 1500, 1600
WATCH_SECONDS = 10.0
OUTER_BYTES = {"four": 20, "six": 40}

both_families = pytest.mark.parametrize("version", [4, 6])
every_way = pytest.mark.parametrize("way", VIPS, ids=[f"v{version}-{pool}" for version, pool in VIPS])


@pytest.fixture(scope="module", params=["flat_bed", "routed_bed"])
def balanced(request: pytest.FixtureRequest) -> Iterator[Balancer]:
    """`lbd` in each topology: next hop on the link, and next hop behind a router."""
    with balancing(request.getfixturevalue(request.param)) as lbd:
        yield lbd


@every_way
def test_every_backend_serves(balanced: Balancer, way: tuple[int, str]) -> None:
    """TCP and UDP, nothing lost, whatever the families of VIP and backend."""
    bed, vip = balanced.bed, VIPS[way]
    for served in (bed.http(url(vip), REQUESTS), bed.udp(vip, ECHO_PORT, REQUESTS)):
        assert served.failed == 0, served.errors
        assert set(served.served) == set(bed.backends)


@every_way
def test_upload_of_full_size_packets_gets_through(balanced: Balancer, way: tuple[int, str]) -> None:
    """What a client sends at its full MTU fits once wrapped, and arrives with right checksums."""
    _, pool = way
    too_big = balanced.packets("ANSWERED_TOO_BIG")
    name = upload(balanced.bed, VIPS[way])
    counted = {each.backend: each.forwarded.bytes for each in balanced.stats().backends}
    assert counted[f"pools/{pool}/backends/{name}"] > UPLOAD_BYTES
    assert balanced.packets("ANSWERED_TOO_BIG") == too_big


@every_way
def test_fragmented_datagrams_are_echoed(balanced: Balancer, way: tuple[int, str]) -> None:
    """The client cuts them into three; all three meet again at one backend."""
    fragments = balanced.packets("FORWARDED_FRAGMENT")
    answered = [echo(balanced.bed, VIPS[way], bytes([number]) * 4000) for number in range(8)]
    assert set(answered) <= set(balanced.bed.backends)
    assert balanced.packets("FORWARDED_FRAGMENT") == fragments + 2 * len(answered)


@both_families
def test_ping_of_a_vip_is_answered_by_the_balancer(balanced: Balancer, version: int) -> None:
    """Operators ping a VIP to see whether it is there, also with odd and large packets."""
    answered = balanced.packets("ANSWERED_ECHO")
    for number, size in enumerate((0, 56, 1400)):
        payload = bytes(number + position & 0xFF for position in range(size))
        assert ping(balanced.bed, VIPS[version, "four"], number, payload) == payload
    assert balanced.packets("ANSWERED_ECHO") == answered + 3


@both_families
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_traceroute_shows_the_balancer(balanced: Balancer, version: int, protocol: str) -> None:
    """Routers, then the balancer, which answers with the VIP, then the backend."""
    bed, vip = balanced.bed, VIPS[version, "four"]
    routers = [bed.topology.router(version)] if ROUTER in bed.topology.nodes else []
    for ttl, expected in enumerate([*routers, vip, ""], 1):
        assert hop(bed, vip, protocol, ttl) == expected


@pytest.fixture
def narrow(balanced: Balancer) -> Iterator[Balancer]:
    """No room for outer headers in the network between balancer and backends."""
    set_mtu(balanced, NARROW_MTU)
    yield balanced
    set_mtu(balanced, WIDE_MTU)
    for version in ("-4", "-6"):
        balanced.bed.run(CLIENT, "ip", version, "route", "flush", "cache")


def set_mtu(balancer: Balancer, mtu_bytes: int) -> None:
    """Of the balancer's link; waits until `lbd` has seen it."""
    balancer.bed.run(BALANCER, "ip", "link", "set", HOST_INTERFACE, "mtu", str(mtu_bytes))

    def seen() -> bool:
        return {hop.mtu_bytes for hop in balancer.next_hops()} == {mtu_bytes}

    wait_until(seen, WATCH_SECONDS, "lbd does not see the MTU")


def test_clients_learn_the_path_mtu(narrow: Balancer) -> None:
    """The first full-size packets are answered with the size that fits; TCP and fragmented UDP then keep to it."""
    bed = narrow.bed
    for version in (4, 6):
        for pool, outer_bytes in OUTER_BYTES.items():
            vip = VIPS[version, pool]
            too_big = narrow.packets("ANSWERED_TOO_BIG")
            assert upload(bed, vip) in bed.backends
            assert narrow.packets("ANSWERED_TOO_BIG") > too_big
            assert path_mtu(bed, vip) == NARROW_MTU - outer_bytes
            assert echo(bed, vip, b"x" * 4000) in bed.backends
    assert narrow.packets("DROP_TOO_BIG") == 0


def path_mtu(bed: Testbed, address: str) -> int:
    """What the client's kernel has learnt, in bytes."""
    route = bed.run(CLIENT, "ip", "route", "get", address).stdout
    found = re.search(r"\bmtu (\d+)", route)
    assert found, route
    return int(found[1])
