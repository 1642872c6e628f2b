# SPDX-License-Identifier: Apache-2.0
"""What a change does to flows, in slots of a ring: predicted by the planner, and measured in the maps afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from lb.core.audit import Action, Difference
from lb.core.errors import RefusedError
from lb.core.model import RING_SIZE, Protocol
from lb.core.slots import NONE, TRACKED, base, current

_ENDPOINT = frozenset({"address", "port", "protocol"})
_REHASHED = frozenset({"pool", "hash_policy"})
"""Fields of a VIP that decide which ring its flows use, and which slot of it."""


@dataclass(frozen=True, slots=True)
class Impact:
    """On one ring; of RING_SIZE slots.

    ``moved``: slots whose new flows go to another backend than before. ``cut``: slots whose older flows lose theirs: it
    does not accept them any more, or they are not protected.
    """

    pool: str
    protocol: Protocol
    moved: int = 0
    cut: int = 0

    @property
    def new_share(self) -> float:
        """Share of new flows that go elsewhere, 0 to 1."""
        return self.moved / RING_SIZE

    @property
    def old_share(self) -> float:
        """Share of existing flows that are cut, 0 to 1."""
        return self.cut / RING_SIZE


def impact(
    pool: str,
    protocol: Protocol,
    changes: Iterable[tuple[int, int]],
    accepting: AbstractSet[int],
    *,
    protected: bool = True,
) -> Impact:
    """Count what happens to flows.

    Args:
        pool: The ring's pool.
        protocol: The ring's protocol.
        changes: (word before, word after) of the slots that change.
        accepting: Backend indices that accept flows after the change.
        protected: False when the pool's ``settle_seconds`` is 0: flows follow their slot at once.
    """
    moved = cut = 0
    for before, after in changes:
        elsewhere = current(before) != current(after) and current(before) != NONE
        moved += current(before) != current(after)
        # Older flows of a slot that moves are on its old backend, and those that began since on the new one.
        holders = {current(before), base(before)} - {NONE, TRACKED}
        cut += not holders <= accepting or (elsewhere and not protected)
    return Impact(pool, protocol, moved, cut)


def measure(
    pool: str,
    protocol: Protocol,
    before: Iterable[int],
    after: Iterable[int],
    accepting: AbstractSet[int],
    *,
    protected: bool = True,
) -> Impact:
    """What became of a ring, from all its words before and after; whether flows are ``protected`` is not seen there."""
    changes = [(was, now) for was, now in zip(before, after, strict=True) if was != now]
    return impact(pool, protocol, changes, accepting, protected=protected)


def upheavals(changes: Iterable[Difference]) -> list[str]:
    """What moves or cuts all flows of a VIP at once, in words: it may be that no slot of a ring moves then."""
    found = list(changes)
    put = {_flows_of(item, new=True) for item in found if item.action is Action.ADDED}
    lines = []
    for item in found:
        changed = {name for name, _, _ in item.fields}
        vip = f"vip {item.name.removeprefix('vips/')}"
        if item.name == "settings" and "hash_key" in changed:
            lines.append("settings: a new hash key moves the flows of every vip, existing ones are not protected")
        elif not item.name.startswith("vips/") or item.action is Action.ADDED:
            continue
        elif item.action is Action.REMOVED:
            # Under another name it goes on as it was.
            if _flows_of(item, new=False) not in put:
                lines.append(f"{vip}: all its flows are cut")
        elif changed & _ENDPOINT:
            lines.append(f"{vip}: all its flows are cut")
        elif changed & _REHASHED:
            lines.append(f"{vip}: its flows move, existing ones are not protected")
    return lines


def _flows_of(vip: Difference, *, new: bool) -> frozenset[tuple[str, str]]:
    """What decides about the flows of a VIP that comes (``new``) or goes."""
    sides = ((name, after if new else before) for name, before, after in vip.fields)
    return frozenset((name, value) for name, value in sides if name in _ENDPOINT | _REHASHED)


def check_move(impacts: Iterable[Impact], upheaved: Iterable[str], max_percent: float) -> None:
    """Raise ``RefusedError`` when a change would move or cut more flows than the operator allows.

    Args:
        impacts: On each ring.
        upheaved: ``upheavals`` of the change: each is all flows of a VIP.
        max_percent: Of a ring's slots, and of a VIP's flows.
    """
    for found in impacts:
        share = max(found.new_share, found.old_share)
        if 100 * share > max_percent:
            raise RefusedError(
                f"pool {found.pool!r}, {found.protocol.name}: {100 * share:.1f} % of the slots would move or be cut, "
                f"more than the {max_percent:g} % that are allowed: change less at once, or raise --max-move"
            )
    for words in upheaved:
        if max_percent < 100:
            raise RefusedError(
                f"{words}, more than the {max_percent:g} % that are allowed: change less at once, or leave out "
                "--max-move"
            )
