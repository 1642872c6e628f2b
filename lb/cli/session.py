# SPDX-License-Identifier: Apache-2.0
"""Opening a connection, and loading gRPC only then: `lbctl --help` has no use for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lb.cli.options import PATIENT_TIMEOUT_SECONDS, TIMEOUT_SECONDS, Settings, settings

if TYPE_CHECKING:
    from lb.cli.client import Client


@contextmanager
def connect(
    chosen: Settings | None = None, *, timeout_seconds: float | None = None, patient: bool = False
) -> Iterator[Client]:
    """A client of the daemon that the global options name; closed at the end.

    Args:
        chosen: The global options; those of the running command when None.
        timeout_seconds: For each call, instead of the global option.
        patient: Wait longer where the global option does not say how long.

    Raises:
        Failure: The daemon can't be reached.
    """
    options = chosen or settings()
    options.target.check()
    # gRPC's own log lines would mix with our messages.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from lb.cli.client import Client

    default_seconds = PATIENT_TIMEOUT_SECONDS if patient else TIMEOUT_SECONDS
    client = Client(options.target, timeout_seconds or options.timeout_seconds or default_seconds)
    try:
        yield client
    finally:
        client.close()
