# SPDX-License-Identifier: Apache-2.0
"""Real traffic through `lbd` as the testbed runs it: both topologies, full-size packets, daemon gone."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest
from testbed import BALANCER, CLIENT, ECHO_PORT, HOST_INTERFACE, Lbd, Testbed, TestbedError
from testbed.host import mounts_below
from testbed.scenario import lbctl_commands

pytestmark = pytest.mark.root

UPLOAD_BYTES = 2_000_000


@pytest.fixture(params=["flat_bed", "routed_bed"])
def balanced(request: pytest.FixtureRequest) -> Iterator[Lbd]:
    """`lbd` with the demo's configuration, in each topology."""
    with Lbd(request.getfixturevalue(request.param)) as lbd:
        for command in lbctl_commands(lbd.bed.topology):
            lbd.lbctl(*command)
        yield lbd


def assert_balanced(bed: Testbed) -> None:
    """Everything is answered, and by every backend."""
    for served in (bed.http(f"http://{bed.vip}/", 60), bed.udp(bed.vip, ECHO_PORT, 60)):
        assert served.failed == 0, served.errors
        assert set(served.served) == set(bed.backends)


def attached(bed: Testbed) -> bool:
    (link,) = json.loads(bed.run(BALANCER, "ip", "-json", "-d", "link", "show", HOST_INTERFACE).stdout)
    return "xdp" in link


def test_traffic_is_balanced_through_switch_and_router(balanced: Lbd) -> None:
    """Next hop on the link, and next hop behind a router."""
    assert_balanced(balanced.bed)


def test_upload_of_full_size_packets_gets_through(balanced: Lbd) -> None:
    """What a client sends at its full MTU fits once wrapped, and arrives with right checksums."""
    with balanced.bed.entered(CLIENT):
        connection = http.client.HTTPConnection(balanced.bed.vip, timeout=20)
        connection.connect()
    connection.request("POST", "/", body=bytes(UPLOAD_BYTES), headers={"Connection": "close"})
    response = connection.getresponse()
    name = response.read().decode().strip()
    connection.close()
    assert response.status == 200
    assert name in balanced.bed.backends
    counted = {backend["backend"]: backend for backend in balanced.lbctl("stats")["backends"]}
    assert int(counted[f"pools/web/backends/{name}"]["forwarded"]["bytes"]) > UPLOAD_BYTES


def test_traffic_goes_on_without_the_daemon(balanced: Lbd) -> None:
    """Stopped or killed, the data plane forwards; started again, the configuration is there."""
    balanced.kill()
    assert_balanced(balanced.bed)
    balanced.start()
    assert [vip["name"] for vip in balanced.lbctl("vip", "list")["vips"]] == ["vips/echo", "vips/web"]
    assert_balanced(balanced.bed)
    assert balanced.stop() == 0
    assert_balanced(balanced.bed)


def test_closing_lbd_removes_the_data_plane(flat_bed: Testbed) -> None:
    """Also when it was killed: the next test finds a balancer without a program."""
    with Lbd(flat_bed) as lbd:
        assert attached(flat_bed)
        assert mounts_below(lbd.bpf_dir) == [lbd.bpf_dir]
        lbd.kill()
        assert attached(flat_bed)
    assert not attached(flat_bed)
    assert mounts_below(flat_bed.state_dir) == []


def test_failed_lbctl_is_explained(lbd: Lbd) -> None:
    """Exit code and the message of lbctl; for tests of these there is lbctl_run."""
    with pytest.raises(TestbedError, match=r"lbctl pool get nope: exit code 3: .*nope"):
        lbd.lbctl("pool", "get", "nope")
    assert lbd.lbctl_run("pool", "get", "nope").returncode == 3


def test_lbd_that_cannot_start_is_explained(flat_bed: Testbed) -> None:
    """Its log is in the error, and nothing stays."""
    lbd = Lbd(flat_bed, interfaces=["nope0"])
    with pytest.raises(TestbedError, match=r"(?s)lbd-1 ended with 1: .*nope0"), lbd:
        pass
    assert not attached(flat_bed)
    assert mounts_below(flat_bed.state_dir) == []
