# SPDX-License-Identifier: Apache-2.0
"""What every store promises of its history: who changed what, and every kept configuration as it was."""

from __future__ import annotations

import dataclasses
import itertools
from ipaddress import IPv4Address

import pytest
from contract.configs import ALLOCATION, CONFIG, EDITS, WEB, Edit
from contract.media import NewMedium
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lb.core.audit import DAEMON, MAX_TEXT, Action, Caller, Difference, Record
from lb.core.diff import differences
from lb.core.errors import NotFoundError, UnavailableError
from lb.core.model import Backend, Config, Pool
from lb.ports import Store
from lb.store.limits import Limits

ROOT = Caller("root (uid 0)", "unix, pid 4711", "BackendService.CreateBackend")
STRANGER = Caller("nobody", "192.0.2.7:53142", "VipService.DeleteVip")
B2 = Backend("b2", IPv4Address("10.0.0.12"))
GROWN = dataclasses.replace(CONFIG, pools={"web": dataclasses.replace(WEB, backends={**WEB.backends, "b2": B2})})


def numbered(revision: int) -> Config:
    """A configuration with as many pools as its revision."""
    return Config(pools={f"p{number}": Pool(f"p{number}") for number in range(revision)})


def pages(store: Store, size: int) -> list[Record]:
    """The history, read in pages."""
    found: list[Record] = []
    while page := store.history(found[-1].number if found else 0, size):
        assert len(page) <= size
        assert not found or page[0].number < found[-1].number
        found += page
    return found


def revisions(store: Store) -> list[int]:
    return [record.revision for record in pages(store, 100)]


def test_a_new_store_has_no_history(new_medium: NewMedium) -> None:
    store = new_medium().reopen()
    assert store.history(0, 10) == []
    assert store.at(0) == Config()
    with pytest.raises(NotFoundError, match="revision 1 is not kept: `lbctl history` shows those that are"):
        store.at(1)


def test_a_record_says_when_who_from_where_what_and_why(new_medium: NewMedium) -> None:
    medium = new_medium()
    store = medium.reopen()
    store.commit(CONFIG, ALLOCATION, DAEMON)
    medium.clock.now += 60.5
    store.commit(GROWN, ALLOCATION, ROOT, "as asked for")
    newest, oldest = medium.reopen().history(0, 10)
    fields = (("address", "", "10.0.0.12"), ("weight", "", "1"), ("admin_state", "", "ENABLED"))
    assert dataclasses.replace(newest, differences=()) == Record(
        2, medium.clock.now, ROOT, (), "as asked for", newest.number
    )
    (added,) = newest.differences
    assert (added.action, added.name, added.fields[:3]) == (Action.ADDED, "pools/web/backends/b2", fields)
    assert (oldest.revision, oldest.at, oldest.caller, oldest.note) == (1, medium.clock.now - 60.5, DAEMON, "")
    assert oldest.number < newest.number


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(EDITS, st.integers(0, 2), st.booleans()), max_size=6), size=st.integers(1, 4))
def test_the_history_tells_every_revision_as_it_was(
    new_medium: NewMedium, steps: list[tuple[Edit, int, bool]], size: int
) -> None:
    """Whatever was done, with restarts and denied calls in between, is told in order and can be gone back to."""
    medium = new_medium()
    store = medium.reopen()
    configs = [Config()]
    expected: list[tuple[int, tuple[Difference, ...]]] = []
    for edit, denied, restart in steps:
        configs.append(edit(configs[-1]))
        assert store.commit(configs[-1], ALLOCATION, DAEMON) == len(configs) - 1
        expected.append((len(configs) - 1, differences(*configs[-2:])))
        for _ in range(denied):
            store.deny(STRANGER, "no")
            expected.append((0, ()))
        if restart:
            store = medium.reopen()

    told = pages(store, size)
    assert [(record.revision, record.differences) for record in reversed(told)] == expected
    assert all(newer.number > older.number for newer, older in itertools.pairwise(told))
    for revision, config in enumerate(configs):
        assert store.at(revision) == config
    for revision in (-1, len(configs), 2**64 - 1):
        with pytest.raises(NotFoundError, match=f"revision {revision} is not kept"):
            store.at(revision)

    first = store.at(min(1, len(configs) - 1))
    assert store.commit(first, ALLOCATION, ROOT, "rollback to revision 1") == len(configs)
    assert medium.reopen().load().config == first
    assert medium.reopen().at(len(configs) - 1) == configs[-1]


def test_an_object_that_changed_often_is_found_at_each_revision(new_medium: NewMedium) -> None:
    medium = new_medium()
    store = medium.reopen()
    configs = [Config(pools={"web": Pool("web", str(step))}) if step % 3 else Config() for step in range(8)]
    for config in configs[1:]:
        store.commit(config, ALLOCATION, DAEMON)
    assert [store.at(revision) for revision in range(8)] == configs
    assert [medium.reopen().at(revision) for revision in range(8)] == configs


def test_a_page_may_begin_anywhere(new_medium: NewMedium) -> None:
    """Tokens of pages come from outside."""
    store = new_medium().reopen()
    store.commit(CONFIG, ALLOCATION, DAEMON)
    (record,) = store.history(0, 10)
    assert store.history(2**70, 10) == [record]
    assert store.history(record.number, 10) == []


def test_a_page_of_large_records_is_short(new_medium: NewMedium) -> None:
    """An answer must not grow with what others did."""
    store = new_medium(Limits(page_changes=2)).reopen()
    for revision in (3, 4, 5, 6):
        store.commit(numbered(revision), ALLOCATION, DAEMON)
    assert [record.revision for record in store.history(0, 10)] == [4, 3]
    assert revisions(store) == [4, 3, 2, 1]
    store.commit(Config(), ALLOCATION, DAEMON)
    assert [(record.revision, len(record.differences)) for record in store.history(0, 10)] == [(5, 6)]


def test_the_oldest_revisions_go(new_medium: NewMedium) -> None:
    """A store of years must not fill the disk; denied calls do not push revisions out."""
    medium = new_medium(Limits(revisions=3))
    store = medium.reopen()
    for revision in range(1, 6):
        store.commit(numbered(revision), ALLOCATION, DAEMON)
        store.deny(STRANGER, "no")
    assert revisions(medium.reopen()) == [0, 5, 0, 4, 0, 3, 0, 0]
    store = medium.reopen()
    # The one before the oldest is what that one was made from.
    assert [store.at(revision) for revision in (2, 3, 4, 5)] == [numbered(revision) for revision in (2, 3, 4, 5)]
    with pytest.raises(NotFoundError):
        store.at(1)


def test_large_revisions_go_sooner(new_medium: NewMedium) -> None:
    """What is kept is bounded in size, not only in number; the newest revision is always told."""
    medium = new_medium(Limits(changes=5))
    store = medium.reopen()
    for revision in (2, 4, 5):
        store.commit(numbered(revision), ALLOCATION, DAEMON)
    assert revisions(store) == [3, 2, 1]
    store.commit(numbered(6), ALLOCATION, DAEMON)
    assert revisions(store) == [4, 3, 2]
    store.commit(Config(), ALLOCATION, DAEMON)
    assert revisions(store) == [5]
    assert store.at(4) == numbered(6)
    with pytest.raises(NotFoundError):
        store.at(3)


def test_the_oldest_denied_calls_go(new_medium: NewMedium) -> None:
    store = new_medium(Limits(denied=2)).reopen()
    store.commit(CONFIG, ALLOCATION, DAEMON)
    for note in ("first", "second", "third"):
        store.deny(STRANGER, note)
    assert [(record.revision, record.note) for record in store.history(0, 10)] == [(0, "third"), (0, "second"), (1, "")]


def test_a_flood_of_denied_calls_is_counted_and_not_kept(new_medium: NewMedium) -> None:
    """Who may do nothing must not be able to keep the disk busy either."""
    medium = new_medium(Limits(denied_per_minute=2))
    store = medium.reopen()
    for _ in range(5):
        store.deny(STRANGER, "no")
    assert [record.note for record in store.history(0, 10)] == ["no", "no"]
    medium.clock.now += 60
    store.deny(STRANGER, "no")
    store.deny(STRANGER, "still not")
    notes = [record.note for record in store.history(0, 2)]
    assert notes == ["still not", "no (and 3 earlier denied calls: only 2 a minute are recorded)"]


def test_a_clock_that_is_set_back_does_not_silence_the_history(new_medium: NewMedium) -> None:
    medium = new_medium(Limits(denied_per_minute=1))
    store = medium.reopen()
    store.deny(STRANGER, "before")
    medium.clock.now -= 86_400
    store.deny(STRANGER, "after")
    store.commit(CONFIG, ALLOCATION, DAEMON)
    assert [record.note for record in store.history(0, 10)] == ["", "after", "before"]


def test_texts_of_strangers_are_bounded(new_medium: NewMedium) -> None:
    store = new_medium().reopen()
    store.deny(Caller("x" * 1000, "\x1b[2J", "\ud800"), "line\n" * 100)
    (record,) = store.history(0, 1)
    assert record.caller == Caller("x" * (MAX_TEXT - 3) + "...", r"\x1b[2J", r"\ud800")
    assert len(record.note) == MAX_TEXT
    assert record.note.startswith(r"line\nline\n")


def test_a_commit_that_failed_is_not_in_the_history(new_medium: NewMedium) -> None:
    medium = new_medium()
    store = medium.reopen()
    store.commit(CONFIG, ALLOCATION, DAEMON)
    medium.fill()
    many = {f"p{number}": Pool(f"p{number}", "x" * 200) for number in range(500)}
    with pytest.raises(UnavailableError, match="full"):
        store.commit(dataclasses.replace(CONFIG, pools=many), ALLOCATION, ROOT)
    medium.free()
    assert revisions(store) == [1]
    assert store.commit(GROWN, ALLOCATION, ROOT) == 2
    assert revisions(store) == [2, 1]
    assert store.at(1) == CONFIG


def test_a_change_of_the_allocation_alone_is_a_revision(new_medium: NewMedium) -> None:
    store = new_medium().reopen()
    store.commit(CONFIG, ALLOCATION, DAEMON)
    store.commit(CONFIG, dataclasses.replace(ALLOCATION, cursors={"backend": 3}), DAEMON)
    assert store.history(0, 1)[0].differences == ()
    assert store.at(1) == store.at(2) == CONFIG
