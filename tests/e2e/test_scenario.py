# SPDX-License-Identifier: Apache-2.0
"""The demo's judgement: it must be able to fail. Pure, no testbed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from testbed.build import node_script, tunnel_commands
from testbed.scenario import counter_problems, lbctl_commands, share_problems, tolerance, weights
from testbed.topology import MAX_BACKENDS, flat_topology, routed_topology

WEIGHTS = {"b1": 1, "b2": 1, "b3": 2}
STATS: dict[str, Any] = {
    "received": {"packets": "2410"},
    "vips": [
        {"vip": "vips/web", "received": {"packets": "2000"}, "forwarded": {"packets": "2000"}},
        {"vip": "vips/echo", "received": {"packets": "400"}, "forwarded": {"packets": "400"}},
    ],
    "backends": [
        {"backend": "pools/web/backends/b1", "forwarded": {"packets": "1100"}},
        {"backend": "pools/web/backends/b2", "forwarded": {"packets": "1300"}},
        {"backend": "pools/web/backends/b3"},
    ],
    "verdicts": [
        {"verdict": "FORWARDED", "count": {"packets": "2400"}},
        {"verdict": "PASS_NOT_IP", "count": {"packets": "10"}},
        {"verdict": "DROP_NO_BACKEND"},
    ],
}


def test_shares_within_sampling_error_are_accepted() -> None:
    assert share_problems("HTTP", {"b1": 80, "b2": 118, "b3": 202}, WEIGHTS) == []


def test_tolerance_is_five_standard_deviations() -> None:
    """100 expected of 400: the deviation is the root of 400 * 1/4 * 3/4."""
    assert tolerance(400, 0.25) == pytest.approx(43.3, abs=0.1)


def test_equal_shares_for_unequal_weights_are_a_problem() -> None:
    """What a balancer that ignores weights would give."""
    problems = share_problems("HTTP", {"b1": 133, "b2": 133, "b3": 134}, WEIGHTS)
    assert problems == ["HTTP: b3 served 134, expected 200 ± 50"]


def test_idle_and_unknown_backends_are_problems() -> None:
    problems = share_problems("UDP", {"b1": 100, "b3": 200, "b9": 100}, WEIGHTS)
    assert problems == ["UDP: unknown backend 'b9' answered", "UDP: b2 served 0, expected 100 ± 43"]


def test_agreeing_counters_are_accepted() -> None:
    """The JSON mapping writes numbers as strings and leaves out zeros."""
    assert counter_problems(STATS, 400, 400) == []


@pytest.mark.parametrize(
    ("path", "packets", "problem"),
    [
        (("vips", 0, "forwarded"), 1999, "vips/web: received 2000 packets, forwarded 1999"),
        (("vips", 1, "received"), 401, "vips/echo: received 401 packets, the client sent 400"),
        (("backends", 0, "forwarded"), 1, "the VIPs forwarded 2400 packets, the backends were sent 1301"),
        (("vips", 0, "received"), 1199, "vips/web: received 1199 packets, less than 3 a request"),
        (("received",), 2411, "the program saw 2411 packets, the verdicts sum up to 2410"),
    ],
)
def test_counters_that_disagree_are_named(path: tuple[Any, ...], packets: int, problem: str) -> None:
    stats: Any = copy.deepcopy(STATS)
    counter = stats
    for step in path:
        counter = counter[step]
    counter["packets"] = str(packets)
    assert problem in counter_problems(stats, 400, 400)


def test_no_statistics_at_all_is_a_problem() -> None:
    assert len(counter_problems({}, 400, 400)) == 2


def test_demo_configures_every_backend() -> None:
    topology = flat_topology(3)
    assert weights(topology) == WEIGHTS
    assert ["backend", "create", "web/b3", "--address", "10.0.0.13", "--weight", "2"] in lbctl_commands(topology)


@pytest.mark.parametrize("count", [0, MAX_BACKENDS + 1])
def test_impossible_numbers_of_backends_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} backends: choose 1 to {MAX_BACKENDS}"):
        flat_topology(count)


@pytest.mark.parametrize("make", [flat_topology, routed_topology])
def test_addresses_and_interfaces_are_unique(make: Any) -> None:
    """At any size, interface names included: the kernel takes 15 characters."""
    topology = make(MAX_BACKENDS)
    addresses = [each for node in topology.nodes.values() for both in node.addresses.values() for each in both]
    ends = [end for link in topology.links for end in (link.left, link.right)]
    assert len(set(addresses)) == len(addresses)
    assert len(set(ends)) == len(ends)
    assert all(len(interface) <= 15 for _, interface in ends)


@pytest.mark.parametrize("make", [flat_topology, routed_topology])
def test_hosts_have_an_address_of_each_family(make: Any) -> None:
    """The same number in both, so that a packet dump can be read."""
    topology = make(2)
    assert topology.address("b2").rpartition(".")[2] == topology.address("b2", 6).rpartition(":")[2] == "12"


def test_missing_family_of_vip_is_named() -> None:
    with pytest.raises(LookupError, match=r"no IPv6 address among 192\.0\.2\.1"):
        flat_topology(1, ["192.0.2.1"]).vip(6)


def test_backends_hold_every_vip() -> None:
    topology = routed_topology(1, ["192.0.2.1", "192.0.2.2", "2001:db8:ffff::1"])
    script = node_script(topology, topology.nodes["b1"])
    assert "ip address add 192.0.2.1/32 dev lo\n" in script
    assert "ip address add 192.0.2.2/32 dev lo\n" in script
    assert "ip address add 2001:db8:ffff::1/128 dev lo nodad\n" in script


def test_kernels_tunnel_devices_are_those_of_the_recipe() -> None:
    """Where the kernel has them; tests/interop runs the recipe on one that has."""
    commands = tunnel_commands(flat_topology(1), "b1").splitlines()
    recipe = (Path(__file__).parents[1] / "interop" / "RECIPE.md").read_text()
    recipe = recipe.replace("$local4", "10.0.0.11").replace("$local6", "2001:db8::11")
    wanted = [line.partition("#")[0].removeprefix("ip ").strip() for line in recipe.splitlines() if " lb-" in line]
    assert commands == [line for line in wanted if line.startswith("link ")]
