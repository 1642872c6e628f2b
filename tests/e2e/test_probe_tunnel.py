# SPDX-License-Identifier: Apache-2.0
"""Health checks' sockets through the tunnel that `lbd` sets up: a VIP on the backend that the mark names."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from e2e.dual_stack import VIPS, Balancer, balancing
from testbed import BALANCER, ECHO_PORT, HOST_INTERFACE, HTTP_PORT, Testbed, wait_until

from lb.core.checks import PROBE_MARK
from lb.core.hashing import from_v4_mapped
from lb.core.layout import BACKEND
from lb.core.limits import MAX_BACKENDS
from lb.dataplane import libbpf, tc

pytestmark = pytest.mark.root

ANSWER_SECONDS = 5.0
MENDED_SECONDS = 20.0
NOBODY = MAX_BACKENDS
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

flat = pytest.mark.parametrize("balanced", ["flat_bed"], indirect=True)
both_families = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module", params=["flat_bed", "routed_bed"])
def balanced(request: pytest.FixtureRequest) -> Iterator[Balancer]:
    """`lbd` in each topology: next hop on the link, and next hop behind a router."""
    with balancing(request.getfixturevalue(request.param)) as lbd:
        yield lbd


def indices(balancer: Balancer) -> Mapping[int, tuple[str, int]]:
    """Backend index to (backend, IP version of its address), as the data plane has them."""
    bed = balancer.bed
    known = {bed.address(name, version): (name, version) for name in bed.backends for version in FAMILIES}
    fd = libbpf.obj_get(balancer.lbd.bpf_dir / "maps" / "backends")
    try:
        raw = [libbpf.map_lookup(fd, index.to_bytes(4, "little"), BACKEND.size) for index in range(64)]
    finally:
        os.close(fd)
    entries = enumerate(str(from_v4_mapped(BACKEND.unpack(entry)[4])) for entry in raw)
    return {index: known[address] for index, address in entries if address in known}


def marked(bed: Testbed, vip: str, kind: int, index: int) -> socket.socket:
    """A probe's socket in the balancer's namespace."""
    with bed.entered(BALANCER):
        sock = socket.socket(FAMILIES[6 if ":" in vip else 4], kind)
    sock.settimeout(ANSWER_SECONDS)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROBE_MARK | index)
    return sock


def fetch(bed: Testbed, vip: str, index: int) -> str:
    """What the VIP's web server on that backend answers. Raises ``OSError``."""
    with marked(bed, vip, socket.SOCK_STREAM, index) as sock:
        sock.connect((vip, HTTP_PORT))
        connection = http.client.HTTPConnection(vip, HTTP_PORT)
        connection.sock = sock
        connection.request("GET", "/", headers={"Connection": "close"})
        response = connection.getresponse()
        assert response.status == http.HTTPStatus.OK
        return response.read().decode().strip()


@both_families
def test_a_probe_reaches_the_vip_on_the_backend_that_its_mark_names(balanced: Balancer, version: int) -> None:
    """Each backend, by its IPv4 and by its IPv6 address: all four encapsulations."""
    found = indices(balanced)
    assert set(found.values()) == {(name, outer) for name in balanced.bed.backends for outer in FAMILIES}
    for index, (name, _) in found.items():
        assert fetch(balanced.bed, VIPS[version, "mixed"], index) == name


@both_families
def test_a_probe_for_no_backend_goes_nowhere(balanced: Balancer, version: int) -> None:
    """The first answer is that of the second packet, sent by the same socket once its mark names a backend."""
    vip = VIPS[version, "four"]
    index, (name, _) = next(iter(indices(balanced).items()))
    with marked(balanced.bed, vip, socket.SOCK_DGRAM, NOBODY) as sock:
        sock.connect((vip, ECHO_PORT))
        sock.send(b"to nobody")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROBE_MARK | index)
        sock.send(b"to somebody")
        assert sock.recv(2000).decode() == f"{name} to somebody"


@both_families
def test_other_traffic_of_the_box_is_not_touched(balanced: Balancer, version: int) -> None:
    """Without a mark a socket reaches a backend's own address as ever."""
    bed = balanced.bed
    with bed.entered(BALANCER):
        connection = http.client.HTTPConnection(bed.address("b1", version), HTTP_PORT, timeout=ANSWER_SECONDS)
        connection.connect()
    connection.request("GET", "/")
    assert connection.getresponse().read().decode().strip() == "b1"
    connection.close()


def test_a_probe_of_many_packets_arrives(balanced: Balancer) -> None:
    """Cut into segments by the kernel, behind the program: sizes and checksums are right."""
    body = bytes(range(250)) * 400
    for vip in (VIPS[4, "four"], VIPS[6, "four"]):
        for index, (name, _) in indices(balanced).items():
            with marked(balanced.bed, vip, socket.SOCK_STREAM, index) as sock:
                sock.connect((vip, HTTP_PORT))
                connection = http.client.HTTPConnection(vip, HTTP_PORT)
                connection.sock = sock
                connection.request("POST", "/upload", body=body, headers={"Connection": "close"})
                assert connection.getresponse().read().decode().strip() == name


@flat
def test_the_tunnel_is_mended(balanced: Balancer) -> None:
    """Some network managers remove rules that they do not know: probes pass again by themselves."""
    vip, (index, (name, _)) = VIPS[4, "four"], next(iter(indices(balanced).items()))

    def mended() -> bool:
        return "lookup 19522" in balanced.bed.run(BALANCER, "ip", "rule").stdout

    balanced.bed.run(BALANCER, "ip", "rule", "del", "pref", "76")
    wait_until(mended, MENDED_SECONDS, "lbd does not look after its rule")
    assert fetch(balanced.bed, vip, index) == name


@contextmanager
def probing(balancer: Balancer) -> Iterator[list[str]]:
    """Probe one backend after the other, again and again; yields the list that failures come into."""
    failures: list[str] = []
    done = threading.Event()
    rounds = [0]
    found = indices(balancer)

    def probe() -> None:
        while not done.is_set():
            for index, (name, _) in found.items():
                for version in FAMILIES:
                    try:
                        answer = fetch(balancer.bed, VIPS[version, "mixed"], index)
                    except OSError as error:
                        answer = repr(error)
                    if answer != name:
                        failures.append(f"{name}: {answer}")
            rounds[0] += 1

    def another_round() -> None:
        begun = rounds[0]
        wait_until(lambda: rounds[0] > begun + 1, MENDED_SECONDS, "no probes")

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        another_round()
        yield failures
        another_round()
    finally:
        done.set()
        thread.join()


@flat
def test_a_restart_fails_no_probe(balanced: Balancer) -> None:
    """The program is swapped in its place, and routes that are right are left alone. Without a daemon they stay."""
    with probing(balanced) as failures:
        balanced.lbd.kill()
        balanced.lbd.start()
    assert failures == []


@flat
def test_detach_leaves_nothing_of_the_tunnel(balanced: Balancer) -> None:
    """Neither rule nor route, neighbour, or filter; what others put there stays."""
    bed, others = balanced.bed, tc.Place(handle=1, priority=1)
    index, (name, _) = next(iter(indices(balanced).items()))
    assert all(ours in traces(bed) for ours in TRACES)
    with bed.entered(BALANCER):
        ifindex = socket.if_nametoindex(HOST_INTERFACE)
        program = libbpf.prog_load("others", PASS, program_type=libbpf.PROG_TYPE_SCHED_CLS)
        tc.attach(ifindex, others, program)
    try:
        assert balanced.lbd.stop() == 0
        assert fetch(bed, VIPS[4, "four"], index) == name
        balanced.lbd.detach()
        assert not any(ours in traces(bed) for ours in TRACES)
        with bed.entered(BALANCER):
            assert tc.program_id(ifindex, others) == libbpf.prog_id(program)
            tc.detach(ifindex, others)
    finally:
        os.close(program)
        balanced.lbd.start()


PASS = bytes.fromhex("b7000000ffffffff" + "9500000000000000")
"""return TC_ACT_UNSPEC"""

TRACES = ("lookup 19522", "default via 169.254.76.66", "default via fe80::4c42", "02:4c:42:00:00:00", "handle 0x4c42")


def traces(bed: Testbed) -> str:
    """Rules, routes, lasting neighbours and filters of the balancer."""
    shown = (
        "ip -4 rule",
        "ip -6 rule",
        "ip -4 route show table all",
        "ip -6 route show table all",
        "ip neigh show nud permanent",
        f"tc filter show dev {HOST_INTERFACE} egress",
    )
    return "".join(bed.run(BALANCER, *command.split()).stdout for command in shown)
