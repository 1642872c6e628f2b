# SPDX-License-Identifier: Apache-2.0
"""``lbctl detach``: works on the pins, without the daemon."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import click

from lb.cli.exits import Exit, Failure
from lb.cli.options import Command, bpf_dir_option, settings
from lb.cli.output import note, to_json, to_yaml
from lb.core.errors import LbError, NotFoundError, RefusedError, UnavailableError

_EXITS: dict[type[LbError], Exit] = {
    NotFoundError: Exit.NOT_FOUND,
    RefusedError: Exit.CONFLICT,
    UnavailableError: Exit.UNAVAILABLE,
}


@click.command(
    cls=Command,
    examples=["lbctl detach", "lbctl detach --interface eth0", "lbctl detach --bpf-dir /run/lb/bpf"],
)
@click.option("--interface", metavar="IF", help="Only from this interface.")
@bpf_dir_option("Where lbd pinned the data plane.")
def detach(interface: str | None, bpf_dir: Path) -> None:
    """Take the data plane off its interfaces.

    Packets are no longer balanced from then on. Works whether lbd runs or not, on this machine only, as root. Once it
    is off every interface, its pinned programs and maps are removed too, and the route by which health checks go
    through the tunnel. lbd attaches again when it is started.
    """
    names = _detach(bpf_dir, interface)
    output = settings().output
    if output in ("json", "yaml"):
        click.echo((to_json if output == "json" else to_yaml)({"interfaces": names}))
    for name in names:
        note(f"detached {name}")
    if not names:
        note(f"nothing is attached under {bpf_dir}")


def _detach(bpf_dir: Path, interface: str | None) -> list[str]:
    """What was detached. Raises ``Failure``."""
    # Load libbpf and pyroute2, which no other command needs.
    from lb.dataplane import pins, probe_filter
    from lb.net import probe_route

    try:
        # A folder that we cannot look into is not an empty one.
        if bpf_dir.exists() and not os.access(bpf_dir, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        names = pins.detach(bpf_dir, interface)
        if pins.is_bpffs(bpf_dir) and not probe_filter.is_anywhere():
            # No interface wraps health checks any more.
            probe_route.lay(())
        return names
    except LbError as error:
        denied = isinstance(error.__cause__, PermissionError)
        code = Exit.DENIED if denied else _EXITS.get(type(error), Exit.FAILED)
        raise Failure(code, error.message) from error
    except PermissionError as error:
        raise Failure(Exit.DENIED, f"{bpf_dir}: {error.strerror}: detaching needs root") from error
    except OSError as error:
        raise Failure(Exit.FAILED, f"{bpf_dir}: {error.strerror or error}") from error
