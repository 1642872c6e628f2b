# SPDX-License-Identifier: Apache-2.0
"""The program, compiled and bound to the pinned maps, and the devmap that it sends through."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from lb.core.errors import UnavailableError
from lb.dataplane import libbpf
from lb.dataplane.compiler import Object, compile_source
from lb.dataplane.map_set import MapSet
from lb.dataplane.maps import EGRESS, SYMBOLS
from lb.dataplane.pins import MAPS, PROGRAM
from lb.dataplane.source import Source


class Program:
    """The program of one bpf dir; ``fd`` and ``egress_fd`` are -1 while none is loaded."""

    def __init__(self, bpf_dir: Path, maps: MapSet) -> None:
        self._bpf_dir = bpf_dir
        self._maps = maps
        self._compiled: Object | None = None
        self._flags = 0
        self.fd = -1
        self.egress_fd = -1
        self.hash_keys: tuple[int, ...] = ()

    def load(self, source: Source, flags: int) -> None:
        """Compile and load; ``flags`` of BPF_PROG_LOAD. Raises ``UnavailableError``."""
        compiled = compile_source(source, [PROGRAM], SYMBOLS)
        self.close()
        try:
            # Made anew with each program: a devmap remembers its first program's flags.
            self.egress_fd = EGRESS.create()
            self._carry_egress_over()
            self._compiled, self._flags, self.hash_keys = compiled, flags, source.hash_keys
            self.fd = self.copy({})
        except OSError as error:
            raise UnavailableError(f"cannot load the XDP program: {error.strerror or error}") from error

    def copy(self, others: Mapping[str, int]) -> int:
        """Load the same instructions again, with ``others`` (name to fd) in the place of the pinned maps.

        Returns the program's fd. Raises ``OSError``.
        """
        assert self._compiled is not None
        fds = {**self._maps.fds(), EGRESS.name: self.egress_fd, **others}
        return libbpf.prog_load(PROGRAM, self._compiled.bind(PROGRAM, fds), self._flags)

    def _carry_egress_over(self) -> None:
        """Interfaces that the program before could send to: a backend without a next hop just now keeps its flows."""
        try:
            before = libbpf.obj_get(self._bpf_dir / MAPS / EGRESS.name)
        except FileNotFoundError:
            return
        try:
            for key in list(libbpf.map_keys(before, EGRESS.key_size)):
                # The interface may have gone meanwhile.
                with contextlib.suppress(OSError):
                    self._allow(key)
        finally:
            os.close(before)

    def allow(self, ifindex: int) -> None:
        """Let it send to an interface."""
        self._allow(ifindex.to_bytes(4, "little"))

    def _allow(self, key: bytes) -> None:
        libbpf.map_update(self.egress_fd, key, key)

    def pin(self) -> None:
        """Make it the one of the bpf dir. Raises ``OSError``."""
        libbpf.obj_pin(self.egress_fd, self._bpf_dir / MAPS / EGRESS.name)
        libbpf.obj_pin(self.fd, self._bpf_dir / PROGRAM)

    def close(self) -> None:
        """Let go of it; what is pinned or attached stays."""
        for fd in (self.egress_fd, self.fd):
            if fd >= 0:
                os.close(fd)
        self.egress_fd = self.fd = -1
