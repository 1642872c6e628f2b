# SPDX-License-Identifier: Apache-2.0
"""`lbd` as the testbed runs it: the data plane outlives the daemon, and goes with the `with` block."""

from __future__ import annotations

import json

import pytest
from e2e.dual_stack import VIPS, balancing, url
from testbed import BALANCER, ECHO_PORT, HOST_INTERFACE, Lbd, Testbed, TestbedError
from testbed.host import mounts_below

pytestmark = pytest.mark.root

REQUESTS = 30


def attached(bed: Testbed) -> bool:
    (link,) = json.loads(bed.run(BALANCER, "ip", "-json", "-d", "link", "show", HOST_INTERFACE).stdout)
    return "xdp" in link


def assert_served(bed: Testbed) -> None:
    for served in (bed.http(url(VIPS[4, "mixed"]), REQUESTS), bed.udp(VIPS[6, "mixed"], ECHO_PORT, REQUESTS)):
        assert served.failed == 0, served.errors
        assert set(served.served) == set(bed.backends)


def test_traffic_goes_on_without_the_daemon(flat_bed: Testbed) -> None:
    """Stopped or killed, the data plane forwards; started again, the configuration is there."""
    with balancing(flat_bed) as balancer:
        balancer.lbd.kill()
        assert_served(flat_bed)
        with Lbd(flat_bed) as again:
            assert len(again.lbctl("vip", "list")["vips"]) == 2 * len(VIPS)
            assert_served(flat_bed)
            assert again.stop() == 0
            assert_served(flat_bed)


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
