# SPDX-License-Identifier: Apache-2.0
"""The socket that the API listens on: checked before gRPC binds it, so that what is wrong has a name."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lb.core.errors import InvalidError, UnavailableError, Violation

SCHEME = "unix://"
MAX_PATH_BYTES = 107
"""Of ``sockaddr_un``: 108 bytes with the terminating zero."""

SOCKET_MODE = 0o660
DIRECTORY_MODE = 0o755


def parse_listen(listen: str) -> Path:
    """The path in ``unix:///PATH``; raises ``InvalidError``."""
    path = listen.removeprefix(SCHEME)
    if not listen.startswith(SCHEME) or not path.startswith("/"):
        raise _invalid(f"{listen!r}: write {SCHEME}/PATH; this release listens on unix sockets only")
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise _invalid(f"{path} is longer than the {MAX_PATH_BYTES} bytes that a unix socket's path may have")
    return Path(path)


def prepare(path: Path) -> None:
    """Make the directory, remove a socket that nobody listens on, and try whether the path can be bound.

    Raises:
        UnavailableError: Somebody listens there, or the path can't be bound.
    """
    try:
        with _umask(0o777 & ~DIRECTORY_MODE):
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() or path.is_symlink():
            _remove_stale(path)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))
        path.unlink()
    except OSError as error:
        raise UnavailableError(
            f"can't listen on {path}: {error.strerror}; make the directory writable, or give another --listen"
        ) from error


@contextmanager
def socket_umask() -> Iterator[None]:
    """While gRPC binds: it has no option for the socket's mode."""
    with _umask(0o777 & ~SOCKET_MODE):
        yield


def _remove_stale(path: Path) -> None:
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise UnavailableError(f"{path} exists and is not a socket: remove it, or give another --listen")
    with socket.socket(socket.AF_UNIX) as probe:
        # A listener that is too busy to accept would make a blocking connect hang.
        probe.setblocking(False)
        outcome = probe.connect_ex(str(path))
    if outcome == errno.ECONNREFUSED:
        path.unlink()
    elif outcome in (0, errno.EAGAIN):
        raise UnavailableError(f"another lbd is listening on {path}: stop it, or give another --listen")
    else:
        raise OSError(outcome, os.strerror(outcome))


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    previous = os.umask(mask)
    try:
        yield
    finally:
        os.umask(previous)


def _invalid(message: str) -> InvalidError:
    return InvalidError([Violation("--listen", message)])
