# SPDX-License-Identifier: Apache-2.0
"""Progress bars on a terminal, with rich; without colour where NO_COLOR is set (https://no-color.org)."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from lb.cli import drain_wait

BAR_WIDTH = 20


class DrainBars:
    """A line with a bar for each drain, on stderr; they stay when it ends."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(BAR_WIDTH),
            TextColumn("{task.fields[words]}", markup=False, table_column=Column(overflow="fold")),
            TextColumn("{task.fields[left]}", markup=False),
            console=Console(stderr=True),
            # One picture for each answer of lbd: no thread that draws in between.
            auto_refresh=False,
        )
        self._bars: dict[str, TaskID] = {}
        self._most: dict[str, int] = {}

    def __enter__(self) -> DrainBars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, drains: Sequence[drain_wait.Progress]) -> None:
        """Draw the present state."""
        for drain in drains:
            most = self._most[drain.name] = max(drain.flows, self._most.get(drain.name, 0))
            if drain.name not in self._bars:
                self._bars[drain.name] = self._progress.add_task(drain.name, words="", left="")
            # The last step is the end itself: without flows a drain may still have to wait for silent ones.
            self._progress.update(
                self._bars[drain.name],
                total=most + 1,
                completed=most + 1 if drain.done else most - drain.flows,
                words=drain.words,
                left=drain.left,
            )
        self._progress.refresh()
