# SPDX-License-Identifier: Apache-2.0
"""What the doctor says about interfaces, asking a made-up driver in the kernel's own structures."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
from fakes.next_hops import hop_to

from lb.core.model import NextHop
from lb.observe import ethtool
from lb.observe.interfaces import examine_interface, examine_mtus
from lb.ports import Finding, InterfaceState, Severity, XdpMode

OK, WARNING, PROBLEM = Severity.OK, Severity.WARNING, Severity.PROBLEM
NATIVE = InterfaceState("eth0", True, XdpMode.NATIVE, "")
GENERIC = InterfaceState("eth0", True, XdpMode.GENERIC, "")
DETACHED = InterfaceState("eth0", False, None, "detached: restart lbd to attach again")
FEATURES = [f"feature-{i}" for i in range(40)]
FEATURES[3], FEATURES[33], FEATURES[34], FEATURES[5] = "rx-lro", "rx-gro", "rx-gro-hw", "rx-vlan-hw-parse"


@dataclass
class Driver:
    """Answers ethtool commands as the kernel does. ``channels``: the struct's eight numbers, None = not known."""

    channels: tuple[int, ...] | None = (0, 0, 0, 8, 0, 0, 0, 4)
    rings: int = 0
    on: Collection[str] = ("rx-gro",)
    error: int = 0

    def __call__(self, interface: str, command: bytes) -> bytes:
        assert interface == "eth0"
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        (number,) = struct.unpack_from("=I", command)
        answer = {0x3C: self._channels, 0x2D: self._rings, 0x37: self._count, 0x1B: self._names, 0x3A: self._features}
        given = answer[number](command)
        assert len(given) == len(command), "the kernel writes over what it was given"
        return given

    def _channels(self, command: bytes) -> bytes:
        if self.channels is None:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return command[:4] + struct.pack("=8I", *self.channels)

    def _rings(self, command: bytes) -> bytes:
        return command[:8] + struct.pack("=Q", self.rings) + command[16:]

    def _count(self, command: bytes) -> bytes:
        return command[:16] + struct.pack("=I", len(FEATURES))

    def _names(self, command: bytes) -> bytes:
        return command[:12] + b"".join(name.encode().ljust(32, b"\0") for name in FEATURES)

    def _features(self, command: bytes) -> bytes:
        bits = sum(1 << i for i, name in enumerate(FEATURES) if name in self.on)
        low, high = bits & 0xFFFFFFFF, bits >> 32
        # Available and requested are all ones: only what is active counts.
        return command[:8] + struct.pack("=8I", 0xFFFFFFFF, 0xFFFFFFFF, low, 0, 0xFFFFFFFF, 0xFFFFFFFF, high, 0)


def look(
    state: InterfaceState = NATIVE, driver: Driver | None = None, proc: Path = Path("/nowhere")
) -> dict[str, Finding]:
    """Findings by check, on 4 CPUs."""
    found = list(examine_interface(state, driver or Driver(), proc, cpus=4))
    assert {each.subject for each in found} == {"interface eth0"}
    assert [each for each in found if bool(each.remedy) != (each.severity is not OK)] == []
    return {each.check: each for each in found}


@pytest.mark.parametrize(
    ("state", "severity", "words"),
    [
        (NATIVE, OK, "native"),
        (GENERIC, WARNING, "--xdp-mode native"),
        (DETACHED, PROBLEM, "not attached: detached"),
    ],
)
def test_xdp_mode(state: InterfaceState, severity: Severity, words: str) -> None:
    found = look(state)["XDP mode"]
    assert found.severity is severity
    assert words in found.observation + found.remedy


@pytest.mark.parametrize(
    ("channels", "rings", "severity", "words"),
    [
        ((0, 0, 0, 8, 0, 0, 0, 4), 0, OK, "4 receive queues for 4 CPUs"),
        ((0, 0, 0, 8, 0, 0, 0, 1), 0, WARNING, "ethtool -L eth0 combined 4"),
        ((0, 0, 0, 2, 0, 0, 0, 1), 0, WARNING, "ethtool -L eth0 combined 2"),
        ((3, 3, 0, 0, 1, 1, 0, 0), 0, WARNING, "ethtool -L eth0 rx 3"),
        ((0, 0, 0, 1, 0, 0, 0, 1), 0, OK, "1 receive queue for 4 CPUs, all that it has"),
        (None, 2, OK, "2 receive queues for 4 CPUs"),
    ],
)
def test_each_cpu_wants_a_queue(channels: tuple[int, ...] | None, rings: int, severity: Severity, words: str) -> None:
    """Packets of a queue are all balanced by one CPU. Old drivers tell the number alone."""
    found = look(driver=Driver(channels, rings))["queues"]
    assert found.severity is severity
    assert words in found.observation + found.remedy


@pytest.mark.parametrize(
    ("state", "on", "check", "severity", "words"),
    [
        (NATIVE, ["rx-lro"], "LRO", PROBLEM, "ethtool -K eth0 lro off"),
        (NATIVE, [], "LRO", OK, "off"),
        (NATIVE, ["rx-gro"], "GRO", OK, "on, after the data plane"),
        (NATIVE, [], "GRO", OK, "off"),
        (NATIVE, ["rx-gro", "rx-gro-hw"], "GRO", OK, "on, after the data plane"),
        (DETACHED, ["rx-gro-hw"], "GRO", WARNING, "ethtool -K eth0 rx-gro-hw off"),
    ],
)
def test_offloads_that_merge_packets(
    state: InterfaceState, on: list[str], check: str, severity: Severity, words: str
) -> None:
    """A merged packet is larger than any link."""
    found = look(state, Driver(on=on))[check]
    assert found.severity is severity
    assert words in found.observation + found.remedy


@pytest.mark.parametrize(
    ("parent", "on", "warns"), [("eth0", True, True), ("eth0", False, False), ("eth1", True, False)]
)
def test_a_nic_that_takes_vlan_tags_off_hides_them(tmp_path: Path, parent: str, on: bool, warns: bool) -> None:
    """It matters only where there are tags."""
    config = tmp_path / "net/vlan/config"
    config.parent.mkdir(parents=True)
    config.write_text(
        f"VLAN Dev name\t | VLAN ID\nName-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\nvlan7   | 7  | {parent}\n"
    )
    found = look(driver=Driver(on=["rx-vlan-hw-parse"] if on else []), proc=tmp_path)
    assert ("VLAN tags" in found) == warns
    if warns:
        assert "ethtool -K eth0 rxvlan off" in found["VLAN tags"].remedy
        assert "vlan7" in found["VLAN tags"].observation


@pytest.mark.parametrize("number", ethtool.UNSUPPORTED)
def test_a_driver_that_does_not_tell_is_not_complained_of(number: int) -> None:
    assert set(look(driver=Driver(error=number))) == {"XDP mode"}


def test_a_driver_that_may_not_be_asked_is_a_warning() -> None:
    found = look(driver=Driver(error=errno.EPERM))
    assert {check: each.severity for check, each in found.items() if check != "XDP mode"} == {
        "queues": WARNING,
        "offloads": WARNING,
    }


def test_the_kernel_speaks_the_same_structures() -> None:
    """Of lo, which every machine and namespace has."""
    assert {"rx-gro", "rx-lro"} <= ethtool.features("lo").keys()
    with pytest.raises(OSError, match="No such device"):
        ethtool.receive_queues("no-such-nic")


def test_lo_has_no_queues_to_speak_of() -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number says it
        ethtool.receive_queues("lo")
    assert caught.value.errno in ethtool.UNSUPPORTED


def hop(interface: str, mtu_bytes: int) -> NextHop:
    known = hop_to(ip_address("10.0.0.1"))
    return NextHop(interface, 2, mtu_bytes, known.mac, known.source_mac, known.source)


def test_room_for_the_outer_header_is_judged_by_the_largest_that_is_needed() -> None:
    """Once for an interface, however many backends are behind it: 20 bytes for IPv4, 40 where one has IPv6."""
    ways = [(hop("eth0", 1520), 4), (hop("eth0", 1520), 6), (hop("eth1", 1520), 4), (hop("eth1", 1520), 4)]
    first, second = examine_mtus(ways)
    assert (first.subject, first.severity, first.check) == ("interface eth0", WARNING, "MTU")
    assert "1520 bytes: 1480 for a client's packet" in first.observation
    assert "`ip link set dev eth0 mtu 1540`" in first.remedy
    assert (second.subject, second.severity) == ("interface eth1", OK)
    assert list(examine_mtus([])) == []
