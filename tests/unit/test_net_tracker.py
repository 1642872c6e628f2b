# SPDX-License-Identifier: Apache-2.0
"""What follows from tables and events, with a kernel made of dictionaries."""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest

from lb.core.model import Address, NextHop, Unresolved
from lb.net.facts import Link, LinkGone, LocalAddress, Neighbour, Route, RoutingChanged
from lb.net.requests import Refused
from lb.net.resolve import RTN_UNICAST
from lb.net.tracker import Tracker

BOX, HOST, OTHER, GATEWAY, ROUTER = (ip_address(f"10.0.0.{last}") for last in (1, 9, 10, 254, 253))
MAC, NEW_MAC = b"\x02aaaaa", b"\x02bbbbb"
ETH0 = Link(2, "eth0", 1500, b"\x02\0\0\0\0\1", up=True, running=True)


@dataclass
class TableKernel:
    """Answers from tables; counts the questions about neighbours."""

    table: list[Link] = field(default_factory=lambda: [ETH0])
    local: list[LocalAddress] = field(default_factory=lambda: [LocalAddress(2, BOX, 24)])
    gateway: Address | None = None
    macs: dict[Address, bytes] = field(default_factory=dict)
    refusal: int = 0
    asked: list[Address] = field(default_factory=list)

    def links(self) -> list[Link]:
        return self.table

    def addresses(self) -> list[LocalAddress]:
        return self.local

    def route(self, address: Address) -> Route:  # noqa: ARG002
        return Route(RTN_UNICAST, 2, self.gateway, BOX)

    def neighbour(self, ifindex: int, address: Address) -> Neighbour:
        return Neighbour(ifindex, address, self.macs.get(address))

    def resolve(self, ifindex: int, address: Address) -> None:
        assert ifindex == ETH0.ifindex
        self.asked.append(address)
        if self.refusal:
            raise Refused(self.refusal)


def settle(tracker: Tracker, kernel: TableKernel, now: float = 0) -> None:
    """One pass, as the loop does it."""
    for address in list(tracker.dirty):
        tracker.look(kernel, address, now)
    for key in tracker.due(now):
        tracker.ask(kernel, key, now)
    for address in list(tracker.dirty):
        tracker.look(kernel, address, now)


def tracking(kernel: TableKernel, *addresses: Address) -> Tracker:
    tracker = Tracker()
    tracker.load(kernel)
    tracker.track(addresses)
    settle(tracker, kernel)
    tracker.changed = False
    return tracker


def mac(tracker: Tracker, address: Address) -> bytes:
    hop = tracker.hop(address)
    assert isinstance(hop, NextHop), hop
    return hop.mac


def reason(tracker: Tracker, address: Address) -> str:
    hop = tracker.hop(address)
    assert isinstance(hop, Unresolved), hop
    return hop.reason


def test_a_new_address_says_that_it_is_being_looked_up() -> None:
    tracker = Tracker()
    tracker.track([HOST])
    assert "10.0.0.9 is being looked up" in reason(tracker, HOST)
    assert "nobody asked" in reason(tracker, OTHER)


def test_an_address_is_new_until_it_was_looked_at() -> None:
    kernel, tracker = TableKernel(macs={HOST: MAC}), Tracker()
    tracker.load(kernel)
    tracker.track([HOST, OTHER])
    assert tracker.is_new(HOST)
    settle(tracker, kernel)
    assert not tracker.is_new(HOST)
    assert not tracker.is_new(OTHER), "it was looked at, and does not answer"
    assert not tracker.is_new(GATEWAY), "nobody tracks it"
    tracker.track([OTHER])
    tracker.track([OTHER, HOST])
    assert tracker.is_new(HOST), "what was known of it is not believed any more"


@pytest.mark.parametrize(("macs", "level"), [({HOST: MAC}, logging.DEBUG), ({}, logging.INFO)])
def test_what_is_well_from_the_start_is_not_worth_a_line(
    macs: dict[Address, bytes], level: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Thousands of backends are looked up when `lbd` starts; one that did not answer at once is of interest."""
    caplog.set_level(logging.DEBUG, "lb.net")
    kernel = TableKernel(macs=macs)
    tracker = tracking(kernel, HOST)
    tracker.apply([Neighbour(2, HOST, MAC)], 1)
    settle(tracker, kernel, 1)
    assert [record.levelno for record in caplog.records if "next hop of 10.0.0.9" in record.message] == [level]


def test_an_unknown_neighbour_is_asked_for_and_its_answer_told() -> None:
    kernel = TableKernel()
    tracker = tracking(kernel, HOST)
    assert kernel.asked == [HOST]
    assert "does not answer" in reason(tracker, HOST)
    tracker.apply([Neighbour(2, HOST, MAC)], 1)
    settle(tracker, kernel, 1)
    assert tracker.changed
    assert mac(tracker, HOST) == MAC


def test_events_that_concern_nobody_cause_no_work() -> None:
    """A busy segment has thousands of neighbours, and interfaces repeat themselves."""
    tracker = tracking(TableKernel(macs={HOST: MAC}), HOST)
    assert not tracker.apply([ETH0, Neighbour(2, OTHER, NEW_MAC)], 1)
    assert not tracker.dirty
    assert not tracker.changed


def test_an_event_that_only_makes_something_due_calls_for_a_pass() -> None:
    """The MAC is held, so no answer changed; but the loop may sleep for long, and must ask now."""
    tracker = tracking(TableKernel(macs={HOST: MAC}), HOST)
    assert tracker.apply([Neighbour(2, HOST, None)], 10)
    assert not tracker.dirty
    assert tracker.deadline() == 10


def test_addresses_behind_one_gateway_share_its_neighbour() -> None:
    kernel = TableKernel(gateway=GATEWAY, macs={GATEWAY: MAC})
    tracker = tracking(kernel, HOST, OTHER)
    tracker.apply([Neighbour(2, GATEWAY, NEW_MAC)], 1)
    settle(tracker, kernel, 1)
    assert (mac(tracker, HOST), mac(tracker, OTHER)) == (NEW_MAC, NEW_MAC)
    tracker.track([OTHER])
    tracker.apply([Neighbour(2, GATEWAY, MAC)], 2)
    settle(tracker, kernel, 2)
    assert mac(tracker, OTHER) == MAC


def test_a_neighbour_that_nobody_needs_any_more_is_not_asked_for() -> None:
    kernel = TableKernel(gateway=GATEWAY)
    tracker = tracking(kernel, HOST)
    kernel.gateway, kernel.macs = ROUTER, {ROUTER: MAC}
    due = tracker.due(60)
    tracker.apply([RoutingChanged()], 60)
    settle(tracker, kernel, 60)
    kernel.asked.clear()
    for key in due:  # a pass that began before the route changed
        tracker.ask(kernel, key, 60)
    assert kernel.asked == []
    assert tracker.due(1e9) == []


def test_an_address_dropped_during_a_pass_is_left_out() -> None:
    kernel = TableKernel(macs={HOST: MAC})
    tracker = tracking(kernel, HOST)
    tracker.track([])
    tracker.look(kernel, HOST, 1)
    assert not tracker.changed


def test_a_full_read_doubts_what_was_known() -> None:
    """After lost events any MAC, link or address may be another one."""
    kernel = TableKernel(macs={HOST: MAC})
    tracker = tracking(kernel, HOST)
    kernel.macs, kernel.table, kernel.local = {HOST: NEW_MAC}, [replace(ETH0, mtu_bytes=1400)], []
    tracker.load(kernel)
    settle(tracker, kernel, 1)
    hop = tracker.hop(HOST)
    assert isinstance(hop, NextHop)
    assert (hop.mac, hop.mtu_bytes) == (NEW_MAC, 1400)
    assert tracker.local == frozenset()


def test_an_entry_that_was_made_permanent_meanwhile_is_not_asked_for() -> None:
    """Asking would take its permanence away."""
    kernel = TableKernel()
    tracker = tracking(kernel, HOST)
    kernel.asked.clear()
    kernel.macs[HOST] = MAC
    settle(tracker, kernel, 60)
    assert kernel.asked == []
    assert mac(tracker, HOST) == MAC


def test_a_kernel_that_declines_to_ask_is_the_reason() -> None:
    kernel = TableKernel(refusal=errno.EPERM)
    tracker = tracking(kernel, HOST)
    assert "CAP_NET_ADMIN" in reason(tracker, HOST)
    kernel.refusal = 0
    settle(tracker, kernel, 60)
    assert "does not answer ARP" in reason(tracker, HOST)


def test_a_mac_is_given_up_when_the_hold_ends() -> None:
    kernel = TableKernel(macs={HOST: MAC})
    tracker = tracking(kernel, HOST)
    kernel.macs.clear()
    tracker.apply([Neighbour(2, HOST, None)], 10)
    settle(tracker, kernel, 10)
    assert mac(tracker, HOST) == MAC
    settle(tracker, kernel, tracker.deadline())
    assert "does not answer" in reason(tracker, HOST)


def test_a_lost_interface_takes_effect_whatever_the_hold() -> None:
    kernel = TableKernel(macs={HOST: MAC})
    tracker = tracking(kernel, HOST)
    tracker.apply([Neighbour(2, HOST, None), LinkGone(2)], 10)
    settle(tracker, kernel, 10)
    assert "an interface that is gone" in reason(tracker, HOST)
