# SPDX-License-Identifier: Apache-2.0
"""What a NIC's driver says of itself.

By ioctl, not from /sys/class/net: that shows the network namespace which mounted it, and `nsenter --net` keeps the
host's.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Ask = Callable[[str, bytes], bytes]
"""Interface and ethtool command to the driver's answer, of the command's length. Raises ``OSError``."""

UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENODEV)
"""The driver has no such thing, or the interface has gone."""

_SIOCETHTOOL = 0x8946
_GSTRINGS, _GRXRINGS, _GSSET_INFO, _GFEATURES, _GCHANNELS = 0x1B, 0x2D, 0x37, 0x3A, 0x3C
_FEATURE_NAMES = 4
_NAME_BYTES = 32
_RXNFC_BYTES = 192
_CHANNELS = struct.Struct("=9I")
_FEATURE_BLOCK = struct.Struct("=4I")
"""Available, requested, active, never changed: 32 features each."""


@dataclass(frozen=True, slots=True)
class Queues:
    """Receive queues in use, and as many as there can be (0: the driver does not say); ``kind``: for ``ethtool -L``."""

    in_use: int
    most: int
    kind: str


def ioctl(interface: str, command: bytes) -> bytes:
    """Ask the kernel; see ``Ask``. In the network namespace of this thread."""
    buffer = ctypes.create_string_buffer(command, len(command))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(buffer))
        fcntl.ioctl(sock, _SIOCETHTOOL, request)
    return buffer.raw


def receive_queues(interface: str, ask: Ask = ioctl) -> Queues:
    """How many CPUs can receive. Raises ``OSError``, one of ``UNSUPPORTED`` when the driver does not tell."""
    try:
        answer = ask(interface, _CHANNELS.pack(_GCHANNELS, *[0] * 8))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return Queues(_rings(interface, ask), 0, "rx")
    _, most_rx, _, _, most_combined, rx, _, _, combined = _CHANNELS.unpack(answer)
    # Drivers that have both let the user choose.
    return Queues(rx + combined, max(most_rx, most_combined), "combined" if most_combined else "rx")


def _rings(interface: str, ask: Ask) -> int:
    answer = ask(interface, struct.pack("=I", _GRXRINGS).ljust(_RXNFC_BYTES, b"\0"))
    return int(struct.unpack_from("=Q", answer, 8)[0])


def features(interface: str, ask: Ask = ioctl) -> Mapping[str, bool]:
    """Which offloads are on, by the names that ``ethtool -k`` shows. Raises ``OSError``."""
    head = struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _FEATURE_NAMES, 0)
    (count,) = struct.unpack_from("=I", ask(interface, head), 16)
    asked = struct.pack("=3I", _GSTRINGS, _FEATURE_NAMES, count) + bytes(count * _NAME_BYTES)
    names = ask(interface, asked)[12:]
    blocks = (count + 31) // 32
    answer = ask(interface, struct.pack("=2I", _GFEATURES, blocks) + bytes(blocks * _FEATURE_BLOCK.size))[8:]
    active = [block[2] for block in _FEATURE_BLOCK.iter_unpack(answer)]
    found = {}
    for number in range(count):
        name = names[number * _NAME_BYTES :][:_NAME_BYTES].rstrip(b"\0").decode()
        found[name] = bool(active[number // 32] >> number % 32 & 1)
    return found
