# SPDX-License-Identifier: Apache-2.0
"""Verdicts: what a row of probes makes of a backend, and when the outside gets to see it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lb.core.checks import CheckKind, HealthCheck, Outcome
from lb.core.health import Health, MemberKey, Status
from lb.core.health_member import FLAP_WINDOW_SECONDS, Checked, health, judge, recount
from lb.core.health_pool import Change, PoolVerdicts, cycle_seconds
from lb.core.health_ramp import next_step_at, ramp_percent

CHECK = HealthCheck(CheckKind.TCP, rise=2, fall=3)
UTC = 1_700_000_000.0
REFUSED = "connection refused: is the service running?"
B1, B2, B3 = (("web", f"b{number}", ip_address(f"10.0.0.{number}")) for number in (1, 2, 3))


def outcome(error: str = "", at: float = 0.0) -> Outcome:
    """Of a probe that ended ``at``."""
    return Outcome(error, at - 0.1, at)


class Backend:
    """One backend and its probes, one a second."""

    def __init__(self, *, accepted: bool = False, slow_start_seconds: int = 0) -> None:
        self.known = Checked(UTC, UTC, accepted)
        self.now = 0.0
        self._slow_start_seconds = slow_start_seconds

    def probe(self, *errors: str) -> Status:
        """Results in order; the status after them."""
        for error in errors:
            self.now += 1
            probed = outcome(error, self.now)
            self.known = judge(self.known, probed, CHECK, self._slow_start_seconds, UTC + self.now)
        return self.known.status

    def fall(self) -> None:
        """Fails until it is DOWN."""
        assert self.probe(*[REFUSED] * 3) is Status.DOWN

    def successes_to_rise(self) -> int:
        """How many it needs from here."""
        for count in range(1, 100):
            if self.probe("") is Status.UP:
                return count
        raise AssertionError("a hundred successes are not enough")


class Clocked:
    """A pool's verdicts, with a clock."""

    def __init__(self, members: dict[MemberKey, bool], check: HealthCheck = CHECK, slow_start_seconds: int = 0) -> None:
        self.now = 1000.0
        self.verdicts = PoolVerdicts(check, slow_start_seconds)
        self.update(members, check, slow_start_seconds)

    def update(
        self, members: dict[MemberKey, bool], check: HealthCheck = CHECK, slow_start_seconds: int = 0
    ) -> list[Change]:
        """The configuration changes."""
        return self.verdicts.update(check, slow_start_seconds, members, self.now, UTC + self.now)

    def probe(self, key: MemberKey, *errors: str) -> list[Change]:
        """Results in order, at the present second."""
        return [
            change
            for error in errors
            for change in self.verdicts.observe(key, outcome(error, self.now), UTC + self.now)
        ]

    def statuses(self) -> list[Status]:
        """As shown, in the order of the members."""
        return [shown.status for shown in self.verdicts.shown.values()]


def statuses(changes: Iterable[Change]) -> list[tuple[str, Status, Status]]:
    """Backend, old and new."""
    return [(key[1], before.status, after.status) for key, before, after in changes]


# --- rise and fall


def test_the_first_success_makes_a_new_backend_up() -> None:
    """It has just served; waiting for more would leave its share to others for nothing."""
    assert Backend().probe("") is Status.UP


def test_a_failure_before_it_does_not_make_the_first_success_count_less() -> None:
    """So that no backend is without a verdict for longer than ``fall`` probes."""
    assert Backend().probe(REFUSED, REFUSED, "") is Status.UP


def test_a_new_backend_goes_down_after_fall_failures_in_a_row() -> None:
    """One lost packet is no verdict."""
    backend = Backend()
    assert backend.probe(REFUSED, REFUSED) is Status.UNKNOWN
    assert backend.probe(REFUSED) is Status.DOWN


def test_failures_count_only_in_a_row() -> None:
    """One success wipes them out."""
    backend = Backend()
    assert backend.probe("", REFUSED, REFUSED, "", REFUSED, REFUSED) is Status.UP
    assert backend.probe(REFUSED) is Status.DOWN


def test_successes_count_only_in_a_row() -> None:
    """A backend that answers every other time stays outside."""
    backend = Backend()
    backend.fall()
    assert backend.probe("", REFUSED, "", REFUSED, "") is Status.DOWN
    assert backend.probe("") is Status.UP


def test_since_is_the_second_of_the_verdict() -> None:
    """Not of the first bad probe, nor of the latest."""
    backend = Backend()
    backend.probe("", REFUSED, REFUSED, REFUSED, REFUSED, REFUSED)
    assert health(backend.known, CHECK).since == UTC + 4


def test_another_check_begins_to_count_from_zero() -> None:
    """What the old one saw is no evidence for it; the verdict stands until then."""
    backend = Backend()
    backend.probe("", REFUSED, REFUSED)
    backend.known = recount(backend.known)
    assert backend.probe(REFUSED, REFUSED) is Status.UP
    assert backend.probe(REFUSED) is Status.DOWN


# --- words


def words(backend: Backend) -> str:
    """What the operator reads."""
    return health(backend.known, CHECK).reason


def test_a_backend_without_a_probe_says_so() -> None:
    assert words(Backend()) == "no probe has ended yet"


def test_the_last_error_is_told_in_every_state() -> None:
    """Also of one that is UP: it may be about to fail."""
    backend = Backend()
    backend.probe(REFUSED)
    assert words(backend) == REFUSED
    backend.probe("", REFUSED)
    assert words(backend) == REFUSED
    backend.probe("timeout", "no route")
    assert (backend.known.status, words(backend)) == (Status.DOWN, "no route")


def test_a_backend_that_is_up_and_answers_has_no_reason() -> None:
    backend = Backend()
    backend.probe(REFUSED, "")
    assert words(backend) == ""


def test_a_backend_that_answers_again_says_what_is_missing() -> None:
    """DOWN without an error would be a riddle."""
    backend = Backend()
    backend.fall()
    backend.probe("")
    assert words(backend) == "answers again, 1 of 2 successes in a row"


# --- flapping


def test_each_down_within_the_window_doubles_what_the_next_up_needs() -> None:
    """Up to eight times ``rise``: a backend that comes and goes moves flows each time."""
    backend = Backend()
    needed = []
    for _ in range(6):
        backend.fall()
        needed.append(backend.successes_to_rise())
    assert needed == [2, 4, 8, 16, 16, 16]


def test_a_flapping_backend_says_so() -> None:
    backend = Backend()
    backend.fall()
    backend.successes_to_rise()
    backend.fall()
    assert words(backend) == f"{REFUSED}; flapping: needs 4 successes"
    backend.probe("")
    assert words(backend) == "answers again, 1 of 4 successes in a row; flapping: needs 4 successes"


def test_a_quiet_window_is_forgiven() -> None:
    """Two outages a day are not flapping."""
    backend = Backend()
    for _ in range(2):
        backend.fall()
        backend.successes_to_rise()
        backend.now += FLAP_WINDOW_SECONDS
    backend.fall()
    assert backend.successes_to_rise() == 2


def test_a_backend_that_stayed_down_for_the_window_is_forgiven() -> None:
    """It does not come and go any more: it was gone."""
    backend = Backend()
    for _ in range(3):
        backend.fall()
        backend.successes_to_rise()
    backend.fall()
    backend.now += FLAP_WINDOW_SECONDS
    assert backend.successes_to_rise() == 2
    assert words(backend) == ""


# --- slow start


@pytest.mark.parametrize(
    ("age", "percent"), [(0.0, 10), (9.9, 10), (10.0, 20), (45.0, 50), (89.9, 90), (90.0, 100), (1e6, 100)]
)
def test_a_ramp_grows_by_ten_percent_over_its_time(age: float, percent: int) -> None:
    """Nine steps to rebuild the ring for, whatever the time."""
    assert ramp_percent(1000.0, 90, 1000.0 + age) == percent


def test_a_ramp_of_no_time_is_none() -> None:
    assert ramp_percent(1000.0, 0, 1000.0) == 100


def test_a_ramp_says_when_it_grows() -> None:
    assert [next_step_at(1000.0, 90, percent) for percent in range(10, 100, 10)] == [1010.0 + 10 * i for i in range(9)]


def test_a_backend_that_came_back_starts_slowly() -> None:
    """Its caches are cold, its connection pools are empty."""
    backend = Backend(accepted=True, slow_start_seconds=90)
    backend.fall()
    backend.successes_to_rise()
    assert health(backend.known, CHECK).ramp == 10


def test_a_new_backend_starts_slowly() -> None:
    backend = Backend(slow_start_seconds=90)
    backend.probe("")
    assert health(backend.known, CHECK).ramp == 10


def test_a_backend_that_had_flows_before_its_first_verdict_does_not_start_slowly() -> None:
    """lbd started again, or the pool got a check: nothing happened to the backend."""
    backend = Backend(accepted=True, slow_start_seconds=90)
    backend.probe("")
    assert health(backend.known, CHECK).ramp == 100


def test_a_slow_start_goes_on_step_by_step() -> None:
    """Each is one change; between them there is nothing to do."""
    pool = Clocked({B1: False}, slow_start_seconds=90)
    assert statuses(pool.probe(B1, "")) == [("b1", Status.UNKNOWN, Status.UP)]
    ramps = []
    while pool.verdicts.due_at < math.inf:
        pool.now = pool.verdicts.due_at
        assert pool.verdicts.advance(pool.now - 0.1) == []
        [(_, before, after)] = pool.verdicts.advance(pool.now)
        ramps.append((before.ramp, after.ramp))
    assert ramps == [(percent, percent + 10) for percent in range(10, 100, 10)]
    assert pool.now == 1090.0


def test_a_late_look_takes_all_steps_at_once() -> None:
    """One change, not one for each step that was missed."""
    pool = Clocked({B1: False}, slow_start_seconds=90)
    pool.probe(B1, "")
    [(_, before, after)] = pool.verdicts.advance(pool.now + 45)
    assert (before.ramp, after.ramp) == (10, 50)


def test_a_backend_that_fails_during_its_slow_start_starts_anew() -> None:
    pool = Clocked({B1: False}, slow_start_seconds=90)
    pool.probe(B1, "")
    pool.verdicts.advance(pool.now + 45)
    pool.now += 50
    pool.probe(B1, *[REFUSED] * 3)
    assert pool.verdicts.due_at == math.inf
    pool.probe(B1, "", "")
    assert pool.verdicts.shown[B1].ramp == 10


@pytest.mark.parametrize(("seconds", "ramp"), [(900, 50), (0, 100)])
def test_another_slow_start_time_never_takes_weight_back(seconds: int, ramp: int) -> None:
    """What it has shown that it can bear it keeps."""
    pool = Clocked({B1: False}, slow_start_seconds=90)
    pool.probe(B1, "")
    pool.now += 45
    pool.verdicts.advance(pool.now)
    pool.update({B1: False}, slow_start_seconds=seconds)
    pool.verdicts.advance(pool.now)
    assert pool.verdicts.shown[B1].ramp == ramp


def test_another_members_step_takes_no_weight_back_either() -> None:
    """All of a pool are looked at when one of them is due."""
    pool = Clocked({B1: False, B2: False}, slow_start_seconds=90)
    pool.probe(B1, "")
    pool.verdicts.advance(pool.now + 45)
    pool.update({B1: True, B2: False}, slow_start_seconds=180)
    pool.now += 45
    pool.probe(B2, "")
    pool.verdicts.advance(pool.now + 20)
    assert {key[1]: shown.ramp for key, shown in pool.verdicts.shown.items()} == {"b1": 50, "b2": 20}


# --- the hold


def test_verdicts_after_a_restart_come_together() -> None:
    """The first that is found DOWN must not give its flows to one that is about to be."""
    pool = Clocked({B1: True, B2: True, B3: True})
    assert pool.probe(B1, *[REFUSED] * 3) == []
    assert pool.probe(B2, "") == []
    assert pool.statuses() == [Status.UNKNOWN] * 3
    assert statuses(pool.probe(B3, *[REFUSED] * 3)) == [
        ("b1", Status.UNKNOWN, Status.DOWN),
        ("b2", Status.UNKNOWN, Status.UP),
        ("b3", Status.UNKNOWN, Status.DOWN),
    ]


def test_what_is_held_back_is_said() -> None:
    """The operator sees why a backend that answers is not UP, and what a failing one will be."""
    pool = Clocked({B1: True, B2: True, B3: True})
    pool.probe(B1, *[REFUSED] * 3)
    pool.probe(B2, "")
    since = UTC + 1000
    assert list(pool.verdicts.shown.values()) == [
        Health(Status.UNKNOWN, since, REFUSED),
        Health(Status.UNKNOWN, since, "answers; waits for the first verdicts on the pool's other members"),
        Health(Status.UNKNOWN, since, "no probe has ended yet"),
    ]


def test_a_check_cycle_ends_the_hold() -> None:
    """One member without a verdict must not keep the others' from taking effect for ever."""
    pool = Clocked({B1: True, B2: True})
    pool.probe(B1, *[REFUSED] * 3)
    assert cycle_seconds(CHECK) == 21.0
    assert pool.verdicts.due_at == 1021.0
    assert pool.verdicts.advance(1020.9) == []
    assert statuses(pool.verdicts.advance(1021.0)) == [("b1", Status.UNKNOWN, Status.DOWN)]
    assert statuses(pool.probe(B2, "")) == [("b2", Status.UNKNOWN, Status.UP)]


def test_a_probe_after_the_cycle_ends_the_hold_too() -> None:
    pool = Clocked({B1: True, B2: True})
    pool.probe(B1, "")
    pool.now += 30
    assert statuses(pool.probe(B2, REFUSED)) == [("b1", Status.UNKNOWN, Status.UP)]
    assert pool.statuses() == [Status.UP, Status.UNKNOWN]


def test_the_last_member_without_a_verdict_may_leave() -> None:
    """Disabled or removed: nobody waits for it."""
    pool = Clocked({B1: True, B2: True})
    pool.probe(B1, "")
    assert statuses(pool.update({B1: True})) == [("b1", Status.UNKNOWN, Status.UP)]
    assert list(pool.verdicts.shown) == [B1]


def test_nothing_is_held_where_nobody_has_flows() -> None:
    """After a reboot the first member that answers serves at once."""
    pool = Clocked({B1: False, B2: False})
    assert statuses(pool.probe(B2, "")) == [("b2", Status.UNKNOWN, Status.UP)]


def test_a_slow_start_begins_when_the_hold_ends() -> None:
    """Only then do flows come; who has them all along loses none."""
    pool = Clocked({B1: True, B2: False}, slow_start_seconds=90)
    pool.probe(B1, *[REFUSED] * 3, "", "")
    pool.probe(B2, "")
    ramps = {key[1]: after.ramp for key, _, after in pool.probe(B1, "")}
    assert ramps == {}, "the hold ended with the first probe of the second member"
    assert {key[1]: shown.ramp for key, shown in pool.verdicts.shown.items()} == {"b1": 100, "b2": 10}
    assert pool.verdicts.due_at == pool.now + 10


def test_a_member_that_joins_later_is_not_held() -> None:
    """Its verdict is its own."""
    pool = Clocked({B1: True})
    pool.probe(B1, "")
    assert pool.update({B1: True, B2: False}) == []
    assert pool.verdicts.shown[B2] == Health(Status.UNKNOWN, UTC + 1000, "no probe has ended yet")
    assert statuses(pool.probe(B2, "")) == [("b2", Status.UNKNOWN, Status.UP)]


def test_another_check_keeps_the_verdicts() -> None:
    """A changed path or interval is no reason to take backends out."""
    pool = Clocked({B1: False, B2: False})
    pool.probe(B1, "", REFUSED, REFUSED)
    pool.probe(B2, *[REFUSED] * 3)
    assert pool.update({B1: True, B2: False}, replace(CHECK, kind=CheckKind.HTTP, path="/healthz")) == []
    assert pool.statuses() == [Status.UP, Status.DOWN]
    assert pool.probe(B1, REFUSED, REFUSED) == []
    assert statuses(pool.probe(B1, REFUSED)) == [("b1", Status.UP, Status.DOWN)]


def test_a_change_of_the_pool_alone_keeps_the_count() -> None:
    """A member added elsewhere must not put a verdict off."""
    pool = Clocked({B1: False})
    pool.probe(B1, "", REFUSED, REFUSED)
    pool.update({B1: True, B2: False})
    assert statuses(pool.probe(B1, REFUSED)) == [("b1", Status.UP, Status.DOWN)]


def test_a_member_that_left_and_came_back_is_new() -> None:
    """Disabled for a day, say: what was known then says nothing."""
    pool = Clocked({B1: False, B2: False})
    pool.probe(B1, *[REFUSED] * 3)
    pool.update({B2: False})
    pool.update({B1: False, B2: False})
    assert pool.verdicts.shown[B1].status is Status.UNKNOWN
    assert statuses(pool.probe(B1, "")) == [("b1", Status.UNKNOWN, Status.UP)]
