# SPDX-License-Identifier: Apache-2.0
"""Breadth-first exploration of the model: every reachable state, or the shortest way to one that must not be."""

from __future__ import annotations

import gc
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from model.machine import canonical, check, steps
from model.parameters import Model, Violation
from model.state import START, State


@dataclass(frozen=True)
class Result:
    """``complete``: there are no other states. ``trace``: the steps that lead to ``violation``, shortest first."""

    states: int
    complete: bool
    violation: str = ""
    trace: tuple[str, ...] = ()


def explore(model: Model, max_states: int) -> Result:
    """Visit states in the order of their distance from an empty ring until all, ``max_states`` or a violation."""
    # A million tuples without a cycle among them: looking for one would take a fifth of the time.
    gc.disable()
    try:
        return _explore(model, max_states)
    finally:
        gc.enable()


def _explore(model: Model, max_states: int) -> Result:
    parents: dict[State, State | None] = {START: None}
    queue = deque([START])
    while queue:
        state = queue.popleft()
        label = "?"
        try:
            for label, then in steps(model, state):  # noqa: B007 - read when a step fails
                after = canonical(model, then)
                if after in parents:
                    continue
                check(model, after)
                parents[after] = state
                queue.append(after)
        except Violation as violation:
            return Result(len(parents), False, str(violation), (*_trace(model, state, parents), f"then: {label}"))
        if len(parents) >= max_states:
            return Result(len(parents), not queue)
    return Result(len(parents), True)


def _trace(model: Model, last: State, parents: dict[State, State | None]) -> list[str]:
    path = [last]
    while (parent := parents[path[-1]]) is not None:
        path.append(parent)
    path.reverse()
    lines = [_show(path[0])]
    for before, after in pairwise(path):
        label = next(step for step, then in steps(model, before) if canonical(model, then) == after)
        lines.append(f"{label:24} {_show(after)}")
    return lines


def _show(s: State) -> str:
    text = f"word={s.word:08x} accepting={s.odd:04b} moved={s.moved} refused={s.refused} entry={s.entry} flow={s.flow}"
    return f"{text} flags={s.flags:05b} flight={s.flight and tuple(s.flight)} batch={s.batch and tuple(s.batch)}"
