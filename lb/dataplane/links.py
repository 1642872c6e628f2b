# SPDX-License-Identifier: Apache-2.0
"""Attaching the program to interfaces through pinned links, and looking at what is attached."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from lb.core.errors import UnavailableError
from lb.dataplane import libbpf
from lb.dataplane.pins import link_name, linked_interfaces, read_link
from lb.ports import InterfaceState, XdpMode

log = logging.getLogger("lb.dataplane")

SINGLE_BUFFER_MTU = 3_400
"""A page less headroom, tailroom and link-layer header; drivers differ by some bytes."""

_SIOCGIFMTU = 0x8921
_FLAGS = {XdpMode.NATIVE: libbpf.XDP_FLAGS_DRV_MODE, XdpMode.GENERIC: libbpf.XDP_FLAGS_SKB_MODE}


class Links:
    """The links of one bpf dir. ``mode`` None: native, and generic with a loud warning where the driver can't."""

    def __init__(self, bpf_dir: Path, interfaces: tuple[str, ...], mode: XdpMode | None) -> None:
        self._bpf_dir = bpf_dir
        self._interfaces = interfaces
        self._mode = mode

    def attach(self, prog_fd: int) -> None:
        """Make every interface run the program: swapped atomically where a link is pinned, attached elsewhere.

        Links of interfaces that the daemon is no longer asked to serve are removed. Raises ``UnavailableError`` for
        the first interface that can't be served.
        """
        for name in list(linked_interfaces(self._bpf_dir)):
            if name not in self._interfaces:
                log.warning("interface %s is not among --interface any more: detaching the data plane from it", name)
                (self._bpf_dir / link_name(name)).unlink()
        for name in self._interfaces:
            self._attach_one(name, prog_fd)

    def _attach_one(self, interface: str, prog_fd: int) -> None:
        path = self._bpf_dir / link_name(interface)
        ifindex = _ifindex(interface)
        known = read_link(self._bpf_dir, interface)
        if known is not None and known.ifindex == ifindex:
            fd = libbpf.obj_get(path)
            try:
                libbpf.link_update(fd, prog_fd)
            finally:
                os.close(fd)
            return
        # A link to an interface that was removed attaches nothing any more.
        path.unlink(missing_ok=True)
        fd = self._create(interface, ifindex, prog_fd)
        try:
            libbpf.obj_pin(fd, path)
        finally:
            # The pin alone holds it, so that unpinning detaches.
            os.close(fd)

    def _create(self, interface: str, ifindex: int, prog_fd: int) -> int:
        wanted = self._mode or XdpMode.NATIVE
        try:
            fd = libbpf.link_create(prog_fd, ifindex, _FLAGS[wanted])
        except OSError as error:
            if self._mode is not None:
                raise UnavailableError(f"interface {interface}, {wanted.value} mode: {error.strerror}") from error
            log.warning(
                "SLOW PATH: interface %s does not take XDP in its driver (%s): attaching in generic mode, which costs "
                "several times more a packet. Use a NIC whose driver has XDP, or --xdp-mode native to refuse this",
                interface,
                error.strerror,
            )
            wanted = XdpMode.GENERIC
            try:
                fd = libbpf.link_create(prog_fd, ifindex, _FLAGS[wanted])
            except OSError as second:
                raise UnavailableError(
                    f"interface {interface}: cannot attach: {second.strerror}: is another XDP program attached? "
                    f"`ip link show {interface}` shows it"
                ) from second
        return fd

    def states(self) -> tuple[InterfaceState, ...]:
        """Look at every interface now."""
        return tuple(self._state(name) for name in self._interfaces)

    def _state(self, interface: str) -> InterfaceState:
        try:
            ifindex = socket.if_nametoindex(interface)
        except OSError:
            return InterfaceState(interface, False, None, "the interface is gone: lbd attaches when it is restarted")
        link = read_link(self._bpf_dir, interface)
        if link is None:
            return InterfaceState(interface, False, None, "detached: restart lbd to attach again")
        if link.ifindex != ifindex:
            return InterfaceState(interface, False, None, "the interface was replaced: restart lbd to attach again")
        mode = XdpMode.GENERIC if libbpf.xdp_attach_mode(ifindex) == libbpf.XDP_ATTACHED_SKB else XdpMode.NATIVE
        return InterfaceState(interface, True, mode, "")


def needs_multi_buffer(interfaces: Iterable[str]) -> bool:
    """Whether any interface has frames that do not fit one buffer: drivers then take only programs that say so."""
    return any(_mtu(name) > SINGLE_BUFFER_MTU for name in interfaces)


def _mtu(interface: str) -> int:
    request = struct.pack("16sI12x", interface.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFMTU, request)
        except OSError:
            return 0
    return int(struct.unpack_from("I", answer, 16)[0])


def _ifindex(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        present = ", ".join(name for _, name in socket.if_nameindex())
        raise UnavailableError(f"--interface {interface}: no such interface here; there are: {present}") from None
