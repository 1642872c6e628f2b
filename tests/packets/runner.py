# SPDX-License-Identifier: Apache-2.0
"""BPF_PROG_TEST_RUN in a loop: buffers and options are made once, which leaves about 2 microseconds a packet."""

from __future__ import annotations

import ctypes
import os

from lb.dataplane import libbpf

LONGEST = 3400
"""Bytes of the longest frame that fits a test run's page."""

SHORTEST = 14
_ROOM = LONGEST + 256


class Runner:
    """Runs packets that arrive on one interface of the caller's network namespace."""

    def __init__(self, program: int, ifindex: int) -> None:
        self._program = program
        self._given = (ctypes.c_char * LONGEST)()
        self._out = (ctypes.c_char * _ROOM)()
        self._view = memoryview(self._given).cast("B")
        self._result = memoryview(self._out).cast("B")
        self._context = libbpf.XdpMd(ingress_ifindex=ifindex)
        self._opts = libbpf._TestRunOpts(
            sz=ctypes.sizeof(libbpf._TestRunOpts),
            data_in=ctypes.addressof(self._given),
            data_out=ctypes.addressof(self._out),
            ctx_in=ctypes.addressof(self._context),
            ctx_size_in=ctypes.sizeof(self._context),
            repeat=1,
        )
        self._pointer = ctypes.byref(self._opts)
        self._call = libbpf.library().bpf_prog_test_run_opts

    def run(self, packet: bytes) -> tuple[int, bytes]:
        """XDP action and the frame afterwards; ``packet``: SHORTEST to LONGEST bytes."""
        size = len(packet)
        self._view[:size] = packet
        self._context.data_end = size
        self._opts.data_size_in = size
        self._opts.data_size_out = _ROOM
        if self._call(self._program, self._pointer) < 0:
            raise OSError(ctypes.get_errno(), f"test run of {size} bytes: {os.strerror(ctypes.get_errno())}")
        return self._opts.retval, bytes(self._result[: self._opts.data_size_out])
