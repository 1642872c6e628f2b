# SPDX-License-Identifier: Apache-2.0
"""Attaching the program to interfaces through pinned links, and looking at what is attached."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import struct
from pathlib import Path

from lb.core.errors import UnavailableError
from lb.dataplane import libbpf
from lb.dataplane.pins import link_name, linked_interfaces, read_link
from lb.ports import InterfaceState, XdpMode

log = logging.getLogger("lb.dataplane")

SINGLE_BUFFER_MTU = 3_400
"""A page less headroom, tailroom and link-layer header; drivers differ by some bytes."""

_SIOCGIFMTU = 0x8921
_LOOPBACK = 1
_FLAGS = {XdpMode.NATIVE: libbpf.XDP_FLAGS_DRV_MODE, XdpMode.GENERIC: libbpf.XDP_FLAGS_SKB_MODE}


class Links:
    """The links of one bpf dir.

    ``mode`` None: native, and generic with a loud warning where the driver can't; what is attached stays as it is.
    """

    def __init__(self, bpf_dir: Path, interfaces: tuple[str, ...], mode: XdpMode | None) -> None:
        self._bpf_dir = bpf_dir
        self._interfaces = interfaces
        self._mode = mode

    def need_multi_buffer(self) -> bool:
        """Whether any interface has frames that do not fit one buffer: drivers then take only programs that say so."""
        return any(_mtu(name) > SINGLE_BUFFER_MTU for name in (*self._interfaces, *self._left_over()))

    def attach(self, prog_fd: int) -> None:
        """Make every interface run the program: swapped atomically where a link is pinned, attached elsewhere.

        An interface that the daemon is no longer asked to serve, but is still attached, goes on with this program too:
        the maps of the one before may be written no more. Raises ``UnavailableError`` for the first interface that
        can't be served.
        """
        for name in self._interfaces:
            self._attach_one(name, prog_fd)
        for name in self._left_over():
            self._go_on(name, prog_fd)

    def _left_over(self) -> list[str]:
        return [name for name in linked_interfaces(self._bpf_dir) if name not in self._interfaces]

    def _attach_one(self, interface: str, prog_fd: int) -> None:
        path = self._bpf_dir / link_name(interface)
        ifindex = _ifindex(interface)
        known = read_link(self._bpf_dir, interface)
        if known is None or known.ifindex != ifindex:
            # A link to an interface that was removed attaches nothing any more.
            path.unlink(missing_ok=True)
            self._pin_new(interface, ifindex, prog_fd)
            return
        mode = _mode_of(ifindex)
        if self._mode not in (None, mode):
            self._change_mode(interface, ifindex, prog_fd, mode)
            return
        self._update(interface, prog_fd)
        if self._mode is None and mode is XdpMode.GENERIC:
            log.warning(
                "SLOW PATH: interface %s goes on in generic mode, as it was attached before; "
                "--xdp-mode native attaches it anew, in its driver",
                interface,
            )

    def _update(self, interface: str, prog_fd: int) -> None:
        fd = libbpf.obj_get(self._bpf_dir / link_name(interface))
        try:
            libbpf.link_update(fd, prog_fd)
        finally:
            os.close(fd)

    def _change_mode(self, interface: str, ifindex: int, prog_fd: int, before: XdpMode) -> None:
        """Attach in the other mode. The kernel takes one mode at a time, so a few packets find no program."""
        assert self._mode is not None
        log.warning(
            "interface %s is attached anew, in %s mode: some packets pass unbalanced", interface, self._mode.value
        )
        self._detach(interface)
        try:
            self._pin_new(interface, ifindex, prog_fd)
        except UnavailableError as error:
            self._pin(interface, libbpf.link_create(prog_fd, ifindex, _FLAGS[before]))
            raise UnavailableError(f"{error.message}; it is in {before.value} mode again, as before") from error

    def _detach(self, interface: str) -> None:
        path = self._bpf_dir / link_name(interface)
        fd = libbpf.obj_get(path)
        try:
            libbpf.link_detach(fd)
        finally:
            os.close(fd)
        path.unlink()

    def _go_on(self, interface: str, prog_fd: int) -> None:
        known = read_link(self._bpf_dir, interface)
        if known is None or not known.ifindex:
            (self._bpf_dir / link_name(interface)).unlink(missing_ok=True)
            return
        try:
            self._update(interface, prog_fd)
        except OSError as error:
            log.error("interface %s, attached from before, does not take this program (%s): detached", interface, error)
            self._detach(interface)
            return
        log.warning(
            "interface %s is not among --interface, but attached from before: it goes on balancing; "
            "`lbctl detach --interface %s` ends that",
            interface,
            interface,
        )

    def _pin_new(self, interface: str, ifindex: int, prog_fd: int) -> None:
        self._pin(interface, self._create(interface, ifindex, prog_fd))

    def _pin(self, interface: str, fd: int) -> None:
        try:
            libbpf.obj_pin(fd, self._bpf_dir / link_name(interface))
        finally:
            # The pin alone holds it, so that unpinning detaches.
            os.close(fd)

    def _create(self, interface: str, ifindex: int, prog_fd: int) -> int:
        wanted = self._mode or XdpMode.NATIVE
        try:
            return libbpf.link_create(prog_fd, ifindex, _FLAGS[wanted])
        except OSError as error:
            if self._mode is not None:
                raise UnavailableError(
                    f"interface {interface}, {wanted.value} mode: cannot attach: {error.strerror}: does its driver "
                    f"have it, is another XDP program attached? `ip link show {interface}` shows that; "
                    "--xdp-mode auto takes what works"
                ) from error
            log.warning(
                "SLOW PATH: interface %s does not take XDP in its driver (%s): attaching in generic mode, which costs "
                "several times more a packet. Use a NIC whose driver has XDP, or --xdp-mode native to refuse this",
                interface,
                error.strerror,
            )
        try:
            return libbpf.link_create(prog_fd, ifindex, _FLAGS[XdpMode.GENERIC])
        except OSError as error:
            raise UnavailableError(
                f"interface {interface}: cannot attach: {error.strerror}: is another XDP program attached? "
                f"`ip link show {interface}` shows it"
            ) from error

    def strangers(self, program_id: int) -> str:
        """Interfaces whose link runs another program than this one, in words; "" when there are none.

        An interface that is gone, or was detached on purpose, is not among them: ``states`` tells of it.
        """
        found = []
        for name in self._interfaces:
            link = read_link(self._bpf_dir, name)
            if link is not None and link.ifindex and link.program_id != program_id:
                found.append(f"interface {name} runs program {link.program_id}, not {program_id}")
        return "; ".join(found)

    def ifindex(self) -> int:
        """Index of an interface that is there: of the first, or of the loopback interface when all are gone."""
        for name in self._interfaces:
            try:
                return socket.if_nametoindex(name)
            except OSError:
                continue
        return _LOOPBACK

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
        return InterfaceState(interface, True, _mode_of(ifindex), "")


def _mode_of(ifindex: int) -> XdpMode:
    return XdpMode.GENERIC if libbpf.xdp_attach_mode(ifindex) == libbpf.XDP_ATTACHED_SKB else XdpMode.NATIVE


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
