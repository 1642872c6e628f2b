# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as bytes: a request, and one answer read piece by piece within bounds. No I/O."""

from __future__ import annotations

import enum
import re
from functools import lru_cache

from lb.core.checks import CheckKind, HealthCheck, Target
from lb.probe.failures import Failed, quote

MAX_BODY_BYTES = 65_536
"""How much of a body is looked at."""

MAX_HEAD_BYTES = 32_768
"""Of status lines and headers, interim answers included."""

_MAX_CHUNK_LINE_BYTES = 1_024
_BEGINS = b"HTTP/1."
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\n]*)?")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\n]*)?")
_DEFAULT_PORTS = {CheckKind.HTTP: 80, CheckKind.HTTPS: 443}
_SWITCHING_PROTOCOLS = 101
_WITHOUT_BODY = (204, 304)
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")


def request(target: Target) -> bytes:
    """The request of an HTTP or HTTPS check."""
    check = target.check
    lines = [
        f"{check.method} {check.path} HTTP/1.1",
        f"Host: {check.host or authority(target)}",
        "User-Agent: lbd health check",
        "Accept: */*",
        "Connection: close",
    ]
    if check.method not in ("GET", "HEAD"):
        lines.append("Content-Length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def authority(target: Target) -> str:
    """Address and port, as a Host header has them: "192.0.2.1:8080", "[2001:db8::1]"."""
    host = f"[{target.address}]" if target.address.version == 6 else str(target.address)
    return host if target.port == _DEFAULT_PORTS.get(target.check.kind) else f"{host}:{target.port}"


def host_name(check: HealthCheck) -> str:
    """The name in ``host``, without a port and brackets."""
    host = check.host
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, _ = host.rpartition(":")
    return name if colon and ":" not in name else host


@lru_cache(maxsize=256)
def _ranges(expected: str) -> tuple[tuple[int, int], ...]:
    pairs = (item.partition("-") for item in expected.split(","))
    return tuple((int(first), int(last or first)) for first, _, last in pairs)


def is_expected(expected: str, status: int) -> bool:
    """Whether "200-399" or "200,204" has a status."""
    return any(first <= status <= last for first, last in _ranges(expected))


class _Framing(enum.Enum):
    """How the end of a body is known."""

    LENGTH = 1
    CHUNKED = 2
    CLOSE = 3


class Answer:
    """One answer, of which ``feed`` is given the bytes as they come.

    ``status``: 0 until the head is complete. ``body``: at most its first 64 KiB, decoded. ``is_over``: nothing of
    interest follows.
    """

    def __init__(self, *, head_only: bool) -> None:
        self.status = 0
        self.body = bytearray()
        self.is_over = False
        self._head_only = head_only
        self._pending = bytearray()
        self._head_bytes = 0
        self._framing = _Framing.CLOSE
        self._left = 0
        """Bytes of the body, or of the present chunk and its line end, that are still to come."""

    def feed(self, data: bytes) -> None:
        """Take what came. Raises ``Failed`` when it is not HTTP."""
        self._pending += data
        if not self.status:
            self._take_head()
        if self.status and not self.is_over:
            self._take_body()

    def end(self) -> None:
        """The connection was closed. Raises ``Failed`` when that was too early."""
        if not self.status:
            raise Failed("the connection was closed without an HTTP answer: look at the service's log")
        self.is_over = True

    def _take_head(self) -> None:
        """Up to the end of the first head that is not an interim answer's."""
        while not self.status:
            if not self._pending.startswith(_BEGINS[: len(self._pending)]):
                raise Failed(_not_http(bytes(self._pending)))
            end = _HEAD_END.search(self._pending)
            self._head_bytes += end.end() if end else 0
            if self._head_bytes + (0 if end else len(self._pending)) > MAX_HEAD_BYTES:
                raise Failed(f"the answer's headers are longer than {MAX_HEAD_BYTES // 1024} KiB")
            if end is None:
                return
            head = bytes(self._pending[: end.start()])
            del self._pending[: end.end()]
            self._parse_head(head)

    def _parse_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\n")
        match = _STATUS_LINE.fullmatch(first.rstrip(b"\r"))
        if match is None:
            raise Failed(_not_http(first))
        status = int(match[1])
        if status < 200 and status != _SWITCHING_PROTOCOLS:
            return
        self.status = status
        headers = {name.strip().lower(): value.strip().lower() for name, _, value in (x.partition(b":") for x in lines)}
        length = headers.get(b"content-length", b"")
        if self._head_only or status in _WITHOUT_BODY or status == _SWITCHING_PROTOCOLS:
            self.is_over = True
        elif headers.get(b"transfer-encoding", b"").endswith(b"chunked"):
            self._framing = _Framing.CHUNKED
        elif length.isdigit() and len(length) < 20:
            self._framing, self._left = _Framing.LENGTH, int(length)

    def _take_body(self) -> None:
        match self._framing:
            case _Framing.CHUNKED:
                self._take_chunks()
            case _Framing.LENGTH:
                self._left -= self._keep(self._left)
                self.is_over = self.is_over or not self._left
            case _Framing.CLOSE:
                self._keep(len(self._pending))

    def _keep(self, size_bytes: int) -> int:
        """Move up to ``size_bytes`` that came into the body; returns how many there were."""
        piece = self._pending[:size_bytes]
        del self._pending[:size_bytes]
        self.body += piece[: MAX_BODY_BYTES - len(self.body)]
        self.is_over = len(self.body) == MAX_BODY_BYTES
        return len(piece)

    def _take_chunks(self) -> None:
        while self._pending and not self.is_over:
            if self._left:
                self._left -= self._keep(self._left)
                continue
            line, newline, _ = self._pending.partition(b"\n")
            text = bytes(line.rstrip(b"\r"))
            match = _CHUNK_SIZE.fullmatch(text)
            if not newline and len(line) <= _MAX_CHUNK_LINE_BYTES:
                return
            if not newline or (text and match is None):
                raise Failed(f"the answer's chunks are malformed: {quote(text)}")
            del self._pending[: len(line) + 1]
            if match:  # else the line end that follows a chunk
                self._left = int(match[1], 16)
                self.is_over = not self._left


def _not_http(data: bytes) -> str:
    hint = "; this looks like TLS: choose kind HTTPS" if data.startswith(_TLS_RECORDS) else ""
    return f"the answer is not HTTP/1.1: {quote(data)}{hint}"
