# SPDX-License-Identifier: Apache-2.0
"""What a change does to flows, counted in slots."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from lb.core.diff import differences
from lb.core.errors import RefusedError
from lb.core.impact import Impact, check_move, impact, measure, upheavals
from lb.core.model import RING_SIZE, Config, HashPolicy, Pool, Protocol, Settings, Vip
from lb.core.slots import moving, stable, tracked

TCP = Protocol.TCP


@pytest.mark.parametrize(
    ("before", "after", "moved", "cut"),
    [
        pytest.param(stable(1), moving(2, 1), 1, 0, id="new flows move, older ones are kept"),
        pytest.param(stable(3), stable(1), 1, 1, id="the backend is gone: its flows are cut"),
        pytest.param(stable(3), stable(0), 1, 1, id="nobody is left"),
        pytest.param(stable(0), stable(1), 1, 0, id="there was nobody, so no flows"),
        pytest.param(moving(1, 2), tracked(1), 0, 0, id="a move that ends harms nobody"),
        pytest.param(moving(1, 3), tracked(1), 0, 1, id="the old backend of a move is gone"),
        pytest.param(moving(3, 2), stable(2), 1, 1, id="the new backend of a move is gone, with what began on it"),
        pytest.param(moving(1, 2), moving(4, 2), 1, 0, id="a move that goes elsewhere"),
        pytest.param(tracked(1), stable(1), 0, 0, id="a slot that settles"),
        pytest.param(tracked(1), moving(2, 1), 1, 0, id="a tracked slot moves on"),
        pytest.param(tracked(3), tracked(1), 1, 1, id="a tracked slot's own backend is gone"),
    ],
)
def test_one_slot(before: int, after: int, moved: int, cut: int) -> None:
    """Backends 1, 2 and 4 accept flows afterwards, 3 does not."""
    assert impact("web", TCP, [(before, after)], {1, 2, 4}) == Impact("web", TCP, moved, cut)


def test_flows_that_are_not_protected_go_where_their_slot_goes() -> None:
    found = impact("web", TCP, [(stable(1), moving(2, 1)), (stable(0), stable(1))], {1, 2}, protected=False)
    assert (found.moved, found.cut) == (2, 1)


def test_shares_are_those_of_a_ring() -> None:
    found = Impact("web", TCP, RING_SIZE, RING_SIZE // 2)
    assert found.new_share == 1.0
    assert found.old_share == pytest.approx(0.5, abs=1e-4)


def test_what_is_measured_is_what_was_predicted() -> None:
    before = [stable(1), stable(3), moving(1, 2), stable(2)]
    after = [moving(2, 1), stable(2), moving(1, 2), stable(2)]
    changes = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert measure("web", TCP, before, after, {1, 2}) == impact("web", TCP, changes, {1, 2})


@pytest.mark.parametrize(("moved", "cut"), [(RING_SIZE // 3, 0), (0, RING_SIZE // 3)])
def test_a_change_that_moves_too_much_is_refused(moved: int, cut: int) -> None:
    check_move([Impact("web", TCP, moved, cut)], [], 33.4)
    with pytest.raises(RefusedError, match=r"pool 'web', TCP: 33\.3 % .* more than the 33 % .* --max-move"):
        check_move([Impact("small", TCP, 1, 1), Impact("web", TCP, moved, cut)], [], 33.0)


WEB = Vip("web", IPv4Address("192.0.2.1"), 80, TCP, "web")


@pytest.mark.parametrize(
    ("after", "words"),
    [
        pytest.param([], ["vip web: all its flows are cut"], id="removed"),
        pytest.param([replace(WEB, port=81)], ["vip web: all its flows are cut"], id="another port"),
        pytest.param([replace(WEB, protocol=Protocol.UDP)], ["vip web: all its flows are cut"], id="another protocol"),
        pytest.param(
            [replace(WEB, pool="blue")], ["vip web: its flows move, existing ones are not protected"], id="another pool"
        ),
        pytest.param(
            [replace(WEB, hash_policy=HashPolicy.SOURCE)],
            ["vip web: its flows move, existing ones are not protected"],
            id="another hash policy",
        ),
        pytest.param(
            [replace(WEB, name="shop", pool="blue")], ["vip web: all its flows are cut"], id="another name and pool"
        ),
        pytest.param([replace(WEB, name="shop")], [], id="another name alone"),
        pytest.param([replace(WEB, force=True)], [], id="what flows do not feel"),
        pytest.param([WEB, replace(WEB, name="new", port=443)], [], id="one more"),
    ],
)
def test_what_happens_to_whole_vips(after: list[Vip], words: list[str]) -> None:
    """No slot moves, and yet every client is cut off: the plan says so, and a limit refuses it."""
    changes = differences(config(WEB), config(*after))
    assert upheavals(changes) == words
    check_move([], upheavals(changes), 100.0)
    if words:
        with pytest.raises(RefusedError, match=rf"^{words[0]}, more than the 99 % .* --max-move$"):
            check_move([], upheavals(changes), 99.0)
    else:
        check_move([], upheavals(changes), 0.0)


def test_a_new_hash_key_moves_the_flows_of_every_vip() -> None:
    before = config(WEB)
    after = replace(before, settings=Settings(hash_key=bytes(range(16))))
    (words,) = upheavals(differences(before, after))
    assert words == "settings: a new hash key moves the flows of every vip, existing ones are not protected"


def config(*vips: Vip) -> Config:
    """With two pools."""
    return Config(pools={"web": Pool("web"), "blue": Pool("blue")}, vips={vip.name: vip for vip in vips})
