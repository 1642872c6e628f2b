# SPDX-License-Identifier: Apache-2.0
"""The tunnel of health checks: sockets with a mark reach a VIP on the backend that the mark names.

A marked packet is routed to an interface of the data plane (``lb.net.probe_route``), where a program wraps it as the
data plane wraps clients' packets (``lb.dataplane.probe_path``). So a check that passes has proved the way to the
backend, its decapsulation, the VIP on it, and the application.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from lb.core.errors import UnavailableError
from lb.core.model import Address, Unresolved
from lb.dataplane import probe_filter, probe_path
from lb.net import probe_route

log = logging.getLogger("lb.tunnel")

KEEP_SECONDS = 2.0
"""Between two looks at what others may have taken away: the kernel takes an interface's routes along when it goes
down, and some network managers remove rules that they do not know."""

_OWNER = "\0lb/tunnel"


class Tunnel:
    """The one of this network namespace; what it set up stays when the daemon ends, and `lbctl detach` removes it."""

    def __init__(self, bpf_dir: Path, interfaces: Sequence[str]) -> None:
        """``interfaces``: of the data plane, the preferred first."""
        self._bpf_dir = bpf_dir
        self._interfaces = tuple(interfaces)
        self._claim: socket.socket | None = None
        self._program_id = 0
        self._ways: Mapping[int, Address | Unresolved] = {}

    def start(self) -> None:
        """Set it up, or take over what is there, once the maps of the data plane are pinned. Blocks for a second.

        Raises ``UnavailableError`` when it can't work until lbd is started anew. What may change by itself (an
        interface that is down, no address yet) is logged, and looked at again by ``keep``.
        """
        try:
            self._claim = _claim()
            self._program_id = probe_path.install(self._bpf_dir, self._interfaces)
            self.refresh()
        except BaseException:
            self.stop()
            raise

    def refresh(self) -> None:
        """Mend what is missing, for interfaces whose program is in place. Blocks for milliseconds.

        Raises ``UnavailableError``.
        """
        try:
            wrapping = [name for name in self._interfaces if probe_filter.runs(name, self._program_id)]
        except OSError as error:
            raise UnavailableError(f"cannot see which interfaces wrap health checks: {error.strerror}") from error
        before, self._ways = self._ways, probe_route.lay(wrapping)
        for version, way in self._ways.items():
            if way != before.get(version):
                self._tell(version, before.get(version))

    def _tell(self, version: int, before: Address | Unresolved | None) -> None:
        way = self._ways[version]
        if not isinstance(way, Unresolved):
            log.info("IPv%d VIPs are checked through the tunnel from %s", version, way)
            return
        # Many a box has never had an IPv6 address, nor VIPs.
        lost = before is not None or all(isinstance(other, Unresolved) for other in self._ways.values())
        level = logging.WARNING if lost else logging.INFO
        log.log(level, "IPv%d VIPs cannot be checked through the tunnel: %s", version, way.reason)

    def problem(self, version: int) -> str:
        """Why VIPs of an IP version cannot be checked through the tunnel at the moment; "" = they can."""
        way = self._ways.get(version, Unresolved("lbd has not set it up"))
        return way.reason if isinstance(way, Unresolved) else ""

    async def keep(self) -> None:
        """Refresh it from time to time, until cancelled."""
        before = ""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            failure = ""
            try:
                await asyncio.to_thread(self.refresh)
            except UnavailableError as error:
                failure = error.message
            if failure and failure != before:
                log.error("the tunnel of health checks is not looked after: %s", failure)
            before = failure

    def stop(self) -> None:
        """Let another daemon have it; idempotent. Nothing is removed."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None


def _claim() -> socket.socket:
    """Marks are numbers of one daemon's backends: another one's tunnel would lead them elsewhere.

    An abstract socket's name belongs to the network namespace, and the kernel forgets it when we die.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(_OWNER)
    except OSError as error:
        claim.close()
        raise UnavailableError(
            "another lbd of this network namespace checks through the tunnel: only one can; give this one a "
            "namespace of its own"
        ) from error
    return claim
