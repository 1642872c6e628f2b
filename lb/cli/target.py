# SPDX-License-Identifier: Apache-2.0
"""Where the daemon listens, and whether anybody is there."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path

import click

from lb.cli.exits import Exit, Failure
from lb.cli.tls import TlsOptions

DEFAULT_TARGET = "unix:///run/lb/lbd.sock"


@dataclass(frozen=True, slots=True)
class Target:
    """Where lbd listens.

    ``address``: as gRPC takes it, and as messages show it. ``path``: of the socket, None for TCP, which needs ``tls``.
    """

    address: str
    path: Path | None
    tls: TlsOptions = field(default_factory=TlsOptions)

    def check(self) -> None:
        """Connect to the unix socket once, so that "not running" and "not allowed" can be told apart.

        gRPC reports both as UNAVAILABLE. Of a TCP target only our own files are checked.

        Raises:
            Failure: UNAVAILABLE when nobody listens, DENIED when we may not connect, USAGE for the files.
        """
        if self.path is None:
            self.tls.context()
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(str(self.path))
            except BlockingIOError:
                return  # The backlog is full: somebody listens, and gRPC waits its turn.
            except PermissionError as error:
                raise Failure(
                    Exit.DENIED,
                    f"no permission to use {self.address}: run lbctl as root or as a member of the socket's group "
                    f"(`ls -l {self.path}`)",
                ) from error
            except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
                raise Failure(
                    Exit.UNAVAILABLE,
                    f"lbd is not running on {self.address}: start it with `lbd --interface IF`, "
                    "or point --target at another socket",
                ) from error
            except OSError as error:
                raise Failure(
                    Exit.UNAVAILABLE,
                    f"cannot connect to {self.address}: {error.strerror or error}: point --target at lbd's socket",
                ) from error


def parse_target(text: str) -> Target:
    """``unix:///PATH``, ``unix:PATH``, a bare path, or what gRPC knows besides (``HOST:PORT``, ``dns:///...``).

    Raises ``click.BadParameter``.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if path.startswith("//"):
            path = path.removeprefix("//")
            if not path.startswith("/"):
                raise click.BadParameter(f"{text!r} has no absolute path after unix://: write unix:///PATH")
    elif ":" in text and ("/" not in text or "://" in text):
        return Target(text, None)
    else:
        path = text
    if not path:
        raise click.BadParameter(f"{text!r} has no path: write unix:///PATH, a path, or HOST:PORT")
    absolute = Path(path).absolute()
    return Target(f"unix://{absolute}", absolute)
