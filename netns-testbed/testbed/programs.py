# SPDX-License-Identifier: Apache-2.0
"""XDP programs for the ends of veth pairs, and for real backends; attached over netlink, so that they outlive us."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from lb.dataplane.compiler import compile_source
from lb.dataplane.libbpf import F_XDP_HAS_FRAGS, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, library, prog_load
from lb.dataplane.source import Source, join_includes, source_dir

_UPDATE_IF_NOEXIST = 1
PASS = bytes.fromhex("b7000000020000009500000000000000")
"""``r0 = XDP_PASS; exit``."""
_OCCUPIED = "; there is one: `ip link set dev {interface} xdp off` removes it, or `xdpgeneric off`"
_REMEDIES = {
    errno.EBUSY: _OCCUPIED,
    errno.EEXIST: _OCCUPIED,  # in the other mode
    errno.EOPNOTSUPP: "; the driver cannot: use generic mode",
}


def attach(
    interface: str, name: str, instructions: bytes, *, generic: bool = False, multi_buffer: bool = False
) -> None:
    """Load a program and attach it to an interface of this namespace, unless there is one. Raises ``OSError``.

    ``generic``: not in the driver, but in the network stack. ``multi_buffer``: it can take frames in several buffers.
    """
    program = prog_load(name, instructions, F_XDP_HAS_FRAGS if multi_buffer else 0)
    mode = XDP_FLAGS_SKB_MODE if generic else XDP_FLAGS_DRV_MODE
    flags = ctypes.c_uint32(_UPDATE_IF_NOEXIST | mode)
    try:
        result = library().bpf_xdp_attach(socket.if_nametoindex(interface), program, flags, None)
    finally:
        os.close(program)  # the interface holds it now
    if result < 0:
        remedy = _REMEDIES.get(-result, "").format(interface=interface)
        raise OSError(-result, f"XDP program on {interface}: {os.strerror(-result)}{remedy}")


def compile_decap(addresses: Iterable[IPv4Address | IPv6Address], *, multi_buffer: bool = False) -> bytes:
    """Instructions of xdp/decap.c for a host with these addresses, one of a family at most.

    Raises ``ValueError`` for two of one family, and the compiler's ``LbError``.
    """
    defines = {"MULTI_BUFFER": "1"} if multi_buffer else {}
    for address in addresses:
        more = _address_defines(address)
        if not defines.keys().isdisjoint(more):
            raise ValueError(f"{address}: one IPv{address.version} address is enough, that of the pool's backend")
        defines |= more
    source = Source(join_includes(source_dir() / "decap.c"), defines)
    return compile_source(source, ["decap"], [], cflags=["-Wextra", "-Werror"]).functions["decap"]


def _address_defines(address: IPv4Address | IPv6Address) -> dict[str, str]:
    """An address as the words that lie in memory when it stands in a packet."""
    if isinstance(address, IPv4Address):
        return {"DECAP_IPV4": f"{int.from_bytes(address.packed, sys.byteorder):#x}U"}
    halves = {"DECAP_IPV6_HIGH": address.packed[:8], "DECAP_IPV6_LOW": address.packed[8:]}
    return {name: f"{int.from_bytes(half, sys.byteorder):#x}ULL" for name, half in halves.items()}
