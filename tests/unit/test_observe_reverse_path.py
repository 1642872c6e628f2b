# SPDX-License-Identifier: Apache-2.0
"""Whether the kernel lets in the answers to checks through the tunnel."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from lb.core.model import Address
from lb.observe.reverse_path import examine_reverse_paths
from lb.ports import Severity

OK, PROBLEM = Severity.OK, Severity.PROBLEM
VIP, VIP_6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")


def settings(proc: Path, **modes: int) -> Path:
    """A /proc with such filters."""
    for interface, mode in modes.items():
        path = proc / f"sys/net/ipv4/conf/{interface}/rp_filter"
        path.parent.mkdir(parents=True)
        path.write_text(f"{mode}\n")
    return proc


@pytest.mark.parametrize(
    ("every", "own", "back", "severity", "words"),
    [
        (0, 0, "", OK, "off"),
        (0, 1, "eth0", OK, "strict, and lets answers in"),
        (0, 1, "eth1", PROBLEM, "strict, and no route leads back to 192.0.2.1 by eth0"),
        (1, 0, "eth1", PROBLEM, "strict"),
        (0, 1, "", PROBLEM, "strict"),
        (0, 2, "eth1", OK, "loose, and lets answers in"),
        (1, 2, "eth1", OK, "loose"),
        (2, 0, "", PROBLEM, "loose, and no route leads back to 192.0.2.1"),
    ],
)
def test_a_filter_is_judged_by_the_way_back(
    tmp_path: Path, every: int, own: int, back: str, severity: Severity, words: str
) -> None:
    """The higher of "all" and the interface's own counts; strict wants the same interface, loose any route."""
    (found,) = examine_reverse_paths(["eth0"], [VIP], lambda _vip: back, settings(tmp_path, all=every, eth0=own))
    assert (found.subject, found.check, found.severity) == ("interface eth0", "reverse path filter", severity)
    assert words in found.observation
    if severity is PROBLEM:
        assert "`sysctl -w net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.all.rp_filter=0`" in found.remedy
    else:
        assert found.remedy == ""


def test_ipv6_has_no_such_filter(tmp_path: Path) -> None:
    def never(_vip: Address) -> str:
        raise AssertionError("nothing is to be asked")

    (found,) = examine_reverse_paths(["eth0"], [VIP_6], never, settings(tmp_path, all=1, eth0=1))
    assert found.severity is OK


def test_an_interface_with_a_dot_has_a_slash_for_sysctl(tmp_path: Path) -> None:
    (found,) = examine_reverse_paths(["eth0.7"], [VIP], lambda _vip: "", settings(tmp_path, **{"all": 1, "eth0.7": 0}))
    assert "net.ipv4.conf.eth0/7.rp_filter=0" in found.remedy


def test_settings_that_are_hidden_are_not_guessed(tmp_path: Path) -> None:
    (found,) = examine_reverse_paths(["eth0"], [VIP], lambda _vip: "", tmp_path)
    assert found.severity is OK


def test_the_kernel_knows_the_way_back(tmp_path: Path) -> None:
    """lo leads to itself, whatever else a machine has."""
    (found,) = examine_reverse_paths(["lo"], [ip_address("127.0.0.1")], proc=settings(tmp_path, all=1, lo=1))
    assert (found.severity, found.observation) == (OK, "strict, and lets answers in")
