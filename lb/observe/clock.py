# SPDX-License-Identifier: Apache-2.0
"""Whether anything keeps the clock in step."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

from lb.observe.findings import ok, warning
from lb.ports import Finding

_TIMEX_BYTES = 256
"""struct timex has 208 on 64-bit Linux."""

_TIME_ERROR = 5
"""What adjtimex returns while the clock is not synchronised."""


def clock_state() -> int:
    """What adjtimex says of the clock; with no mode set it changes nothing. Raises ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)
    state = int(libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return state


def examine_clock(state: Callable[[], int] = clock_state) -> Finding:
    """Ask the kernel."""
    try:
        is_in_step = state() != _TIME_ERROR
    except OSError as error:
        # A unit's SystemCallFilter= may forbid it.
        return ok("machine", "clock", f"may not be asked ({error.strerror}); `timedatectl` shows it")
    if is_in_step:
        return ok("machine", "clock", "synchronised")
    remedy = (
        "run an NTP client (`timedatectl set-ntp true`): certificates, drain deadlines, the history go by this clock"
    )
    return warning("machine", "clock", "nothing keeps it in step", remedy)
