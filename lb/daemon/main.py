# SPDX-License-Identifier: Apache-2.0
"""Entry point of ``lbd``."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

import click

from lb import __version__
from lb.api.tls import TlsSettings
from lb.core.errors import InvalidError, LbError, Violation
from lb.daemon.service import Options, Service
from lb.observe.capabilities import missing_capabilities
from lb.ports import XdpMode

log = logging.getLogger("lb.daemon")

SWITCH_SECONDS = 0.001
"""Plans are worked out in a thread beside the event loop, which gives up its turn at every system call and has to wait
for so long until it gets it back: Python's 5 ms would hold up probes and calls."""

_FILE = click.Path(dir_okay=False, path_type=Path)

EPILOG = """\b
Examples:
  lbd --interface eth0
  lbd --interface eth0 --interface eth1 --config /etc/lb/lb.yaml
  lbd --interface veth0 --state-dir /tmp/lb --bpf-dir /tmp/lb/bpf --listen unix:///tmp/lb/lbd.sock
"""


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--interface", "interfaces", metavar="IF", multiple=True, required=True, help="Where packets arrive; repeatable."
)
@click.option(
    "--config",
    metavar="FILE",
    type=_FILE,
    help="YAML with VIPs, pools and backends, read at start and on SIGHUP; for objects in it the file wins.",
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
    "--listen-tls",
    metavar="ADDRESS:PORT",
    help="Where the API also listens, for clients with a certificate; needs the three files below.",
)
@click.option("--tls-cert", metavar="FILE", type=_FILE, help="Certificate of the TLS listener, PEM.")
@click.option("--tls-key", metavar="FILE", type=_FILE, help="Its private key, PEM.")
@click.option("--tls-ca", metavar="FILE", type=_FILE, help="CA of the clients' certificates, PEM.")
@click.option(
    "--replace",
    is_flag=True,
    help="Take over maps of another release that can't be carried over; lbd says first what that would cost.",
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
    listen_tls: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_ca: Path | None,
    replace: bool,
    xdp_mode: str,
    log_level: str,
) -> None:
    """Layer-4 load balancer: attaches the XDP data plane and serves the gRPC API.

    Prints "ready" on stdout when it forwards; logs to stderr. SIGHUP reads --config again. SIGTERM stops the daemon and
    leaves the data plane forwarding; `lbctl detach` removes it.
    """
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    mode = None if xdp_mode == "auto" else XdpMode(xdp_mode)
    try:
        tls = _tls_settings(listen_tls, tls_cert, tls_key, tls_ca)
        options = Options(interfaces, config, state_dir, bpf_dir, listen, tls, mode, replace)
        _check_privileges()
        sys.setswitchinterval(SWITCH_SECONDS)
        asyncio.run(_serve(options))
    except LbError as error:
        print(f"lbd: {error.message}", file=sys.stderr)
        sys.exit(1)


def _check_privileges() -> None:
    missing = missing_capabilities()
    if missing:
        raise LbError(f"lacks {', '.join(missing)}: run it as root, or under systemd with lbd.service")


def _tls_settings(listen: str | None, cert: Path | None, key: Path | None, ca: Path | None) -> TlsSettings | None:
    """All four, or none. Raises ``InvalidError``."""
    given = {"--listen-tls": listen, "--tls-cert": cert, "--tls-key": key, "--tls-ca": ca}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return None
    if missing:
        present = ", ".join(name for name in given if name not in missing)
        raise InvalidError([Violation(name, f"is needed together with {present}") for name in missing])
    assert listen is not None
    assert cert is not None
    assert key is not None
    assert ca is not None
    return TlsSettings(listen, cert, key, ca)


async def _serve(options: Options) -> None:
    loop = asyncio.get_running_loop()
    service = Service(options)
    stopped = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(service.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        await service.start()
        print("ready", flush=True)
        await service.run(stopped)
        log.info("stopping; the data plane goes on forwarding")
    finally:
        await service.stop()


if __name__ == "__main__":
    main()
