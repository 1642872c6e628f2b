# SPDX-License-Identifier: Apache-2.0
"""Entry point of ``lbd``."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from lb import __version__
from lb.api.config_file import load, merge
from lb.api.listen import parse_listen
from lb.api.server import Server
from lb.core.errors import LbError, UnavailableError
from lb.core.model import Config
from lb.daemon.reconciler import Reconciler
from lb.dataplane.kernel import KernelDataPlane
from lb.net.next_hops import NetlinkNextHops
from lb.ports import XdpMode
from lb.store.sqlite import SqliteStore

log = logging.getLogger("lb.daemon")

EPILOG = """\b
Examples:
  lbd --interface eth0
  lbd --interface eth0 --interface eth1 --config /etc/lb/lb.yaml
  lbd --interface veth0 --state-dir /tmp/lb --bpf-dir /tmp/lb/bpf --listen unix:///tmp/lb/lbd.sock
"""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    interfaces: tuple[str, ...]
    config: Path | None
    state_dir: Path
    bpf_dir: Path
    listen: str
    xdp_mode: XdpMode | None


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--interface", "interfaces", metavar="IF", multiple=True, required=True, help="Where packets arrive; repeatable."
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML with VIPs, pools and backends; for objects in it the file wins, others are kept.",
)
@click.option(
    "--state-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/lib/lb"),
    show_default=True,
    help="Where the configuration is kept.",
)
@click.option(
    "--bpf-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/run/lb/bpf"),
    show_default=True,
    help="Where program and maps are pinned; a bpffs is mounted there when there is none.",
)
@click.option(
    "--listen",
    metavar="unix:///PATH",
    default="unix:///run/lb/lbd.sock",
    show_default=True,
    help="Where the gRPC API listens.",
)
@click.option(
    "--xdp-mode",
    type=click.Choice(["auto", "native", "generic"]),
    default="auto",
    show_default=True,
    help="native: in the driver; generic: in the network stack, slow; auto: native, and generic with a warning.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.version_option(__version__, prog_name="lbd")
def main(
    interfaces: tuple[str, ...],
    config: Path | None,
    state_dir: Path,
    bpf_dir: Path,
    listen: str,
    xdp_mode: str,
    log_level: str,
) -> None:
    """Layer-4 load balancer: attaches the XDP data plane and serves the gRPC API.

    Prints "ready" on stdout when it forwards; logs to stderr. SIGTERM stops the daemon and leaves the data plane
    forwarding; `lbctl detach` removes it.
    """
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    mode = None if xdp_mode == "auto" else XdpMode(xdp_mode)
    options = Options(interfaces, config, state_dir, bpf_dir, listen, mode)
    try:
        _check_privileges()
        asyncio.run(_serve(options))
    except LbError as error:
        print(f"lbd: {error.message}", file=sys.stderr)
        sys.exit(1)


def _check_privileges() -> None:
    if os.geteuid() != 0:
        raise LbError("must run as root: loading XDP programs and mounting a bpffs need its capabilities")


def _make_state_dir(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"state dir {path}: {error.strerror}: give a writable one with --state-dir") from error


async def _serve(options: Options) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)

    # What is wrong with the command line is said before anything is touched.
    parse_listen(options.listen)
    fragment = load(options.config) if options.config is not None else None

    def adjust(current: Config) -> Config:
        if fragment is None:
            return current
        merged, differing = merge(current, fragment)
        for name in differing:
            log.info("%s: set from %s", name, options.config)
        return merged

    data_plane = KernelDataPlane(options.bpf_dir, options.interfaces, options.xdp_mode)
    next_hops = NetlinkNextHops()
    server: Server | None = None
    reconciler: Reconciler | None = None
    store: SqliteStore | None = None
    try:
        data_plane.open()
        _make_state_dir(options.state_dir)
        store = SqliteStore(options.state_dir / "lb.db")
        await next_hops.start()
        reconciler = Reconciler(store, data_plane, next_hops, str(options.bpf_dir))
        await reconciler.start(adjust)
        server = Server(reconciler, options.listen)
        await server.start()
        log.info("listening on %s, revision %d", options.listen, reconciler.view().revision)
        print("ready", flush=True)
        await stopped.wait()
        log.info("stopping; the data plane goes on forwarding")
    finally:
        if server is not None:
            await server.stop()
        if reconciler is not None:
            await reconciler.stop()
        await next_hops.stop()
        if store is not None:
            store.close()
        data_plane.close()


if __name__ == "__main__":
    main()
