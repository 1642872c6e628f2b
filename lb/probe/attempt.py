# SPDX-License-Identifier: Apache-2.0
"""One probe on its way."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lb.core.checks import Target


class Stage(enum.Enum):
    """How far a probe has come: what there is to say when its time is up."""

    SENT = "no answer"
    CONNECTED = "connected, but no answer"
    HANDSHAKE = "connected, but the TLS handshake did not end"
    ANSWERING = "the answer did not end"


@dataclass(slots=True)
class Attempt:
    """``stage`` is kept up to date by the probe."""

    target: Target
    stage: Stage = Stage.SENT


Probe = Callable[[Attempt], Awaitable[None]]
"""Returns when the backend passed. Raises ``Failed``, ``Unable``, or ``OSError`` of its sockets. Knows no timeout."""
