# SPDX-License-Identifier: Apache-2.0
"""One slot, one 5-tuple, three backends, one packet in flight: every step that either plane can take from a state.

The control plane's step is ``lb.core.slots.transition`` itself, the data plane's ``steer.steering``. All else here is
what may happen to them: ring answers, refusals, time, restarts, port reuse, and each plane's step between any two
steps of the other.

What keeps the space small, and why that hides nothing:
* Ages, not times. An age is capped where no rule can tell it from a higher one.
* Epochs are compared for equality and parity only: an entry's is "the backend's present one", or the entry is DEAD
  (its epoch never comes back). A packet in flight sees at most one change of each (the fence), so what it has read is
  "present" or "the one before".
* Backends have no order: states that differ by their numbering are one (``canonical``).
* A packet whose next step reads nothing ends at once: nobody can see the difference.
"""

from __future__ import annotations

from collections.abc import Iterator

from lb.core.slots import TRACKED, Kind, base, current, kind
from model.control import control
from model.parameters import Model, Violation
from model.state import DEAD, DIRTY, SLOT_DIRTY, TORN, EntryFields, State, names_of, renumbered
from model.steer import Read
from model.traffic import arrivals, go_on, in_flight


def steps(model: Model, state: State) -> Iterator[tuple[str, State]]:
    """Every (label, next state), not yet canonical. Raises ``Violation``."""
    if state.flight is None:
        yield from arrivals(model, state)
    else:
        yield from in_flight(model, state)
    yield from control(model, state)
    under_way = [doing for doing in (state.flight, state.batch) if doing is not None]
    if not under_way or (model.drift and not any(doing.ticked for doing in under_way)):
        yield "tick", _tick(model, state)


def _tick(model: Model, state: State) -> State:
    flow, flight, batch = state.flow, state.flight, state.batch
    if flow is not None:
        flow = (flow[0], flow[1], flow[2] + 1) if flow[2] + 1 < model.limit(flow[1]) else None
    entry = state.entry
    if entry is not None and entry != DEAD:
        entry = model.aged((entry[0], entry[1], entry[2] + 1))
    return state._replace(
        moved=state.moved + 1,
        refused=state.refused + 1,
        entry=entry,
        flow=flow,
        flight=flight and flight._replace(ticked=1),
        batch=batch and batch._replace(ticked=1, moved=batch.moved + 1),
    )


def check(model: Model, state: State) -> None:
    """The promise as an ICMP error would test it, in every state; I1, I2, I3 when no batch is half written."""
    word = state.word
    # While its packet is in flight the flow has spoken, and the table may not know it yet.
    flow = state.flow if state.flight is None else None
    entry = state.entry
    alive = entry is not None and entry != DEAD and entry[2] < model.limit(entry[1]) + model.slack
    seen = entry if alive or entry is None else DEAD
    reachable = state.batch is None or state.batch.reachable
    if flow is not None and reachable:
        sent = model.quoted(word, seen, state.odd)
        if sent != flow[0]:
            raise Violation(f"a flow on {flow[0]} would be sent to {sent}")
    if state.batch is not None or state.flags & TORN:
        return
    match kind(word):
        case Kind.STABLE:
            if alive and entry is not None and entry[0] != current(word):
                raise Violation("I1: a STABLE slot has a live entry of another backend")
        case Kind.MOVING:
            if not state.odd >> base(word) & 1:
                raise Violation("I2: the old backend does not accept")
            if flow is not None and not alive and flow[0] != base(word):
                raise Violation("I2: a flow without an entry is not on the old backend")
        case Kind.TRACKED:
            if flow is not None and not alive and flow[0] != current(word):
                raise Violation("I3: a flow without an entry is not on the slot's backend")


def canonical(model: Model, state: State) -> State:
    """The representative of all states that no step and no check can tell apart.

    A fence only ever enables steps, so it is taken as soon as it can be. Likewise a packet looks its entry up at
    once where nobody could change the answer before it does.
    """
    if state.flight is not None and len(state.flight.answers) == 1 and _lookup_is_sure(model, state.entry):
        state = go_on(model, state, state.flight, Read.ENTRY)
    word, odd, accepting, moved, refused, entry, flow, flight, batch, flags = state
    if flags & DIRTY and batch is None and (flight is None or not flight.overlap):
        flags &= ~(DIRTY | SLOT_DIRTY)
    limit = model.move
    if (old := word >> 16) == word & 0xFFFF or old == TRACKED:
        # A refusal with no move going on can't hold one back, nor can one from before it began.
        moved, refused = 0, limit
    else:
        moved = min(limit, moved)
        refused = refused if refused < moved else limit
    if batch is not None and batch.moved > limit:
        batch = batch._replace(moved=limit)
    first, looked_up, lost = 0, 0, 0
    if flight is not None:
        lost = flight.lost
        assert isinstance(flight.answers[0], int)
        first = flight.answers[0]
        if len(flight.answers) > 1 and isinstance(flight.answers[1], tuple):
            looked_up = flight.answers[1][0]
    names = names_of(
        word,
        entry[0] if entry is not None else 0,
        flow[0] if flow is not None else 0,
        first,
        looked_up,
        lost,
        odd,
        accepting,
        batch and (batch.word, batch.flips, batch.accepting),
        model.backends,
    )
    plain = State(word, odd, accepting, moved, refused, entry, flow, flight, batch, flags)
    return plain if names is None else renumbered(plain, names)


def _lookup_is_sure(model: Model, entry: EntryFields | None) -> bool:
    return entry is None or (entry != DEAD and entry[2] < model.limits[entry[1]] + model.slack)
