# SPDX-License-Identifier: Apache-2.0
"""Whether the kernel takes BPF programs of us: the shortest ones are loaded, and let go at once."""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from lb.core.errors import UnavailableError
from lb.dataplane import libbpf
from lb.observe.findings import ok, problem
from lb.ports import Finding, Severity

Load = Callable[[int], None]

_SCHED_CLS = 3
_RETURN_ZERO = bytes.fromhex("b700000000000000 9500000000000000")
"""r0 = 0; exit"""


@dataclass(frozen=True, slots=True)
class _Trial:
    kind: int
    check: str
    severity: Severity
    consequence: str


_TRIALS: Final = (
    _Trial(libbpf.PROG_TYPE_XDP, "XDP program", Severity.PROBLEM, "nothing is balanced"),
    _Trial(_SCHED_CLS, "tc program", Severity.WARNING, "health checks go to the backends' own addresses"),
)


def load(kind: int) -> None:
    """Load a program of a type that does nothing. Raises ``OSError``, ``UnavailableError`` without libbpf."""
    instructions = len(_RETURN_ZERO) // 8
    fd = libbpf.library().bpf_prog_load(kind, b"lb_trial", b"GPL", _RETURN_ZERO, instructions, None)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    os.close(fd)


def examine_programs(load: Load = load) -> Iterator[Finding]:
    """Load one program of each type that lbd needs."""
    for trial in _TRIALS:
        try:
            load(trial.kind)
        except UnavailableError as error:
            # Its message names the remedy.
            yield problem("machine", "libbpf", "missing", error.message)
            return
        except OSError as error:
            yield _refused(trial, error)
        else:
            yield ok("machine", trial.check, "can be loaded")


def _refused(trial: _Trial, error: OSError) -> Finding:
    if error.errno in (errno.EPERM, errno.EACCES):
        remedy = (
            "run as root, or with CAP_BPF and CAP_NET_ADMIN; if that is so, the kernel is locked down: see "
            "/sys/kernel/security/lockdown"
        )
    else:
        remedy = "run a kernel with CONFIG_BPF_SYSCALL"
    observation = f"cannot be loaded ({error.strerror}), so {trial.consequence}"
    return Finding(trial.severity, "machine", trial.check, observation, remedy)


def examine_compiler(is_there: Callable[[str], object] = importlib.util.find_spec) -> Finding:
    """Whether the compiler of the data plane is installed; it is not loaded, which would take 100 MB."""
    if is_there("bcc"):
        return ok("machine", "BPF compiler", "installed")
    remedy = "`apt-get install python3-bpfcc`, for a virtual environment made with --system-site-packages"
    return problem("machine", "BPF compiler", "Python's module bcc is missing", remedy)
