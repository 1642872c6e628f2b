# SPDX-License-Identifier: Apache-2.0
"""Export, apply and rollback lead to the configuration that they say, from whatever is in force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from property.valid_configs import ADDRESSES, CONFIGS, NAMES, backends, pools

from lb.api.config_file import dump, merge, parse
from lb.api.overlay import lay_over, missing_pools
from lb.core import edit
from lb.core.allocation import Allocation, allocate
from lb.core.audit import DAEMON
from lb.core.diff import differences
from lb.core.errors import LbError, Violation
from lb.core.model import Backend, Config, Pool, Protocol, Settings, Vip
from lb.core.validate import Found
from lb.store.sqlite import SqliteStore
from lb.v1 import config_pb2, pool_pb2

Edit = Callable[[Config], Config]


def message_of(config: Config) -> config_pb2.Config:
    """What a client reads in an export of ``config`` and sends to the balancer."""
    return parse(dump(config), "lb.yaml").message


def apply(current: Config, message: config_pb2.Config, prune: bool) -> Config:
    """What comes of a message that nothing is wrong with."""
    found: Found = []
    config = lay_over(found, current, message, prune=prune)
    missing_pools(found, config, message)
    assert found == []
    return config


@given(CONFIGS, st.booleans())
def test_applying_an_export_changes_nothing(config: Config, prune: bool) -> None:
    """Neither what is in force, nor which objects say so: nothing after it has anything to do."""
    applied = apply(config, message_of(config), prune=prune)
    assert applied == config
    assert applied.settings is config.settings
    assert applied.pools is config.pools
    assert applied.vips is config.vips
    assert merge(config, parse(dump(config), "lb.yaml")) == (config, [])


@given(CONFIGS, CONFIGS)
def test_with_prune_the_file_is_what_is_in_force(current: Config, wanted: Config) -> None:
    """A balancer that drifted, or another one, becomes exactly what an export of this one says."""
    assert apply(current, message_of(wanted), prune=True) == wanted


@given(CONFIGS, CONFIGS)
def test_what_comes_out_unchanged_is_the_very_object(current: Config, wanted: Config) -> None:
    """Whatever is applied, planning and storing it costs only what it changes."""
    applied = apply(current, message_of(wanted), prune=False)
    for name, pool in current.pools.items():
        same = applied.pools[name]
        assert same is pool or same != pool
        assert all(
            same.backends.get(key) is member or same.backends.get(key) != member
            for key, member in pool.backends.items()
        )
    assert all(applied.vips.get(name) is vip or applied.vips.get(name) != vip for name, vip in current.vips.items())


@given(CONFIGS, CONFIGS)
def test_without_prune_the_rest_stays(current: Config, wanted: Config) -> None:
    """The file wins where it speaks; nothing else goes, except what holds an endpoint or address of the file."""
    applied = apply(current, message_of(wanted), prune=False)
    assert applied.settings == wanted.settings
    endpoints = {(vip.address, vip.port, vip.protocol) for vip in wanted.vips.values()}
    rest = {name: vip for name, vip in current.vips.items() if (vip.address, vip.port, vip.protocol) not in endpoints}
    assert applied.vips == {**rest, **wanted.vips}
    for name, pool in {**current.pools, **wanted.pools}.items():
        taken = {member.address for member in wanted.pools.get(name, Pool(name)).backends.values()}
        present = current.pools.get(name, Pool(name)).backends
        kept = {key: member for key, member in present.items() if member.address not in taken}
        assert applied.pools[name] == replace(pool, backends={**kept, **wanted.pools.get(name, Pool(name)).backends})


@given(CONFIGS, CONFIGS, st.data())
def test_a_file_that_says_little_leaves_fields_alone_and_is_done_after_once(
    current: Config, wanted: Config, data: st.DataObject
) -> None:
    """What a file leaves out keeps its value, with prune too: else a restart could undo a drain or move flows."""
    message = message_of(wanted)
    for item in (message.settings, *message.pools):
        for field in data.draw(st.sets(st.sampled_from(left_out(item)))):
            item.ClearField(field)
    for prune in (True, False):
        once = apply(current, message, prune=prune)
        for item in message.pools:
            base = current.pools.get(item.name, Pool(item.name))
            for field in left_out(item):
                expected = base if not item.HasField(field) else wanted.pools[item.name]
                assert getattr(once.pools[item.name], field) == getattr(expected, field)
        for field in left_out(message.settings):
            chosen = wanted if getattr(message.settings, field) else current
            assert getattr(once.settings, field) == getattr(chosen.settings, field)
        again = apply(once, message, prune=prune)
        assert again == once
        assert again.pools is once.pools


def left_out(item: config_pb2.Settings | pool_pb2.Pool) -> list[str]:
    """Fields that a file may leave out without changing them."""
    if isinstance(item, config_pb2.Settings):
        return ["hash_key", "outer_source_ipv4", "outer_source_ipv6"]
    return ["settle_seconds", "udp_settle_seconds", "drain_idle_seconds", "health_check", "fail_open"]


def test_pruning_removes_members_vips_and_pools_that_the_file_does_not_name() -> None:
    b1, b2 = (Backend(f"b{low}", IPv4Address(f"10.0.0.{low}"), low) for low in (1, 2))
    web = Pool("web", backends={"b1": b1, "b2": b2}, settle_seconds=7)
    vip = Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")
    current = Config(
        Settings(bytes(range(16))),
        {"web": web, "old": Pool("old")},
        {"web": vip, "old": replace(vip, name="old", port=81)},
    )
    text = """\
pools: [{name: web, backends: [{name: b2, address: 10.0.0.2}]}]
vips: [{name: web, address: 192.0.2.1, port: 80, protocol: TCP, pool: web}]
"""
    applied = apply(current, parse(text, "lb.yaml").message, prune=True)
    assert applied == Config(current.settings, {"web": replace(web, backends={"b2": b2})}, {"web": vip})
    assert [found.name for found in differences(current, applied)] == [
        "pools/old",
        "pools/web/backends/b1",
        "vips/old",
    ]


def test_a_vip_cannot_stay_on_a_pool_that_is_pruned() -> None:
    vip = Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")
    current = Config(pools={"web": Pool("web")}, vips={"web": vip})
    message = config_pb2.Config(vips=message_of(current).vips)
    for prune, complaints in (
        (False, []),
        (True, ["vips[0].pool: pool 'web' does not exist: add it to the file, or create it with `lbctl pool create`"]),
    ):
        found: Found = []
        missing_pools(found, lay_over(found, current, message, prune=prune), message)
        assert list(map(str, found)) == complaints


def test_what_is_wrong_is_found_at_its_place_with_prune_as_without() -> None:
    message = config_pb2.Config()
    message.pools.add(name="web").backends.add(name="b1", address="10.0.0.1:80")
    message.pools.add(name="web")
    message.vips.add(name="web", address="192.0.2.1", protocol="TCP", pool="//")
    for prune in (False, True):
        found: Found = []
        missing_pools(found, lay_over(found, Config(), message, prune=prune), message)
        assert [one.field for one in found] == ["pools[0].backends[0].address", "pools[1].name", "vips[0].pool"]
        assert all(isinstance(one, Violation) for one in found)


def edited(function: Callable[..., Config], *arguments: object) -> Edit:
    """One thing that an operator does."""
    return lambda config: function(config, *arguments)


@st.composite
def vips(draw: st.DrawFn) -> Vip:
    port, protocol = draw(st.sampled_from([0, 80])), draw(st.sampled_from(Protocol))
    return Vip(draw(NAMES), draw(ADDRESSES), port, protocol, draw(NAMES))


MEMBERS = st.tuples(NAMES, ADDRESSES).flatmap(lambda who: backends(*who))
EDITS = st.one_of(
    st.builds(edited, st.just(edit.put_pool), NAMES.flatmap(pools)),
    st.builds(edited, st.just(edit.delete_pool), NAMES),
    st.builds(edited, st.just(edit.put_backend), NAMES, MEMBERS),
    st.builds(edited, st.just(edit.delete_backend), NAMES, NAMES),
    st.builds(edited, st.just(edit.put_vip), vips()),
    st.builds(edited, st.just(edit.delete_vip), NAMES),
    st.builds(edited, st.just(apply), CONFIGS.map(message_of), st.booleans()),
)
"""Some are refused."""


@settings(max_examples=40)
@given(st.lists(EDITS, max_size=9), st.data())
def test_a_rollback_after_any_edits_restores_what_was(done: list[Edit], data: st.DataObject) -> None:
    """By the history, and by applying what was exported then: both are the way back after a bad day."""
    with TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "lb.db")
        configs, allocation = [Config(Settings(bytes(range(16))))], Allocation()
        store.commit(configs[0], allocation, DAEMON)
        for change in done:
            try:
                after = change(configs[-1])
            except LbError:
                continue
            allocation = allocate(after, allocation, configs[-1])
            store.commit(after, allocation, DAEMON)
            configs.append(after)

        revision = data.draw(st.integers(1, len(configs)))
        earlier = store.at(revision)
        assert earlier == configs[revision - 1]
        assert apply(configs[-1], message_of(earlier), prune=True) == earlier
        allocation = allocate(earlier, allocation, configs[-1])
        assert store.commit(earlier, allocation, DAEMON, f"rollback to revision {revision}") == len(configs) + 1
        assert store.load().config == configs[revision - 1]
        assert store.at(len(configs)) == configs[-1]
        store.close()
