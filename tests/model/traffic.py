# SPDX-License-Identifier: Apache-2.0
"""The data plane's steps: packets arrive, read one thing at a time, and land."""

from __future__ import annotations

from collections.abc import Iterator

from lb.core.slots import NONE, Life
from model.parameters import Model, Violation
from model.state import DEAD, DOOMED, ODD, EntryFields, Flight, FlowFields, State
from model.steer import Decision, Entry, Packet, Read


def arrivals(model: Model, state: State) -> Iterator[tuple[str, State]]:
    if state.batch is not None and not state.batch.reachable:
        return
    for packet in (Packet.UDP,) if model.udp else (Packet.SYN, Packet.DATA, Packet.FIN, Packet.RST):
        flow = state.flow
        if packet is Packet.SYN:
            flow = None
        elif flow is not None:
            life = flow[1]
            if packet in (Packet.FIN, Packet.RST):
                life = Life.CLOSING
            elif life == Life.HALF_OPEN:
                life = Life.ESTABLISHED
            flow = flow[0], life, 0
        overlap = int(state.batch is not None)
        flight = Flight(packet, (state.word,), 0, overlap, 0)
        yield f"{packet.name} arrives", _land(model, state._replace(flow=flow, flight=flight))


def in_flight(model: Model, state: State) -> Iterator[tuple[str, State]]:
    flight = state.flight
    assert flight is not None
    request = model.progress(flight.packet, flight.answers)
    assert not isinstance(request, Decision)
    if request == Read.ROOM:
        if state.entry is None:
            yield "inserts", _land(model, state._replace(flight=flight._replace(answers=(*flight.answers, True))))
        yield "finds no room", _land(model, state._replace(flight=flight._replace(answers=(*flight.answers, False))))
        return
    yield f"reads {request}", go_on(model, state, flight, request)


def go_on(model: Model, state: State, flight: Flight, request: int) -> State:
    answer = model.read(request, state.word, state.entry, state.odd, state.flags, flight.ticked)
    return _land(model, state._replace(flight=flight._replace(answers=(*flight.answers, answer))))


def _land(model: Model, state: State) -> State:
    """Carry out the decision of a packet that has come to one."""
    flight = state.flight
    assert flight is not None
    decision = model.progress(flight.packet, flight.answers)
    if not isinstance(decision, Decision):
        return state
    entry, refused = state.entry, state.refused
    if decision.insert is not None:
        assert entry is None
        entry = _stored(decision.insert, flight.ticked)
    if decision.write is not None:
        if entry is None or state.flags & DOOMED:
            raise Violation("a packet writes to an entry that the collector has taken")
        entry = model.aged(_stored(decision.write, flight.ticked))
    if decision.refused:
        refused = flight.ticked
    flow = _flow_after(model, state, flight, decision.backend)
    return state._replace(entry=entry, refused=refused, flow=flow, flight=None)


def _flow_after(model: Model, state: State, flight: Flight, backend: int) -> FlowFields | None:
    flow = state.flow
    if flow is not None and backend != flow[0] and not (backend == NONE and _held(model, flight)):
        raise Violation(f"a flow on {flow[0]} is sent to {backend}")
    if flight.packet == Packet.RST and model.rst_ends:
        return None
    new = flight.packet == Packet.SYN or (flight.packet == Packet.UDP and flow is None)
    if new and backend != NONE and (state.odd & state.accepting & ~flight.lost) >> backend & 1:
        life = Life.HALF_OPEN if flight.packet == Packet.SYN else Life.ESTABLISHED
        return (backend, life, flight.ticked) if flight.ticked < model.limit(life) else None
    return flow


def _held(model: Model, flight: Flight) -> bool:
    """Whether the packet was dropped because new flows are on hold: loss, not a change of backend."""
    return flight.answers[-1] is True and model.progress(flight.packet, flight.answers[:-1]) == Read.HOLD


def _stored(entry: Entry, ticked: int) -> EntryFields:
    return (entry.backend, entry.life, ticked) if entry.epoch == ODD else DEAD
