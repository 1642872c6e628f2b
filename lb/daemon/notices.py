# SPDX-License-Identifier: Apache-2.0
"""What an operator should hear of without asking: logged, and sent to those who watch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from lb.core.events import Body, MovesHeldBack, NextHopChanged
from lb.core.model import Hop, NextHop, Protocol, RingState, Unresolved
from lb.core.planner import Plan

log = logging.getLogger("lb.reconciler")


class Notices:
    """Remembers what was said, so that it is said once."""

    def __init__(self, emit: Callable[[Body], None]) -> None:
        self._emit = emit
        self._held_back: set[tuple[str, Protocol]] = set()
        self._failing_open: frozenset[str] = frozenset()

    def planned(self, before: Plan | None, now: Plan) -> None:
        """A plan was carried out: next hops that came or went, pools that began or ceased to fail open."""
        if before is not None and now.backends is not before.backends:
            for key, state in now.backends.items():
                known = before.backends.get(key)
                if known is not state and (_is_news(state.hop) if known is None else known.hop != state.hop):
                    self._hop(*key, state.hop)
        for pool in sorted(now.failing_open - self._failing_open):
            log.warning("pool %s fails open: too few of its backends are UP, so all enabled ones are used", pool)
        for pool in sorted(self._failing_open - now.failing_open):
            log.info("pool %s no longer fails open", pool)
        self._failing_open = now.failing_open

    def _hop(self, pool: str, name: str, hop: Hop) -> None:
        if isinstance(hop, NextHop):
            via = f"{hop.mac.hex(':')} via {hop.interface}"
            log.info("backend %s/%s: next hop %s", pool, name, via)
            self._emit(NextHopChanged(pool, name, via, ""))
        else:
            log.warning("backend %s/%s: no next hop: %s", pool, name, hop.reason)
            self._emit(NextHopChanged(pool, name, "", hop.reason))

    def rings(self, states: Mapping[str, tuple[RingState, ...]]) -> None:
        """Moves that are held back for too long."""
        late = {(pool, state.protocol) for pool, found in states.items() for state in found if state.held_back}
        for pool, protocol in sorted(late - self._held_back):
            log.warning(
                "pool %s, %s: slots have been moving for more than twice their time, because flows cannot be tracked: "
                "the flow table is too full",
                pool,
                protocol.name,
            )
            self._emit(MovesHeldBack(pool, protocol))
        self._held_back = late


def _is_news(hop: Hop) -> bool:
    """Whether the hop of a new backend is worth a word: a change may bring thousands, and was told of as a whole."""
    return isinstance(hop, Unresolved)
