# SPDX-License-Identifier: Apache-2.0
"""What every store promises: the durable one and the one in memory pass the same tests."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import typing
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from fakes.store import MemoryStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lb.core.allocation import Allocation
from lb.core.audit import DAEMON
from lb.core.errors import UnavailableError
from lb.core.model import AdminState, Backend, Config, HashPolicy, Pool, Protocol, Settings, Vip
from lb.ports import Store, Stored
from lb.store.schema import MIGRATIONS
from lb.store.sqlite import SqliteStore

NAMES = st.sampled_from(["a", "b", "c-1"])
ADDRESSES = st.integers(0x0A000001, 0x0A0000FF).map(IPv4Address) | st.integers(1, 0xFF).map(
    lambda low: IPv6Address(0x20010DB8 << 96 | low)
)
SECONDS = st.integers(0, 604_800)
BACKENDS = st.builds(Backend, NAMES, ADDRESSES, st.integers(0, 65535), st.sampled_from(AdminState))
POOLS = st.builds(
    Pool,
    NAMES,
    st.text(max_size=9),
    st.lists(BACKENDS).map(lambda found: {backend.name: backend for backend in found}),
    SECONDS,
    SECONDS,
    SECONDS,
)
VIPS = st.builds(
    Vip,
    NAMES,
    ADDRESSES,
    st.integers(0, 65535),
    st.sampled_from(Protocol),
    NAMES,
    st.booleans(),
    st.sampled_from(HashPolicy),
)
SETTINGS = st.builds(
    Settings,
    st.binary(min_size=16, max_size=16),
    st.none() | st.integers(8, 30).map(lambda length: IPv4Network(("172.16.0.0", length), strict=False)),
    st.none() | st.integers(32, 96).map(lambda length: IPv6Network(("100::", length))),
)
CONFIGS = st.builds(
    Config,
    SETTINGS,
    st.lists(POOLS).map(lambda found: {pool.name: pool for pool in found}),
    st.lists(VIPS).map(lambda found: {vip.name: vip for vip in found}),
)
ALLOCATIONS = st.builds(
    Allocation,
    st.dictionaries(NAMES, st.integers(0, 99)),
    st.dictionaries(st.tuples(NAMES, st.sampled_from([6, 17])), st.integers(0, 99)),
    st.dictionaries(st.tuples(NAMES, NAMES, ADDRESSES.map(str)), st.integers(1, 65534)),
    st.dictionaries(st.sampled_from(["vip", "ring", "backend"]), st.integers(0, 99)),
)

WEB = Pool("web", "the shop", {"b1": Backend("b1", IPv4Address("10.0.0.11"), 2)})
CONFIG = Config(
    Settings(bytes(range(16))), {"web": WEB}, {"web": Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")}
)
ALLOCATION = Allocation({"web": 0}, {("web", 6): 0}, {("web", "b1", "10.0.0.11"): 1}, {"backend": 2})


class Medium(typing.Protocol):
    """A place that a store is opened on, again and again; ``fill`` makes its commits fail, ``free`` ends that."""

    def reopen(self) -> Store: ...
    def fill(self) -> None: ...
    def free(self) -> None: ...


class Disk:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.store: SqliteStore | None = None

    def reopen(self) -> Store:
        if self.store:
            self.store.close()
        self.store = SqliteStore(self.path)
        return self.store

    def fill(self) -> None:
        self._limit(1)

    def free(self) -> None:
        self._limit(0xFFFFFFFE)

    def _limit(self, pages: int) -> None:
        assert self.store
        self.store._db.execute(f"PRAGMA max_page_count = {pages}")


class Memory:
    def __init__(self) -> None:
        self.store = MemoryStore()

    def reopen(self) -> Store:
        return self.store

    def fill(self) -> None:
        self.store.failure = "database or disk is full"

    def free(self) -> None:
        self.store.failure = ""


@pytest.fixture(params=["disk", "memory"])
def new_medium(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Medium]]:
    made: list[Medium] = []

    def new() -> Medium:
        made.append(Disk(tmp_path / f"{len(made)}.db") if request.param == "disk" else Memory())
        return made[-1]

    yield new
    for medium in made:
        medium.reopen().close()


def test_a_new_store_is_empty_at_revision_0(new_medium: Callable[[], Medium]) -> None:
    assert new_medium().reopen().load() == Stored(0, Config(), Allocation())


def test_what_was_committed_survives_a_restart(new_medium: Callable[[], Medium]) -> None:
    medium = new_medium()
    assert medium.reopen().commit(CONFIG, ALLOCATION, DAEMON) == 1
    assert medium.reopen().load() == Stored(1, CONFIG, ALLOCATION)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=st.lists(st.tuples(CONFIGS, ALLOCATIONS, st.booleans()), max_size=6))
def test_load_equals_the_last_commit(
    new_medium: Callable[[], Medium], commits: list[tuple[Config, Allocation, bool]]
) -> None:
    """Writing only what differs must never leave an old object behind, restart in between or not."""
    medium = new_medium()
    store = medium.reopen()
    expected = Stored(0, Config(), Allocation())
    for number, (config, allocation, restart) in enumerate(commits, start=1):
        assert store.commit(config, allocation, DAEMON) == number
        expected = Stored(number, config, allocation)
        if restart:
            store = medium.reopen()
    assert medium.reopen().load() == expected


def test_a_failed_commit_changes_nothing(new_medium: Callable[[], Medium]) -> None:
    """A full disk must leave the old configuration whole, and the next call after clean-up must work."""
    medium = new_medium()
    store = medium.reopen()
    store.commit(CONFIG, ALLOCATION, DAEMON)
    medium.fill()
    many = {f"p{number}": Pool(f"p{number}", "x" * 200) for number in range(500)}
    with pytest.raises(UnavailableError, match="full"):
        store.commit(dataclasses.replace(CONFIG, pools={**CONFIG.pools, **many}), ALLOCATION, DAEMON)
    assert store.load() == Stored(1, CONFIG, ALLOCATION)
    medium.free()
    assert store.commit(dataclasses.replace(CONFIG, vips={}), ALLOCATION, DAEMON) == 2
    assert medium.reopen().load() == Stored(2, dataclasses.replace(CONFIG, vips={}), ALLOCATION)


# What only a file can do.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state" / "lb.db"
    store = SqliteStore(path)
    store.commit(CONFIG, ALLOCATION, DAEMON)
    store.close()
    return path


def test_one_change_writes_only_its_own_row(path: Path) -> None:
    store = SqliteStore(path)
    store.load()
    written = store._db.total_changes
    member = dataclasses.replace(WEB.backends["b1"], weight=3)
    web = dataclasses.replace(WEB, backends={**WEB.backends, "b1": member})
    store.commit(dataclasses.replace(CONFIG, pools={"web": web}), ALLOCATION, DAEMON)
    assert store._db.total_changes - written == 2  # the backend, and the revision
    store.close()


def test_the_file_is_private(path: Path) -> None:
    """It holds the hash key: who knows it can aim flows at one backend."""
    assert path.stat().st_mode & 0o777 == 0o600
    assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}


def test_a_commit_is_synced(path: Path) -> None:
    store = SqliteStore(path)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    store.close()


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    (tmp_path / "lb.db").write_bytes(b"not a database, by far" * 100)
    with pytest.raises(UnavailableError, match=r"lb\.db is damaged .* restore it from a backup"):
        SqliteStore(tmp_path / "lb.db")


def test_damaged_pages_are_explained(path: Path) -> None:
    """Damage must be found at start, not at the first change next month."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = bytes(len(content) - 4096 * 2)
    path.write_bytes(content)
    with pytest.raises(UnavailableError, match="is damaged"):
        SqliteStore(path)


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    execute(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(UnavailableError, match="written by a newer release"):
        SqliteStore(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    db.close()


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("UPDATE pools SET body = '{'", "Expecting"),
        ("UPDATE pools SET body = '[1]'", "not a JSON object"),
        ("UPDATE vips SET body = json_set(body, '$.version', 3)", "format version 3, this release reads 1 to 2"),
        ("UPDATE vips SET body = json_set(body, '$.hash_policy', 'COLOUR')", "'COLOUR' is missing or unknown"),
        ("UPDATE pools SET body = json_remove(body, '$.settle_seconds')", "'settle_seconds' is missing"),
        ("UPDATE settings SET body = json_set(body, '$.outer_source_ipv6', 'off')", "settings: "),
        ("UPDATE vips SET body = json_set(body, '$.colour', 'red')", "unknown field colour"),
        ("UPDATE backends SET body = json_remove(body, '$.weight')", "'weight' is missing"),
        ("UPDATE backends SET body = json_set(body, '$.weight', '3')", "not a whole number"),
        ("UPDATE settings SET body = json_set(body, '$.hash_key', '00')", "1 bytes, not 16"),
        ("DELETE FROM pools", "belongs to no pool"),
        ("UPDATE allocations SET kind = 'colour' WHERE kind = 'vip'", "unknown allocation colour"),
    ],
)
def test_a_row_that_cannot_be_understood_is_explained(path: Path, statement: str, complaint: str) -> None:
    execute(path, statement)
    store = SqliteStore(path)
    with pytest.raises(UnavailableError, match=complaint):
        store.load()
    store.close()


VERSION_1 = (
    """UPDATE settings SET body = '{"hash_key":"000102030405060708090a0b0c0d0e0f",'
    || '"outer_source_ipv4":"172.16.0.0/16","version":1}'""",
    """UPDATE pools SET body = '{"description":"the shop","version":1}'""",
    """UPDATE backends SET body = '{"address":"10.0.0.11","admin_state":"ENABLED","version":1,"weight":2}'""",
    """UPDATE vips SET body = '{"address":"192.0.2.1","force":false,"pool":"web","port":80,"protocol":"TCP",'
    || '"version":1}'""",
)
"""The rows of ``CONFIG`` as the first release wrote them."""


def test_a_file_of_the_first_release_is_read_and_written_on(path: Path) -> None:
    """An upgrade of the package must find its configuration; rows turn into the new form one by one, as they change."""
    for statement in VERSION_1:
        execute(path, statement)
    store = SqliteStore(path)
    assert store.load() == Stored(1, CONFIG, ALLOCATION)
    web = dataclasses.replace(WEB, settle_seconds=0)
    changed = dataclasses.replace(CONFIG, pools={"web": web})
    store.commit(changed, ALLOCATION, DAEMON)
    bodies = [store._db.execute(f"SELECT body FROM {table}").fetchone()[0] for table in ("pools", "vips")]
    assert [json.loads(body)["version"] for body in bodies] == [2, 1]
    store.close()
    store = SqliteStore(path)
    assert store.load() == Stored(2, changed, ALLOCATION)
    store.close()


def test_a_directory_in_place_of_the_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="Is a directory: give lbd a --state-dir"):
        SqliteStore(tmp_path)


def test_a_file_in_place_of_the_directory_is_explained(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(UnavailableError, match="--state-dir that it may write to"):
        SqliteStore(tmp_path / "state" / "lb.db")


def test_a_database_that_became_read_only_is_explained(path: Path) -> None:
    store = SqliteStore(path)
    store.load()
    store._db.execute("PRAGMA query_only = 1")
    with pytest.raises(UnavailableError, match="readonly database: let lbd write to that file"):
        store.commit(Config(), Allocation(), DAEMON)
    store.close()


def test_a_second_writer_is_found_out(path: Path) -> None:
    """Two daemons on one state directory would undo each other's changes."""
    ours, theirs = SqliteStore(path), SqliteStore(path)
    ours.load()
    theirs.load()
    theirs.commit(Config(), Allocation(), DAEMON)
    with pytest.raises(UnavailableError, match="changed by another process"):
        ours.commit(dataclasses.replace(CONFIG, vips={}), ALLOCATION, DAEMON)
    assert theirs.load() == Stored(2, Config(), Allocation())
    ours.close()
    theirs.close()


def test_a_locked_file_is_explained(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lb.store.sqlite.BUSY_TIMEOUT_SECONDS", 0.01)
    store, other = SqliteStore(path), SqliteStore(path)
    store.load()
    other._db.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="another process holds it"):
        store.commit(Config(), Allocation(), DAEMON)
    other.close()
    store.close()


def execute(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute(statement)
    db.close()
