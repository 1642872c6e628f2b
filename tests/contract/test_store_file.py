# SPDX-License-Identifier: Apache-2.0
"""What only the store in a file has to get right: rights, damage, other releases, other processes."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from contract.configs import ALLOCATION, CONFIG, WEB

from lb.core.allocation import Allocation
from lb.core.audit import DAEMON
from lb.core.diff import differences
from lb.core.errors import NotFoundError, UnavailableError
from lb.core.model import Backend, Config, Pool
from lb.ports import Stored
from lb.store.limits import Limits
from lb.store.schema import MIGRATIONS
from lb.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state" / "lb.db"
    store = SqliteStore(path)
    store.commit(CONFIG, ALLOCATION, DAEMON)
    store.close()
    return path


def test_one_change_writes_only_its_own_rows(path: Path) -> None:
    store = SqliteStore(path)
    store.load()
    written = store._file.connection.total_changes
    member = dataclasses.replace(WEB.backends["b1"], weight=3)
    web = dataclasses.replace(WEB, backends={**WEB.backends, "b1": member})
    store.commit(dataclasses.replace(CONFIG, pools={"web": web}), ALLOCATION, DAEMON)
    assert store._file.connection.total_changes - written == 4  # backend, revision, record and change
    store.close()


def test_the_file_is_private(path: Path) -> None:
    """It holds the hash key: who knows it can aim flows at one backend."""
    assert path.stat().st_mode & 0o777 == 0o600
    assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}


def test_a_commit_is_synced(path: Path) -> None:
    store = SqliteStore(path)
    assert store._file.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._file.connection.execute("PRAGMA synchronous").fetchone() == (2,)
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
        ("UPDATE vips SET body = json_set(body, '$.version', 4)", "format version 4, this release reads 1 to 3"),
        ("UPDATE vips SET body = json_set(body, '$.hash_policy', 'COLOUR')", "'COLOUR' is not a valid HashPolicy"),
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


VERSION_1_BODIES = {
    "settings": '{"hash_key":"000102030405060708090a0b0c0d0e0f","outer_source_ipv4":"172.16.0.0/16","version":1}',
    "pools/web": '{"description":"the shop","version":1}',
    "pools/web/backends/b1": '{"address":"10.0.0.11","admin_state":"ENABLED","version":1,"weight":2}',
    "vips/web": '{"address":"192.0.2.1","force":false,"pool":"web","port":80,"protocol":"TCP","version":1}',
}
"""The bodies of ``CONFIG`` as the first release wrote them."""


def test_a_file_of_the_first_release_is_read_and_written_on(path: Path) -> None:
    """An upgrade of the package must find its configuration; rows turn into the new form one by one, as they change."""
    for table, body in zip(("settings", "pools", "backends", "vips"), VERSION_1_BODIES.values(), strict=True):
        execute(path, f"UPDATE {table} SET body = '{body}'")
    store = SqliteStore(path)
    assert store.load() == Stored(1, CONFIG, ALLOCATION)
    web = dataclasses.replace(WEB, settle_seconds=0)
    changed = dataclasses.replace(CONFIG, pools={"web": web})
    store.commit(changed, ALLOCATION, DAEMON)
    bodies = [store._file.connection.execute(f"SELECT body FROM {table}").fetchone()[0] for table in ("pools", "vips")]
    assert [json.loads(body)["version"] for body in bodies] == [3, 1]
    store.close()
    store = SqliteStore(path)
    assert store.load() == Stored(2, changed, ALLOCATION)
    store.close()


def test_a_file_without_a_history_gets_one_from_its_revision_on(tmp_path: Path) -> None:
    """What the release before histories left behind is the first revision that can be gone back to."""
    path = tmp_path / "lb.db"
    db = sqlite3.connect(path, isolation_level=None)
    for statement in (*MIGRATIONS[0], "PRAGMA user_version = 1", "UPDATE revision SET number = 7", *SCHEMA_1_ROWS):
        db.execute(statement)
    db.close()
    store = SqliteStore(path)
    assert store.load() == Stored(7, CONFIG, ALLOCATION)
    assert store.history(0, 10) == []
    assert store.at(7) == CONFIG
    with pytest.raises(NotFoundError, match="revision 6 is not kept"):
        store.at(6)
    assert store.commit(Config(), Allocation(), DAEMON) == 8
    store.close()
    store = SqliteStore(path)
    assert [record.revision for record in store.history(0, 10)] == [8]
    assert store.at(7) == CONFIG
    store.close()


SCHEMA_1_ROWS = (
    """INSERT INTO settings VALUES (1, '{"hash_key":"000102030405060708090a0b0c0d0e0f",'
    || '"outer_source_ipv4":"172.16.0.0/16","outer_source_ipv6":"100::/64","version":2}')""",
    """INSERT INTO pools VALUES ('web', '{"description":"the shop","drain_idle_seconds":350,"settle_seconds":7500,'
    || '"udp_settle_seconds":60,"version":2}')""",
    """INSERT INTO backends VALUES ('web', 'b1', '{"address":"10.0.0.11","admin_state":"ENABLED","version":2,'
    || '"weight":2}')""",
    """INSERT INTO vips VALUES ('web', '{"address":"192.0.2.1","force":false,"hash_policy":"FIVE_TUPLE","pool":"web",'
    || '"port":80,"protocol":"TCP","version":2}')""",
    "INSERT INTO allocations VALUES ('vip', '[\"web\"]', 0), ('ring', '[\"web\", 6]', 0)",
    "INSERT INTO allocations VALUES ('backend', '[\"web\", \"b1\", \"10.0.0.11\"]', 1), ('cursor', '[\"backend\"]', 2)",
)
"""``CONFIG`` and ``ALLOCATION`` as the first release with schema 1 left them."""


def test_the_history_of_an_earlier_release_is_read(path: Path) -> None:
    """Bodies in the history stay as they were written: nobody converts years of them at an upgrade."""
    store = SqliteStore(path)
    store.commit(Config(), Allocation(), DAEMON)
    store.close()
    for name, body in VERSION_1_BODIES.items():
        execute(path, f"UPDATE changes SET old = '{body}' WHERE revision = 2 AND name = '{name}'")
        execute(path, f"UPDATE changes SET new = '{body}' WHERE revision = 1 AND name = '{name}'")
    store = SqliteStore(path)
    assert store.at(1) == CONFIG
    removed, added = store.history(0, 10)
    assert (removed.differences, added.differences) == (differences(CONFIG, Config()), differences(Config(), CONFIG))
    store.close()


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("UPDATE changes SET old = '{'", "Expecting"),
        ("UPDATE changes SET old = json_set(new, '$.version', 99)", "format version 99"),
        ("UPDATE changes SET name = 'colours/red'", "colours/red is not the name of an object: a newer release"),
    ],
)
def test_a_damaged_history_is_explained_and_does_not_stop_the_rest(path: Path, statement: str, complaint: str) -> None:
    """Forwarding and changes matter more than the memory of earlier ones."""
    execute(path, statement)
    store = SqliteStore(path)
    with pytest.raises(UnavailableError, match=f"is damaged or of another release .*{complaint}"):
        store.history(0, 10)
    with pytest.raises(UnavailableError, match=f"is damaged or of another release .*{complaint}"):
        store.at(0)
    assert store.commit(Config(), Allocation(), DAEMON) == 2
    assert store.at(1) == CONFIG
    store.close()


def test_a_history_with_a_gap_is_explained(path: Path) -> None:
    """A backend that was put back without its pool would be lost in silence."""
    store = SqliteStore(path)
    store.commit(Config(), Allocation(), DAEMON)
    store.close()
    execute(path, "DELETE FROM changes WHERE name = 'pools/web'")
    store = SqliteStore(path)
    with pytest.raises(UnavailableError, match="backend web/b1 belongs to no pool"):
        store.at(1)
    store.close()


def test_what_stays_as_it_was_is_shared_with_the_present(path: Path) -> None:
    """A way back costs what it changes, not what there is: all that follows tells by identity what to pass over."""
    store = SqliteStore(path)
    dns = Pool("dns", "names", {"b1": Backend("b1", IPv4Address("10.0.0.53"))})
    store.commit(dataclasses.replace(CONFIG, pools={**CONFIG.pools, "dns": dns}), ALLOCATION, DAEMON)
    present = store.load().config
    earlier = store.at(1)
    assert earlier.pools["web"] is present.pools["web"]
    assert earlier.vips is present.vips
    assert store.at(2) is present
    store.close()


def test_threads_do_not_meet_inside_a_transaction(path: Path) -> None:
    """The history is read, and strangers are denied, while a change is being written."""
    store = SqliteStore(path, limits=Limits(denied_per_minute=1000))
    store.load()
    with ThreadPoolExecutor(3) as pool:
        reads = [pool.submit(work) for _ in range(50) for work in (lambda: store.history(0, 5), lambda: store.at(0))]
        denials = [pool.submit(store.deny, DAEMON, "no") for _ in range(50)]
        for revision in range(2, 52):
            weight = dataclasses.replace(WEB.backends["b1"], weight=revision)
            web = dataclasses.replace(WEB, backends={"b1": weight})
            assert store.commit(dataclasses.replace(CONFIG, pools={"web": web}), ALLOCATION, DAEMON) == revision
        for done in (*reads, *denials):
            done.result()
    assert len(store.history(0, 1000)) == 51 + 50
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
    store._file.connection.execute("PRAGMA query_only = 1")
    for write in (lambda: store.commit(Config(), Allocation(), DAEMON), lambda: store.deny(DAEMON, "no")):
        with pytest.raises(UnavailableError, match="readonly database: let lbd write to that file"):
            write()
    assert [record.revision for record in store.history(0, 10)] == [1]
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
    assert [record.revision for record in theirs.history(0, 10)] == [2, 1]
    ours.close()
    theirs.close()


def test_a_locked_file_is_explained(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lb.store.database.BUSY_TIMEOUT_SECONDS", 0.01)
    store, other = SqliteStore(path), SqliteStore(path)
    store.load()
    other._file.connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="another process holds it"):
        store.commit(Config(), Allocation(), DAEMON)
    other.close()
    store.close()


def execute(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute(statement)
    db.close()
