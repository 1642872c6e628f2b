# SPDX-License-Identifier: Apache-2.0
"""What differs between two configurations: in words, in a fixed order, and at a price of what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TypeVar

import pytest
from contract.configs import CONFIGS, EDITS, Edit
from hypothesis import given

from lb.core import edit
from lb.core.audit import Action, Difference
from lb.core.checks import CheckKind, HealthCheck
from lb.core.diff import changes, differences, patched
from lb.core.model import AdminState, Backend, Config, Pool, Protocol, Settings, Vip

B1 = Backend("b1", IPv4Address("10.0.0.11"))
B2 = Backend("b2", IPv4Address("10.0.0.12"))
WEB = Pool("web", "the shop", {"b1": B1, "b2": B2})
DNS = Pool("dns")
VIP = Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")
CONFIG = Config(Settings(bytes(15) + b"\1"), {"web": WEB, "dns": DNS}, {"web": VIP})


def test_nothing_differs_from_itself() -> None:
    assert differences(CONFIG, CONFIG) == ()
    assert differences(CONFIG, replace(CONFIG, pools=dict(CONFIG.pools), vips=dict(CONFIG.vips))) == ()


def test_a_changed_field_is_shown_as_it_was_and_as_it_is() -> None:
    after = edit.put_backend(CONFIG, "web", replace(B1, weight=3, admin_state=AdminState.DRAINING))
    assert differences(CONFIG, after) == (
        Difference(
            Action.CHANGED, "pools/web/backends/b1", (("weight", "1", "3"), ("admin_state", "ENABLED", "DRAINING"))
        ),
    )


def test_a_pool_is_not_its_members() -> None:
    """Who changed a backend did not change the pool, and the other way round."""
    after = edit.put_pool(CONFIG, replace(WEB, description="", fail_open=False))
    assert differences(CONFIG, after) == (
        Difference(Action.CHANGED, "pools/web", (("description", "the shop", ""), ("fail_open", "true", "false"))),
    )


def test_a_nested_field_is_named_by_its_way() -> None:
    checked = replace(WEB, health_check=HealthCheck(CheckKind.HTTP))
    moved = replace(WEB, health_check=HealthCheck(CheckKind.HTTP, path="/health"))
    (added,) = differences(CONFIG, edit.put_pool(CONFIG, checked))
    assert added.fields[0] == ("health_check.kind", "", "HTTP")
    assert ("health_check.path", "", "/") in added.fields
    (changed,) = differences(edit.put_pool(CONFIG, checked), edit.put_pool(CONFIG, moved))
    assert changed == Difference(Action.CHANGED, "pools/web", (("health_check.path", "/", "/health"),))


def test_what_is_added_and_removed_is_shown_in_full() -> None:
    fields = (("address", "10.0.0.12"), ("weight", "1"), ("admin_state", "ENABLED"), ("drain_deadline", "0"))
    name = "pools/web/backends/b2"
    less = edit.delete_backend(CONFIG, "web", "b2")
    added = Difference(Action.ADDED, name, tuple((field, "", value) for field, value in fields))
    removed = Difference(Action.REMOVED, name, tuple((field, value, "") for field, value in fields))
    assert differences(less, CONFIG) == (added,)
    assert differences(CONFIG, less) == (removed,)


def test_the_order_is_settings_pools_with_their_backends_vips_each_by_name() -> None:
    """The same change reads the same on every balancer of a fleet, whatever order its file has."""
    new = Config(
        Settings(bytes(15) + b"\2"),
        {"zoo": Pool("zoo"), "web": replace(WEB, backends={"b9": B2, "b1": replace(B1, weight=0)}), "api": Pool("api")},
        {"web": replace(VIP, pool="zoo"), "api": replace(VIP, name="api", port=81)},
    )
    assert [(found.action.value, found.name) for found in differences(CONFIG, new)] == [
        ("CHANGED", "settings"),
        ("ADDED", "pools/api"),
        ("REMOVED", "pools/dns"),
        ("CHANGED", "pools/web/backends/b1"),
        ("REMOVED", "pools/web/backends/b2"),
        ("ADDED", "pools/web/backends/b9"),
        ("ADDED", "pools/zoo"),
        ("ADDED", "vips/api"),
        ("CHANGED", "vips/web"),
    ]


def test_a_removed_pool_takes_its_backends_with_it() -> None:
    gone = differences(CONFIG, Config(CONFIG.settings))
    assert [found.name for found in gone] == [
        "pools/dns",
        "pools/web",
        "pools/web/backends/b1",
        "pools/web/backends/b2",
        "vips/web",
    ]
    assert {found.action for found in gone} == {Action.REMOVED}


def test_the_hash_key_is_seen_to_change_but_not_shown() -> None:
    """Who knows it can aim flows at one backend; a history is read by many."""
    (found,) = differences(CONFIG, replace(CONFIG, settings=Settings(bytes(range(16)))))
    assert found == Difference(Action.CHANGED, "settings", (("hash_key", "(secret)", "(secret)"),))


def test_what_is_off_has_no_text() -> None:
    (found,) = differences(CONFIG, replace(CONFIG, settings=replace(CONFIG.settings, outer_source_ipv4=None)))
    assert found.fields == (("outer_source_ipv4", "172.16.0.0/16", ""),)


def test_long_and_odd_texts_stay_on_their_line() -> None:
    check = HealthCheck(CheckKind.HTTP, expected_body="two\nlines", path="/" + "x" * 200)
    (found,) = differences(CONFIG, edit.put_pool(CONFIG, replace(WEB, health_check=check)))
    shown = {field: new for field, _, new in found.fields}
    assert shown["health_check.expected_body"] == r"two\nlines"
    assert shown["health_check.path"] == "/" + "x" * 76 + "..."


V = TypeVar("V")


class Untouchable(Mapping[str, V]):
    """A mapping that nobody may look into."""

    def __getitem__(self, key: str) -> V:
        raise AssertionError(f"looked for {key}")

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("walked through")

    def __len__(self) -> int:
        raise AssertionError("counted")


def test_what_an_edit_left_alone_is_not_looked_at() -> None:
    """One backend's change must not take time for every VIP, nor for the members of other pools."""
    other = Pool("other", backends=Untouchable())
    before = Config(CONFIG.settings, {"web": WEB, "other": other}, Untouchable())
    after = edit.put_backend(before, "web", replace(B1, weight=7))
    assert [found.name for found in differences(before, after)] == ["pools/web/backends/b1"]
    assert patched(after, {"pools/web/backends/b1": B1}).vips is before.vips


@given(CONFIGS, EDITS)
def test_differences_tell_what_became_of_every_object(old: Config, change: Edit) -> None:
    new = change(old)
    before, after = objects(old), objects(new)
    expected = {name for name in before | after if before.get(name) != after.get(name)}
    found = differences(old, new)
    assert {one.name for one in found} == expected
    for one in found:
        action = Action.ADDED if one.name not in before else Action.REMOVED if one.name not in after else Action.CHANGED
        assert one.action is action
        assert one.fields


def objects(config: Config) -> dict[str, object]:
    """Everything with a resource name; a pool without its members."""
    found: dict[str, object] = {"settings": config.settings}
    for pool in config.pools.values():
        found[f"pools/{pool.name}"] = replace(pool, backends={})
        for backend in pool.backends.values():
            found[f"pools/{pool.name}/backends/{backend.name}"] = backend
    for vip in config.vips.values():
        found[f"vips/{vip.name}"] = vip
    return found


@given(CONFIGS, EDITS)
def test_changes_lead_to_the_new_configuration_and_back(old: Config, change: Edit) -> None:
    """The history goes back by what changed alone."""
    new = change(old)
    found = list(changes(old, new))
    assert patched(old, {one.name: one.new for one in found}) == new
    assert patched(new, {one.name: one.old for one in found}) == old


@pytest.mark.parametrize(
    ("objects", "complaint"),
    [
        ({"pools/new/backends/b1": B1}, "backend new/b1 belongs to no pool"),
        ({"pools/web": None, "pools/web/backends/b3": B1}, "backend web/b3 belongs to no pool"),
        ({"vips/web": B1}, "vips/web: there is no object of such a name and kind"),
        ({"colours/red": None}, "colours/red: there is no object"),
    ],
)
def test_what_fits_nowhere_is_refused(objects: dict[str, Backend | None], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        patched(CONFIG, objects)
