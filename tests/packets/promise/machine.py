# SPDX-License-Identifier: Apache-2.0
"""What may happen to a balancer, in any order; hypothesis looks for an order that breaks a promise."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from packets.promise.lab import VIPS, Lab, backend

from lb.core.model import AdminState

NUMBERS = st.integers(1, 6)
SEEDS = st.integers(0, 1000)
SECONDS = st.sampled_from([1, 3, 19, 23, 30, 41, 43, 73, 76, 78, 99, 103, 119, 123, 129, 131, 133, 134])
PARTS = st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.8])


class Balancer(RuleBasedStateMachine):
    """Every rule that writes sends packets between the operations, and a few after them."""

    lab: ClassVar[Lab]
    reads_late = False

    @initialize(seed=SEEDS, weights=st.lists(st.integers(1, 3), min_size=2, max_size=4))
    def begin(self, seed: int, weights: list[int]) -> None:
        self.lab.reset(seed)
        self.lab.members = [backend(number, weight) for number, weight in enumerate(weights, 1)]
        self.lab.change()
        self.lab.traffic(300)

    def _change(self) -> None:
        self.lab.change()
        self.lab.traffic(40)

    def _has(self, number: int) -> bool:
        return any(member.name == f"b{number}" for member in self.lab.members)

    def _set(self, number: int, state: AdminState) -> None:
        self.lab.member(number, lambda member: replace(member, admin_state=state))

    @rule(packets=st.sampled_from([50, 200, 600]))
    def packets_come(self, packets: int) -> None:
        self.lab.traffic(packets)

    @rule(number=NUMBERS, weight=st.integers(1, 3))
    def add_or_reweight(self, number: int, weight: int) -> None:
        if self._has(number):
            self.lab.member(number, lambda member: replace(member, weight=weight))
        else:
            self.lab.members = [*self.lab.members, backend(number, weight)]
        self._change()

    @rule(number=NUMBERS)
    def remove(self, number: int) -> None:
        self.lab.members = [member for member in self.lab.members if member.name != f"b{number}"]
        self._change()

    @rule(number=NUMBERS, state=st.sampled_from(AdminState))
    def set_admin_state(self, number: int, state: AdminState) -> None:
        self._set(number, state)
        self._change()

    @rule(number=NUMBERS)
    def flap(self, number: int) -> None:
        """Off and on again."""
        for state in (AdminState.DISABLED, AdminState.ENABLED):
            self._set(number, state)
            self._change()

    @rule(number=NUMBERS, lost=st.booleans())
    def next_hop(self, number: int, lost: bool) -> None:
        (self.lab.gone if lost else self.lab.found)(number)
        self._change()

    @rule(seconds=st.sampled_from([0, 20, 130]))
    def set_settle_seconds(self, seconds: int) -> None:
        self.lab.settle_seconds = seconds
        self._change()

    @rule(name=st.sampled_from(sorted(VIPS)))
    def delete_or_create_vip(self, name: str) -> None:
        self.lab.vips ^= {name}
        self._change()

    @rule(seconds=SECONDS, ticks=st.booleans())
    def time_passes(self, seconds: int, ticks: bool) -> None:
        self.lab.pass_time(seconds)
        if ticks:
            self.lab.tick()

    @rule()
    def tick(self) -> None:
        self.lab.tick()
        self.lab.traffic(40)

    @rule(packets=st.sampled_from([0, 100]))
    def scan(self, packets: int) -> None:
        if self.lab.control.scanning is None:
            self.lab.scan(packets)

    @rule(reads_late=st.booleans())
    def begin_or_finish_scan(self, reads_late: bool) -> None:
        """Anything may happen while a scan is under way, before it reads the table and after."""
        control = self.lab.control
        if control.scanning is None:
            control.begin_scan()
            self.reads_late = reads_late
            if not reads_late:
                control.read_scan()
        else:
            if self.reads_late:
                control.read_scan()
            self.lab.finish_scan()

    @rule(syn=st.sampled_from([0, 20]), old=st.sampled_from([0, 20]))
    def budgets_run_out(self, syn: int, old: int) -> None:
        self.lab.control.data_plane.flows.refill(syn, old)
        self.lab.traffic(100)

    @rule()
    def budgets_are_refilled(self) -> None:
        self.lab.control.keeper.refill()

    @rule()
    def restart(self) -> None:
        self.lab.restart()
        self.lab.traffic(40)

    @rule(number=NUMBERS, state=st.sampled_from(AdminState), at=PARTS)
    def crash_within_a_batch(self, number: int, state: AdminState, at: float) -> None:
        self._set(number, state)
        self.lab.change(crash_at=at)
        self.lab.traffic(40)

    @rule(number=NUMBERS, state=st.sampled_from(AdminState), at=PARTS)
    def kernel_refuses_within_a_batch(self, number: int, state: AdminState, at: float) -> None:
        self._set(number, state)
        self.lab.change(refuse_at=at)
        self.lab.traffic(40)
