# SPDX-License-Identifier: Apache-2.0
"""`lbctl backend drain --wait`: watch drains until they end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lb.cli.durations import span
from lb.cli.exits import Exit, Failure
from lb.cli.names import BACKEND, Name, short
from lb.cli.output import note

if TYPE_CHECKING:
    from lb.cli.client import Client
    from lb.v1.backend_pb2 import Backend

POLL_SECONDS = 1.0
CLOCK_SLACK_SECONDS = 5
"""A deadline comes by lbd's clock, which may be on another machine."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one drain. ``words``: how far it is. ``left``: until its deadline, in words, "" without one.

    ``silent``: it may have flows that no table knows.
    """

    name: str
    flows: int
    words: str
    left: str = ""
    done: bool = False
    silent: bool = False


Show = Callable[[Sequence[Progress]], None]


def wait(client: Client, names: Sequence[Name]) -> None:
    """Return when all are drained, or cut at their deadline.

    Raises ``Failure`` when one is no longer draining, for Ctrl-C, and when lbd can't be asked any more.
    """
    try:
        with _display() as show:
            _watch(client, names, show)
    except KeyboardInterrupt:
        raise Failure(Exit.FAILED, "stopped waiting", _goes_on(names)) from None


def _watch(client: Client, names: Sequence[Name], show: Show) -> None:
    deadlines: dict[Name, int] = {}
    ended: dict[Name, Progress] = {}
    while True:
        now = time.time()
        found = {name: ended.get(name) or _ask(client, names, name, deadlines, now) for name in names}
        show(list(found.values()))
        ended = {name: progress for name, progress in found.items() if progress.done}
        if len(ended) == len(names):
            return
        time.sleep(POLL_SECONDS)


def _ask(client: Client, names: Sequence[Name], name: Name, deadlines: dict[Name, int], now: float) -> Progress:
    """How far one drain is; notes its deadline, which is gone when it has come."""
    try:
        backend = client.get(BACKEND, name)
    except Failure as failure:
        if failure.exit_code == Exit.NOT_FOUND:
            raise Failure(Exit.FAILED, f"{short(name.full)} was deleted meanwhile: its flows were cut") from failure
        raise Failure(Exit(failure.exit_code), failure.message, _goes_on(names)) from failure
    progress = progress_of(backend, deadlines.get(name, 0), now)
    deadlines[name] = backend.drain_deadline_at_seconds
    return progress


def progress_of(backend: Backend, deadline: int, now: float) -> Progress:
    """How far a drain is.

    Args:
        backend: As lbd shows it.
        deadline: That it had when it was last seen draining, in seconds since the epoch; 0 = none.
        now: Seconds since the epoch.

    Raises:
        Failure: It is not draining any more, and not by its deadline.
    """
    from lb.cli.backend_view import cut_text, drain_text

    name, status = short(backend.name), backend.status
    if backend.admin_state == backend.DISABLED:
        if not status.drain.cut_flows and not 0 < deadline <= now + CLOCK_SLACK_SECONDS:
            raise Failure(Exit.FAILED, f"{name} was disabled meanwhile: its flows were cut")
        return Progress(name, 0, cut_text(status.drain.cut_flows), done=True)
    if backend.admin_state != backend.DRAINING:
        raise Failure(Exit.FAILED, f"{name} takes new flows again: its drain was ended meanwhile")
    if not status.HasField("drain"):
        return Progress(name, 0, "flows not counted yet")
    until = backend.drain_deadline_at_seconds
    left = f"deadline in {span(until - now)}" if until and not status.drain.drained else ""
    silent = status.drain.untracked_until.seconds > now
    return Progress(name, status.drain.flows, drain_text(status.drain, now), left, status.drain.drained, silent)


@contextmanager
def _display() -> Iterator[Show]:
    """Bars where people look; elsewhere a line when something has changed, so that a log stays short."""
    if sys.stderr.isatty():
        from lb.cli.bars import DrainBars

        with DrainBars() as bars:
            yield bars.show
    else:
        yield _Lines().show


class _Lines:
    def __init__(self) -> None:
        self._shown: dict[str, tuple[int, bool, bool]] = {}

    def show(self, drains: Sequence[Progress]) -> None:
        """Print those of which there is news; rates and times change all the time."""
        for drain in drains:
            state = drain.flows, drain.done, drain.silent
            if self._shown.get(drain.name) != state:
                note(f"{drain.name}: {', '.join(filter(None, (drain.words, drain.left)))}")
            self._shown[drain.name] = state


def _goes_on(names: Sequence[Name]) -> tuple[str, ...]:
    first = short(names[0].full)
    return (
        f"the drain of {', '.join(short(name.full) for name in names)} goes on",
        f"`lbctl backend get {first}` shows it, `lbctl backend undrain {first}` ends it",
    )
