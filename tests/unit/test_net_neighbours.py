# SPDX-License-Identifier: Apache-2.0
"""When the kernel is asked for a neighbour, and how long a MAC is believed."""

from __future__ import annotations

import math
from ipaddress import ip_address

from lb.net.facts import Neighbour
from lb.net.neighbours import ASK_FIRST_SECONDS, ASK_MAX_SECONDS, CONFIRM_SECONDS, HOLD_SECONDS, Neighbours

HOST = ip_address("10.0.0.9")
KEY = (2, HOST)
MAC, OTHER_MAC = b"\x02aaaaa", b"\x02bbbbb"


def seen(mac: bytes | None, *, stale: bool = False) -> Neighbour:
    return Neighbour(2, HOST, mac, stale)


def test_an_unknown_neighbour_is_asked_for_at_once_then_less_and_less_often() -> None:
    """A dead backend must not cost a broadcast a second for ever; one that boots is found within seconds."""
    table, now, gaps = Neighbours(), 100.0, []
    table.observe(seen(None), now)
    for _ in range(6):
        assert table.due(now) == [KEY]
        table.asked(KEY, now)
        assert table.due(now) == []
        gaps.append(table.deadline() - now)
        now = table.deadline()
    assert gaps == [ASK_FIRST_SECONDS, 2, 4, ASK_MAX_SECONDS, ASK_MAX_SECONDS, ASK_MAX_SECONDS]


def test_a_failure_event_does_not_hasten_the_next_question() -> None:
    table = Neighbours()
    table.observe(seen(None), 0)
    table.asked(KEY, 0)
    table.observe(seen(None), 0.5)
    assert table.deadline() == ASK_FIRST_SECONDS


def test_a_fresh_neighbour_is_left_alone() -> None:
    table = Neighbours()
    table.observe(seen(MAC), 0)
    assert table.mac(KEY) == MAC
    assert table.deadline() == math.inf


def test_a_stale_mac_is_used_and_confirmed_again_and_again() -> None:
    """XDP's packets are no use to the kernel: without this a MAC that changed silently would be used for ever."""
    table = Neighbours()
    table.observe(seen(MAC, stale=True), 0)
    assert table.mac(KEY) == MAC
    assert table.due(CONFIRM_SECONDS - 0.1) == []
    assert table.due(CONFIRM_SECONDS) == [KEY]
    table.asked(KEY, CONFIRM_SECONDS)
    assert table.deadline() == 2 * CONFIRM_SECONDS
    table.observe(seen(MAC, stale=True), 2 * CONFIRM_SECONDS - 1)
    assert table.deadline() == 2 * CONFIRM_SECONDS, "being told the same again does not put it off"
    table.observe(seen(MAC), 11)
    assert table.deadline() == math.inf


def test_a_lost_entry_is_believed_for_a_moment_and_asked_for_at_once() -> None:
    """Garbage collection drops entries of healthy machines."""
    table = Neighbours()
    table.observe(seen(MAC), 0)
    table.observe(seen(None), 10)
    assert table.due(10) == [KEY]
    table.asked(KEY, 10)
    table.observe(seen(None), 10.2)
    assert table.expire(10 + HOLD_SECONDS - 0.01) == []
    assert table.mac(KEY) == MAC
    assert table.deadline() == 10 + HOLD_SECONDS, "a second loss does not prolong it"
    assert table.expire(10 + HOLD_SECONDS) == [KEY]
    assert table.mac(KEY) is None
    assert table.expire(1e9) == []


def test_an_answer_during_the_hold_ends_it() -> None:
    table = Neighbours()
    table.observe(seen(MAC), 0)
    table.observe(seen(None), 10)
    table.asked(KEY, 10)
    table.observe(seen(OTHER_MAC), 10.1)
    assert (table.mac(KEY), table.deadline(), table.expire(20)) == (OTHER_MAC, math.inf, [])


def test_a_refusal_is_remembered_until_it_is_resolved() -> None:
    table = Neighbours()
    table.observe(seen(None), 0)
    table.asked(KEY, 0, 105)
    assert table.refusal(KEY) == 105
    table.observe(seen(MAC), 1)
    assert table.refusal(KEY) == 0


def test_a_forgotten_neighbour_leaves_nothing() -> None:
    table = Neighbours()
    table.observe(seen(None), 0)
    table.forget(KEY)
    table.forget(KEY)
    assert KEY not in table
    assert table.deadline() == math.inf
