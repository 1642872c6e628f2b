# SPDX-License-Identifier: Apache-2.0
"""The control plane's steps: batches, one store at a time; scans, the collector, restarts."""

from __future__ import annotations

from collections.abc import Iterator

from lb.core.slots import NONE, Kind, kind, stable
from model.parameters import Model
from model.state import (
    CLEAR,
    DEAD,
    DIRTY,
    DOOMED,
    HOLD,
    LATER,
    SLOT_DIRTY,
    TORN,
    Batch,
    Flight,
    State,
    members,
    subsets,
)
from model.steer import Read, epoch_of


def control(model: Model, state: State) -> Iterator[tuple[str, State]]:
    flags, flight = state.flags, state.flight
    if state.batch is not None:
        yield from _write(model, state, state.batch)
    elif not flags & DIRTY:
        yield from _plans(model, state)
    if not flags & (DIRTY | DOOMED) and state.entry == DEAD:
        yield "collector reads", state._replace(flags=flags | DOOMED)
    if flags & DOOMED:
        yield "collector deletes", state._replace(entry=None, flags=flags & ~DOOMED)
    if not flags & (SLOT_DIRTY | CLEAR) and kind(state.word) is Kind.TRACKED and not _seen_by_scan(model, state):
        yield "scan", state._replace(flags=flags | CLEAR)
    restarted = state._replace(
        accepting=state.odd,
        moved=0,
        refused=0,
        batch=None,
        flags=(flags | DIRTY | SLOT_DIRTY | (TORN if state.batch else 0)) & ~(CLEAR | DOOMED),
        flight=flight and flight._replace(overlap=1),
    )
    yield "restart", restarted


def _seen_by_scan(model: Model, state: State) -> bool:
    entry = state.entry
    if entry is None or entry == DEAD:
        return False
    return model.blocks(state.word, entry[0], entry[1])


def _plans(model: Model, state: State) -> Iterator[tuple[str, State]]:
    """Begin a batch: any set of accepting backends, any ring answer among them."""
    assert not state.flags & SLOT_DIRTY, "I6"
    is_due = kind(state.word) is Kind.MOVING and state.moved >= model.move and state.refused >= model.move
    if model.hold:
        if state.flags & HOLD:
            yield "hold ends", _stored(state._replace(flags=state.flags & ~HOLD))
        elif is_due:
            yield "hold", _stored(state._replace(flags=state.flags | HOLD))
    timers = bool(state.flags & HOLD) or not model.hold
    # A batch that was cut short is mended first, with the epochs as they are: a MOVING slot whose old backend had
    # stopped accepting may have flows without an entry on its new one, so it must not be found accepting again.
    torn = bool(state.flags & TORN) and model.mend
    for accepting in (state.odd,) if torn else subsets(model.backends):
        for n in (NONE, *members(accepting)):
            for clear in (False, True) if state.flags & CLEAR else (False,):
                word, moved = model.plan(
                    state.word,
                    n,
                    min(state.moved, model.move),
                    min(state.refused, model.move),
                    accepting,
                    clear,
                    timers,
                )
                flips = state.odd ^ accepting
                choices = [flips]
                if model.silent_disable:
                    choices.append(flips & ~(state.odd & ~accepting))
                for flip in choices:
                    if flip or word != state.word or accepting != state.accepting or state.flags & TORN:
                        batch = Batch(flip, accepting, word, moved, 0, 1)
                        yield f"batch {accepting:b} n={n}", _begin(model, state, batch)
            if state.flight is None:
                # Row 0: the VIP goes away and comes back, and the pool gets a ring of a new number.
                entry = state.entry if model.same_ring or state.entry is None else DEAD
                gone = state._replace(flow=None, entry=entry)
                batch = Batch(state.odd ^ accepting, accepting, stable(n), 0, 0, 0)
                yield f"vip away, {accepting:b} n={n}", _begin(model, gone, batch)


def _begin(model: Model, state: State, batch: Batch) -> State:
    return _end(model, state._replace(batch=batch))


def _write(model: Model, state: State, batch: Batch) -> Iterator[tuple[str, State]]:
    if not batch.flips:
        stored = state._replace(word=batch.word, moved=batch.moved, flags=state.flags & ~CLEAR | SLOT_DIRTY)
        yield f"word {batch.word:08x}", _end(model, _stored(stored))
        return
    for backend in members(batch.flips):
        bit = 1 << backend
        flow, entry, flight = state.flow, state.entry, state.flight
        if state.odd & bit:
            flow = None if flow is not None and flow[0] == backend else flow
            flight = flight and flight._replace(lost=flight.lost | bit)
        if entry is not None and entry[0] == backend:
            entry = DEAD
        flight = flight and flight._replace(answers=_later(model, flight, backend))
        then = state._replace(
            odd=state.odd ^ bit,
            accepting=(state.accepting & ~bit) | (~state.odd & bit),
            flow=flow,
            entry=entry,
            flight=flight,
            batch=batch._replace(flips=batch.flips ^ bit),
        )
        yield f"epoch of {backend}", _end(model, _stored(then))


def _stored(state: State) -> State:
    """Something was written."""
    flight = state.flight
    return state._replace(flags=state.flags | DIRTY, flight=flight and flight._replace(overlap=1))


def _end(model: Model, state: State) -> State:
    """A batch that has nothing left to write is over."""
    batch = state.batch
    assert batch is not None
    if batch.flips or batch.word != state.word:
        return state
    after = state._replace(batch=None, accepting=batch.accepting, flags=state.flags & ~TORN)
    if not model.silent_disable:
        return after
    flow, flight = state.flow, state.flight
    return after._replace(
        flow=flow if flow is not None and batch.accepting >> flow[0] & 1 else None,
        flight=flight and flight._replace(lost=flight.lost | state.accepting & ~batch.accepting),
    )


def _later(model: Model, flight: Flight, backend: int) -> tuple[object, ...]:
    """What a packet has read, now that the backend's epoch has changed."""
    answers: list[object] = list(flight.answers)
    for i in range(1, len(answers)):
        request = model.progress(flight.packet, flight.answers[:i])
        answer = answers[i]
        if request == Read.ENTRY and isinstance(answer, tuple) and answer[0] == backend:
            answers[i] = (backend, LATER.get(answer[1], answer[1]), *answer[2:])
        elif request == epoch_of(backend):
            assert isinstance(answer, int)
            answers[i] = LATER[answer]
    return tuple(answers)
