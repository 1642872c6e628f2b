# SPDX-License-Identifier: Apache-2.0
"""Whether the kernel lets in what backends answer to checks through the tunnel: packets from a VIP.

A reverse path filter drops packets from an address that it would not send to by the same way. IPv4 only: the kernel
has none for IPv6.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from lb.core.model import Address
from lb.net import messages
from lb.net.requests import Refused, Requests, rtnetlink
from lb.observe.findings import ok, problem
from lb.observe.interfaces import subject_of
from lb.ports import Finding

CHECK = "reverse path filter"

WayBack = Callable[[Address], str]
"""The interface by which a packet to an address would leave; "" = there is none. Raises ``OSError``."""

_OFF, _STRICT = 0, 1


def examine_reverse_paths(
    interfaces: Iterable[str], vips: Iterable[Address], way_back: WayBack | None = None, proc: Path = Path("/proc")
) -> Iterator[Finding]:
    """Look at interfaces that backends answer on.

    Args:
        interfaces: Their names.
        vips: Where the answers will come from.
        way_back: Asks the kernel, by default.
        proc: Where procfs is mounted.
    """
    answering = sorted({vip for vip in vips if vip.version == 4})
    for interface in sorted(set(interfaces)):
        mode = max(_mode(proc, "all"), _mode(proc, interface))
        if mode == _OFF or not answering:
            yield ok(subject_of(interface), CHECK, "off" if mode == _OFF else "no VIP has an IPv4 address")
        else:
            yield _judge(interface, mode == _STRICT, answering, way_back or _way_back)


def _mode(proc: Path, interface: str) -> int:
    """0 = off, 1 = strict, 2 = loose. The higher one counts: "all" has a say in each."""
    try:
        return int((proc / "sys/net/ipv4/conf" / interface / "rp_filter").read_text())
    except OSError:  # the interface has gone, or /proc/sys is hidden
        return _OFF


def _judge(interface: str, is_strict: bool, vips: Iterable[Address], way_back: WayBack) -> Finding:
    word = "strict" if is_strict else "loose"
    for vip in vips:
        back = way_back(vip)
        if back == interface or (back and not is_strict):
            continue
        observation = f"{word}, and no route leads back to {vip}" + (f" by {interface}" if is_strict else "")
        return problem(subject_of(interface), CHECK, observation, _remedy(interface))
    return ok(subject_of(interface), CHECK, f"{word}, and lets answers in")


def _remedy(interface: str) -> str:
    own = f"net.ipv4.conf.{interface.replace('.', '/')}.rp_filter=0"
    return (
        f"`sysctl -w {own} net.ipv4.conf.all.rp_filter=0`, and so in /etc/sysctl.d: answers to checks through the "
        "tunnel, which come from the VIP, are dropped"
    )


def _way_back(address: Address) -> str:
    with contextlib.closing(rtnetlink()) as sock:
        try:
            frame = Requests(sock).ask(partial(messages.get_route, address=address))
        except Refused:
            return ""
    ifindex = messages.decode_route(frame).ifindex
    return socket.if_indextoname(ifindex) if ifindex else ""
