# SPDX-License-Identifier: Apache-2.0
"""What `lbd` is made of, put together in the order in which it starts and taken apart in the reverse."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from lb.api.config_file import load, merge
from lb.api.listen import parse_listen
from lb.api.server import Server
from lb.api.tls import TlsSettings
from lb.core.audit import Caller
from lb.core.errors import LbError, UnavailableError
from lb.core.model import Config, View
from lb.daemon.controller import LocalController
from lb.daemon.doctor import Doctor
from lb.daemon.events import EventHub
from lb.daemon.health_monitor import HealthMonitor
from lb.daemon.notify import Notifier, Watchdog
from lb.daemon.reconciler import Reconciler
from lb.daemon.tunnel import Tunnel
from lb.dataplane.kernel import KernelDataPlane
from lb.net.next_hops import NetlinkNextHops
from lb.ports import Change, XdpMode
from lb.probe.prober import ProcessProber
from lb.store.sqlite import SqliteStore

log = logging.getLogger("lb.daemon")


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    interfaces: tuple[str, ...]
    config: Path | None
    state_dir: Path
    bpf_dir: Path
    listen: str
    tls: TlsSettings | None
    xdp_mode: XdpMode | None
    replace: bool


class Service:
    """One `lbd`, from ``start`` to ``stop``."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stack = AsyncExitStack()
        self._notifier = Notifier()
        self._reconciler: Reconciler | None = None
        self._keeping: list[asyncio.Task[None]] = []
        self._started = asyncio.Event()

    async def start(self) -> None:
        """Forward, and serve the API. Raises an ``LbError``; what was begun must be ended with ``stop``."""
        options, stack = self._options, self._stack
        # What is wrong with the command line is said before anything is touched.
        parse_listen(options.listen)
        if options.tls is not None:
            options.tls.check()
        adjust = self._adjustment(self._tell)

        data_plane = KernelDataPlane(options.bpf_dir, options.interfaces, options.xdp_mode, replace=options.replace)
        stack.callback(data_plane.close)
        data_plane.open()
        _make_state_dir(options.state_dir)
        store = SqliteStore(options.state_dir / "lb.db")
        stack.callback(store.close)
        next_hops = NetlinkNextHops()
        stack.push_async_callback(next_hops.stop)
        await next_hops.start()

        no_tunnel, tunnel_problem = await self._start_tunnel()
        hub = EventHub(time.time, self._view)
        monitor = HealthMonitor(ProcessProber(), hub.emit, tunnel_problem=no_tunnel)
        reconciler = self._reconciler = Reconciler(store, data_plane, next_hops, monitor, hub.emit)
        stack.push_async_callback(monitor.stop)
        await monitor.start()
        stack.push_async_callback(reconciler.stop)
        await reconciler.start(adjust, self._caller("start"))
        hub.begin(reconciler.view().revision)

        doctor = Doctor(data_plane, reconciler, options.bpf_dir, tunnel_problem)
        controller = LocalController(reconciler, store, data_plane, hub, doctor.diagnose, str(options.bpf_dir))
        server = Server(controller, options.listen, options.tls)
        stack.push_async_callback(server.stop)
        await server.start()
        watchdog = Watchdog(self._notifier, data_plane.self_check)
        stack.push_async_callback(watchdog.stop)
        watchdog.start()
        log.info("listening on %s, revision %d", options.listen, reconciler.view().revision)
        self._notifier.ready()
        self._started.set()

    async def _start_tunnel(self) -> tuple[str, Callable[[int], str]]:
        """Why health checks can't go through the tunnel at all, and to VIPs of an IP version; "" = they can."""
        tunnel = Tunnel(self._options.bpf_dir, self._options.interfaces)
        try:
            await asyncio.to_thread(tunnel.start)
        except UnavailableError as error:
            reason = error.message
            return reason, lambda _version: reason
        self._stack.callback(tunnel.stop)
        keeping = asyncio.create_task(tunnel.keep(), name="keep the tunnel")
        self._stack.callback(keeping.cancel)
        self._keeping.append(keeping)
        return "", tunnel.problem

    async def run(self, stopped: asyncio.Event) -> None:
        """Serve until ``stopped`` is set.

        Raises what ended a loop that never ends by itself: rather begin anew than go on without it.
        """
        assert self._reconciler is not None
        loop = asyncio.get_running_loop()
        waiting = [loop.create_task(stopped.wait()), loop.create_task(self._reconciler.crash())]
        ended, _ = await asyncio.wait([*waiting, *self._keeping], return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        for task in ended:
            task.result()

    async def stop(self) -> None:
        """Leave the data plane forwarding, let go of everything else."""
        self._started.clear()
        self._notifier.stopping()
        await self._stack.aclose()

    async def reload(self) -> None:
        """Apply the configuration file again; what is wrong with it is logged, and changes nothing.

        While lbd starts or stops it waits: systemd must not be told that it is ready.
        """
        await self._started.wait()
        if self._options.config is None:
            log.info("SIGHUP: there is no --config to read again; TLS files are read again when they change")
            return
        assert self._reconciler is not None
        self._notifier.reloading()
        try:
            adjust = await asyncio.to_thread(self._adjustment, lambda _names: None)
            applied = await self._reconciler.apply(adjust, self._caller("SIGHUP"))
            self._tell([found.name for found in applied.differences])
            log.info("%s was read again: %d changes", self._options.config, len(applied.differences))
        except LbError as error:
            log.error("%s was not applied: %s", self._options.config, error.message)
        finally:
            self._notifier.ready()

    def _view(self) -> View:
        assert self._reconciler is not None
        return self._reconciler.view()

    def _caller(self, occasion: str) -> Caller:
        file = f" --config {self._options.config}" if self._options.config is not None else ""
        return Caller("lbd", occasion, f"lbd{file}")

    def _tell(self, names: Sequence[str]) -> None:
        for name in names:
            log.info("%s: set from %s", name, self._options.config)

    def _adjustment(self, tell: Callable[[Sequence[str]], None]) -> Change:
        """The configuration file as a change, which tells the names of what it changes. Raises ``ConfigFileError``."""
        path = self._options.config
        if path is None:
            return lambda current: current
        fragment = load(path)

        def adjust(current: Config) -> Config:
            merged, differing = merge(current, fragment)
            tell(differing)
            return merged

        return adjust


def _make_state_dir(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"state dir {path}: {error.strerror}: give a writable one with --state-dir") from error
