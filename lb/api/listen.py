# SPDX-License-Identifier: Apache-2.0
"""The unix sockets: the public one that clients open, and a private folder for those that only gRPC listens on."""

from __future__ import annotations

import errno
import fcntl
import grp
import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lb.core.errors import InvalidError, UnavailableError, Violation

SCHEME = "unix://"
MAX_PATH_BYTES = 107
"""Of ``sockaddr_un``: 108 bytes with the terminating zero."""

SOCKET_MODE = 0o660
DIRECTORY_MODE = 0o755
PRIVATE_MODE = 0o700
GROUP = "lb"
"""Whose members may use the socket beside root."""

log = logging.getLogger(__name__)


def parse_listen(listen: str) -> Path:
    """The path in ``unix:///PATH``; raises ``InvalidError``."""
    path = listen.removeprefix(SCHEME)
    if not listen.startswith(SCHEME) or not path.startswith("/"):
        raise _invalid(f"{listen!r}: write {SCHEME}/PATH; for TCP, with TLS, there is --listen-tls")
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise _invalid(f"{path} is longer than the {MAX_PATH_BYTES} bytes that a unix socket's path may have")
    return Path(path)


def claim(path: Path) -> None:
    """Make the directory, and remove a socket that nobody listens on.

    Raises:
        UnavailableError: Somebody listens there, or the directory can't be used.
    """
    try:
        with _umask(0o777 & ~DIRECTORY_MODE):
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() or path.is_symlink():
            _remove_stale(path)
    except OSError as error:
        raise _unavailable(path, error) from error


def bind(path: Path) -> socket.socket:
    """A socket, mode 0660 and of group ``lb``, that does not listen yet; raises ``UnavailableError``."""
    bound = socket.socket(socket.AF_UNIX)
    try:
        bound.bind(str(path))
        # Nobody can connect before it listens, whatever its mode has been until then.
        path.chmod(SOCKET_MODE)
        _give_to_group(path)
    except OSError as error:
        bound.close()
        raise _unavailable(path, error) from error
    return bound


class PrivateFolder:
    """A folder, mode 0700, for sockets of this process. It lies beside the public socket."""

    def __init__(self, public: Path) -> None:
        """Makes the folder, or takes over one that was left behind. Raises ``UnavailableError``."""
        self._path = public.with_name(f".{public.name}.private")
        self._directory = -1
        try:
            self._path.mkdir(PRIVATE_MODE, exist_ok=True)
        except OSError as error:
            raise _unavailable(public, error) from error
        try:
            self._take_over()
        except OSError as error:
            if self._directory >= 0:
                os.close(self._directory)
            busy = isinstance(error, BlockingIOError)
            wrong = f"another lbd uses {public}: stop it" if busy else f"{self._path}: {error.strerror}: remove it"
            raise UnavailableError(f"{wrong}, or give another --listen") from error

    def path(self, name: str) -> str:
        """A short path of this folder, for this process only: the real one may be too long for a socket."""
        return f"/proc/self/fd/{self._directory}/{name}"

    def close(self) -> None:
        """Remove the folder."""
        self._clear()
        os.close(self._directory)
        with suppress(OSError):
            self._path.rmdir()

    def _take_over(self) -> None:
        self._directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if os.fstat(self._directory).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "belongs to somebody else")
        # Held until this process ends: who starts at the same moment must not clear it.
        fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(self._directory, PRIVATE_MODE)
        self._clear()

    def _clear(self) -> None:
        for name in os.listdir(self._directory):  # noqa: PTH208 (by descriptor: the path may lead elsewhere by now)
            os.unlink(name, dir_fd=self._directory)


def _give_to_group(path: Path) -> None:
    try:
        gid = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        log.info("%s is for root only: there is no group %r (`groupadd --system %s`, restart)", path, GROUP, GROUP)
        return
    try:
        os.chown(path, -1, gid)
    except PermissionError:
        log.warning(
            "%s is not for group %r: lbd may not give it away: run lbd with CAP_CHOWN, or as a member of the group",
            path,
            GROUP,
        )


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


def _unavailable(path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"can't listen on {path}: {error.strerror}; make the directory writable, or give another --listen"
    )


def _invalid(message: str) -> InvalidError:
    return InvalidError([Violation("--listen", message)])
