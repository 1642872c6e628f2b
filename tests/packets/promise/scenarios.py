# SPDX-License-Identifier: Apache-2.0
"""Short ways to break a flow, one for each rule that forbids it: what happens when the rule is taken out.

The program and the planner as they are keep every promise in them. Wherever a packet is sent the book checks it, and
after every batch the invariants are checked.
"""

from __future__ import annotations

from dataclasses import replace

from packets.promise import check
from packets.promise.frames import Kind
from packets.promise.lab import CLIENTS, Lab, backend

from lb.core.model import AdminState

_CLIENTS = CLIENTS["web"]


def _send(lab: Lab, kind: Kind) -> None:
    for client in _CLIENTS:
        lab.send(client, kind)


def _begin(lab: Lab, *numbers: int) -> None:
    lab.reset(0)
    lab.between = 0
    _join(lab, *numbers)
    _send(lab, Kind.SYN)
    _send(lab, Kind.DATA)


def _join(lab: Lab, *numbers: int) -> None:
    lab.members = [*lab.members, *map(backend, numbers)]
    lab.change()


def _set(lab: Lab, number: int, state: AdminState, refuse_at: float = 1.0) -> None:
    lab.member(number, lambda member: replace(member, admin_state=state))
    lab.change(refuse_at=refuse_at)


def a_slot_moves(lab: Lab) -> None:
    """Flows without an entry stay on the old backend."""
    _begin(lab, 1)
    _join(lab, 2)
    _send(lab, Kind.DATA)


def a_move_ends(lab: Lab) -> None:
    """Flows that spoke during the move stay where they are after it."""
    _begin(lab, 1)
    _join(lab, 2)
    lab.pass_time(100)
    _send(lab, Kind.DATA)
    lab.pass_time(35)
    lab.tick()
    _send(lab, Kind.DATA)


def a_move_ends_while_flows_are_refused(lab: Lab) -> None:
    """A flow that could not be tracked stays, because its move goes on."""
    _begin(lab, 1)
    _join(lab, 2)
    lab.control.data_plane.flows.refill(0, 0)
    lab.pass_time(100)
    _send(lab, Kind.DATA)
    lab.pass_time(35)
    lab.tick()
    _send(lab, Kind.DATA)


def a_move_ends_as_flows_begin(lab: Lab) -> None:
    """A new flow that is refused between the decision to end its move and the writing of its slot."""
    _begin(lab, 1)
    _join(lab, 2)
    lab.pass_time(140)
    lab.control.data_plane.flows.refill(0, 0)
    lab.between = 100
    lab.tick()
    for client in _CLIENTS:
        if client in lab.book.flows:
            lab.send(client, Kind.DATA)


def a_port_is_used_again(lab: Lab) -> None:
    """A new flow has the whole of its time, whatever the last one of its 5-tuple left behind."""
    _begin(lab, 1)
    _join(lab, 2)
    _send(lab, Kind.DATA)
    lab.pass_time(100)
    _send(lab, Kind.FIN)
    lab.pass_time(35)
    lab.tick()
    _send(lab, Kind.SYN)
    _send(lab, Kind.DATA)
    lab.pass_time(125)
    _send(lab, Kind.DATA)


def a_backend_is_disabled(lab: Lab) -> None:
    """Its entries are void from then on: new flows of the same 5-tuples are elsewhere."""
    _begin(lab, 1)
    _join(lab, 2)
    _send(lab, Kind.SYN)
    _send(lab, Kind.DATA)
    lab.pass_time(100)
    _send(lab, Kind.DATA)
    lab.pass_time(35)
    lab.tick()
    lab.scan()
    _set(lab, 2, AdminState.DISABLED)
    _send(lab, Kind.SYN)
    _send(lab, Kind.DATA)
    _join(lab, 3)
    _send(lab, Kind.DATA)


def the_kernel_refuses_and_a_backend_returns(lab: Lab) -> None:
    """A batch that was cut short is cleared away before its backends may come back."""
    _begin(lab, 1)
    _join(lab, 2)
    _set(lab, 1, AdminState.DISABLED, refuse_at=0.1)
    lab.control.data_plane.flows.refill(0, 0)
    _send(lab, Kind.SYN)
    _set(lab, 1, AdminState.ENABLED)
    _send(lab, Kind.DATA)


def _expire(lab: Lab, seconds: int) -> None:
    """Entries of b1, silent for so long, when the operator gives clients longer."""
    lab.reset(0)
    lab.between = 0
    lab.settle_seconds = 20
    _join(lab, 1)
    _send(lab, Kind.SYN)
    _send(lab, Kind.DATA)
    _join(lab, 2)
    _send(lab, Kind.DATA)
    lab.pass_time(seconds)
    lab.settle_seconds = 130
    lab.change()


def settle_seconds_are_raised(lab: Lab) -> None:
    """Expired entries do not come back to life, and in the end clients have the longer time."""
    _expire(lab, 22)
    lab.scan()
    lab.pass_time(10)
    lab.scan()
    lab.scan()
    assert lab.book.limits.tcp == 130


def settle_seconds_are_raised_before_a_restart(lab: Lab) -> None:
    """A new daemon asks the data plane what the time was."""
    _expire(lab, 25)
    lab.restart()


def settle_seconds_are_raised_during_a_scan(lab: Lab) -> None:
    """What was about to expire when the scan read it has expired when the longer time is written."""
    _expire(lab, 18)
    lab.control.begin_scan()
    lab.control.read_scan()
    lab.pass_time(5)
    check.invariants(lab)
    lab.finish_scan()


def a_backend_comes_during_a_scan(lab: Lab) -> None:
    """A scan that does not know yet that it accepts reads the entries of its first flows."""
    _begin(lab, 1)
    lab.control.begin_scan()
    _join(lab, 2)
    _send(lab, Kind.SYN)
    _send(lab, Kind.DATA)
    lab.control.read_scan()
    lab.finish_scan()
    _send(lab, Kind.DATA)


ALL = (
    a_slot_moves,
    a_move_ends,
    a_move_ends_while_flows_are_refused,
    a_move_ends_as_flows_begin,
    a_port_is_used_again,
    a_backend_is_disabled,
    the_kernel_refuses_and_a_backend_returns,
    settle_seconds_are_raised,
    settle_seconds_are_raised_before_a_restart,
    settle_seconds_are_raised_during_a_scan,
    a_backend_comes_during_a_scan,
)
