# SPDX-License-Identifier: Apache-2.0
"""Findings about the interfaces: those that run the data plane, and those that lead to backends."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from lb.core.model import NextHop
from lb.observe import ethtool
from lb.observe.findings import ok, problem, warning
from lb.ports import Finding, InterfaceState, XdpMode

CLIENT_MTU_BYTES = 1500
"""What clients send at most."""

OUTER_BYTES = {4: 20, 6: 40}
"""Outer headers, by the IP version of the tunnel."""


def subject_of(interface: str) -> str:
    """How findings name it."""
    return f"interface {interface}"


def examine_interface(
    state: InterfaceState, ask: ethtool.Ask = ethtool.ioctl, proc: Path = Path("/proc"), cpus: int | None = None
) -> Iterator[Finding]:
    """Look at one interface that runs the data plane, or should.

    Args:
        state: What the data plane says of it.
        ask: Asks its driver.
        proc: Where procfs is mounted.
        cpus: Of the machine, None = count them.
    """
    yield _mode(state)
    yield from _queues(state.interface, ask, cpus or os.cpu_count() or 1)
    try:
        features = ethtool.features(state.interface, ask)
    except OSError as error:
        if error.errno not in ethtool.UNSUPPORTED:
            yield warning(subject_of(state.interface), "offloads", f"cannot be read: {error.strerror}", "run as root")
        return
    yield _lro(state.interface, features)
    yield _gro(state, features)
    yield from _vlan_tags(state.interface, features, proc)


def _mode(state: InterfaceState) -> Finding:
    subject = subject_of(state.interface)
    if not state.attached:
        remedy = "restart lbd: it attaches again"
        return problem(subject, "XDP mode", f"not attached: {state.reason}", remedy)
    if state.mode is XdpMode.NATIVE:
        return ok(subject, "XDP mode", "native")
    remedy = (
        "`lbd --xdp-mode native` says why the driver refuses (offloads, too few queues); else use a NIC whose driver "
        "has native XDP: generic mode is several times slower"
    )
    return warning(subject, "XDP mode", "generic", remedy)


def _queues(interface: str, ask: ethtool.Ask, cpus: int) -> Iterator[Finding]:
    try:
        queues = ethtool.receive_queues(interface, ask)
    except OSError as error:
        if error.errno not in ethtool.UNSUPPORTED:
            yield warning(subject_of(interface), "queues", f"cannot be read: {error.strerror}", "run as root")
        return
    plural = "" if queues.in_use == 1 else "s"
    observation = f"{queues.in_use} receive queue{plural} for {cpus} CPUs"
    wanted = min(cpus, queues.most)
    if queues.in_use < wanted:
        remedy = f"`ethtool -L {interface} {queues.kind} {wanted}`: CPUs without a queue do not balance"
        yield warning(subject_of(interface), "queues", observation, remedy)
    else:
        has_all = queues.in_use < cpus and queues.in_use == queues.most
        yield ok(subject_of(interface), "queues", f"{observation}, all that it has" if has_all else observation)


def _lro(interface: str, features: Mapping[str, bool]) -> Finding:
    if not features.get("rx-lro"):
        return ok(subject_of(interface), "LRO", "off")
    remedy = f"`ethtool -K {interface} lro off`: merged packets cannot be sent on, and drivers refuse native XDP"
    return problem(subject_of(interface), "LRO", "on", remedy)


def _gro(state: InterfaceState, features: Mapping[str, bool]) -> Finding:
    subject = subject_of(state.interface)
    if features.get("rx-gro-hw") and not state.attached:
        remedy = f"`ethtool -K {state.interface} rx-gro-hw off`: some drivers refuse native XDP because of it"
        return warning(subject, "GRO", "on in the NIC", remedy)
    # Drivers, and the kernel for generic mode, leave merging out while a program is attached, whatever the switch says.
    return ok(subject, "GRO", "on, after the data plane" if features.get("rx-gro") else "off")


def _vlan_tags(interface: str, features: Mapping[str, bool], proc: Path) -> Iterator[Finding]:
    """A NIC that takes tags off hides them from XDP; that matters where there are any."""
    vlans = [name for name, _, parent in _vlan_devices(proc) if parent == interface]
    if features.get("rx-vlan-hw-parse") and vlans:
        remedy = f"`ethtool -K {interface} rxvlan off`: packets are sent on without the tag that the NIC took off"
        yield warning(subject_of(interface), "VLAN tags", f"taken off by the NIC, and {vlans[0]} uses them", remedy)


def _vlan_devices(proc: Path) -> Iterator[list[str]]:
    """[name, VLAN id, parent] of this network namespace's."""
    try:
        lines = (proc / "net/vlan/config").read_text().splitlines()
    except OSError:  # the kernel knows no VLANs, or no such module is loaded
        return
    for line in lines:
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 3:
            yield fields


def examine_mtus(ways: Iterable[tuple[NextHop, int]]) -> Iterator[Finding]:
    """Whether interfaces that lead to backends have room for the outer header.

    Args:
        ways: Next hops of the backends, each with the IP version of the backend's address: of the outer header.
    """
    needed: dict[tuple[str, int], int] = {}
    for hop, version in ways:
        link = hop.interface, hop.mtu_bytes
        needed[link] = max(needed.get(link, 0), OUTER_BYTES[version])
    for (interface, mtu), outer_bytes in sorted(needed.items()):
        room = mtu - outer_bytes
        observation = f"{mtu} bytes: {room} for a client's packet, {outer_bytes} for the outer header"
        if room >= CLIENT_MTU_BYTES:
            yield ok(subject_of(interface), "MTU", observation)
        else:
            yield warning(subject_of(interface), "MTU", observation, _mtu_remedy(interface, outer_bytes))


def _mtu_remedy(interface: str, outer_bytes: int) -> str:
    return (
        f"`ip link set dev {interface} mtu {CLIENT_MTU_BYTES + outer_bytes}`, and the same on the way to the backends, "
        "or a smaller MSS on the backends' routes (advmss): larger packets are answered with the MTU that fits, which "
        "not every client hears"
    )
