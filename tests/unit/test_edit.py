# SPDX-License-Identifier: Apache-2.0
"""Edits: what the present state forbids, and that nothing is ever changed in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from lb.core import edit
from lb.core.errors import ExistsError, NotFoundError, RefusedError, Violation
from lb.core.model import AdminState, Backend, Config, Pool, Protocol, Vip

B1 = Backend("b1", IPv4Address("10.0.0.11"), 2)
B2 = Backend("b2", IPv4Address("10.0.0.12"))
WEB = Pool("web", "the shop", {"b1": B1})
VIP = Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")
CONFIG = Config(pools={"web": WEB, "spare": Pool("spare")}, vips={"web": VIP})


def test_create_then_delete_leads_back() -> None:
    config = edit.create_pool(Config(), Pool("web"))
    config = edit.create_backend(config, "web", B1)
    config = edit.create_vip(config, VIP)
    assert edit.find_vip(config, "web") == VIP
    assert edit.find_backend(config, "web", "b1") == B1
    config = edit.delete_vip(config, "web")
    config = edit.delete_backend(config, "web", "b1")
    assert edit.find_pool(config, "web") == Pool("web")
    assert edit.delete_pool(config, "web") == Config()


def test_an_edit_leaves_its_input_alone_and_shares_the_rest() -> None:
    """Readers hold snapshots, and the store finds what differs by identity."""
    before = repr(CONFIG)
    after = edit.put_backend(CONFIG, "web", replace(B1, weight=9))
    assert after.pools["web"].backends["b1"].weight == 9
    assert repr(CONFIG) == before
    assert after.pools["spare"] is CONFIG.pools["spare"]
    assert after.vips is CONFIG.vips


def test_deleting_a_pool_in_use_says_by_whom() -> None:
    more = edit.create_vip(CONFIG, replace(VIP, name="also", port=81))
    with pytest.raises(
        RefusedError, match="pool 'web' is used by vip also, web: delete the VIP or point it at another"
    ):
        edit.delete_pool(more, "web")


def test_deleting_a_pool_deletes_its_members() -> None:
    config = edit.delete_pool(edit.delete_vip(CONFIG, "web"), "web")
    assert set(config.pools) == {"spare"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: edit.create_pool(CONFIG, Pool("web")), "pool 'web' exists already; `lbctl pool update`"),
        (lambda: edit.create_vip(CONFIG, replace(VIP, port=81)), "vip 'web' exists already; `lbctl vip update`"),
        (lambda: edit.create_vip(CONFIG, replace(VIP, name="v2")), "192.0.2.1 port 80 TCP is vip 'web' already"),
        (lambda: edit.create_backend(CONFIG, "web", replace(B2, name="b1")), "backend web/b1 exists already"),
        (lambda: edit.create_backend(CONFIG, "web", replace(B1, name="b2")), "10.0.0.11 is backend web/b1 already"),
    ],
)
def test_what_exists_already(change: Callable[[], Config], message: str) -> None:
    with pytest.raises(ExistsError) as caught:
        change()
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: edit.find_vip(CONFIG, "no"), "vip 'no' does not exist; `lbctl vip list`"),
        (lambda: edit.find_pool(CONFIG, "no"), "pool 'no' does not exist; `lbctl pool list`"),
        (lambda: edit.find_backend(CONFIG, "no", "b1"), "pool 'no' does not exist"),
        (lambda: edit.find_backend(CONFIG, "web", "no"), "backend web/no does not exist; `lbctl backend list web`"),
        (lambda: edit.delete_vip(CONFIG, "no"), "vip 'no' does not exist"),
        (lambda: edit.delete_pool(CONFIG, "no"), "pool 'no' does not exist"),
        (lambda: edit.delete_backend(CONFIG, "web", "no"), "backend web/no does not exist"),
        (lambda: edit.create_backend(CONFIG, "no", B2), "pool 'no' does not exist"),
    ],
)
def test_what_does_not_exist(change: Callable[[], Config], message: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        change()
    assert message in caught.value.message


def test_a_vip_of_an_unknown_pool_names_the_field() -> None:
    with pytest.raises(NotFoundError) as caught:
        edit.create_vip(CONFIG, replace(VIP, name="v2", port=81, pool="no"))
    assert caught.value.violations == (Violation("vip.pool", "pool 'no' does not exist: create it first"),)


def test_one_address_carries_many_ports_and_protocols_and_every_port() -> None:
    config = edit.create_vip(CONFIG, replace(VIP, name="tls", port=443))
    config = edit.create_vip(config, replace(VIP, name="dns", protocol=Protocol.UDP))
    config = edit.create_vip(config, replace(VIP, name="rest", port=0))
    assert set(config.vips) == {"web", "tls", "dns", "rest"}


def test_one_address_may_be_in_several_pools() -> None:
    assert edit.create_backend(CONFIG, "spare", B1).pools["spare"].backends == {"b1": B1}


def test_put_replaces_an_object_by_itself() -> None:
    assert edit.put_vip(CONFIG, VIP) == CONFIG
    assert edit.put_backend(CONFIG, "web", B1) == CONFIG


def test_a_drain_has_a_deadline_or_none() -> None:
    """A second drain is how the deadline changes."""
    config = edit.drain_backend(CONFIG, "web", "b1", 1_800_000_000)
    draining = replace(B1, admin_state=AdminState.DRAINING, drain_deadline=1_800_000_000)
    assert config.pools["web"].backends["b1"] == draining
    config = edit.drain_backend(config, "web", "b1", 0)
    assert config.pools["web"].backends["b1"] == replace(draining, drain_deadline=0)


def test_a_disabled_backend_has_nothing_to_drain() -> None:
    """It would get flows again only to lose them."""
    config = edit.put_backend(CONFIG, "web", replace(B1, admin_state=AdminState.DISABLED))
    with pytest.raises(RefusedError, match=r"backend web/b1 is disabled, .*`lbctl backend enable web/b1`"):
        edit.drain_backend(config, "web", "b1", 0)
    with pytest.raises(NotFoundError, match="backend web/no does not exist"):
        edit.drain_backend(config, "web", "no", 0)
