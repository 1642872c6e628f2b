# SPDX-License-Identifier: Apache-2.0
"""Whether the maps hold what the planner derived from the configuration: everything is read back and compared."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from lb.core.hashing import from_v4_mapped
from lb.core.layout import BACKEND, VIP, VIP_ADDRESS, pack_backend
from lb.core.model import Protocol
from lb.core.moves import Words
from lb.core.planner import Plan, RingWork
from lb.core.slots import TRACKED, Kind, base, current, kind
from lb.core.vip_table import VipTable, build_vip_table

MAX_PROBLEMS = 20
"""Of each kind, that are named; the rest is counted."""

_BACKEND_FIELDS = ("epoch", "ifindex", "mac", "source_mac", "address", "source", "source_mask", "mtu_bytes", "checksum")
_ADDRESSES = ("address", "source")


@dataclass(frozen=True, slots=True)
class ReadBack:
    """How the maps are read; none of them written since the last fence.

    ``vip_table``: the table in force. ``backends``: all entries, ``BACKEND.size`` bytes each. ``slots``,
    ``settle_seconds``: of a ring. ``has_ring``: packets find the slots of a ring.
    """

    vip_table: Callable[[], VipTable]
    backends: Callable[[], bytes]
    slots: Callable[[int], Words]
    settle_seconds: Callable[[int], int]
    has_ring: Callable[[int], bool] = lambda _ring: True


@dataclass(frozen=True, slots=True)
class Comparison:
    """``compared``: words and entries. ``problems``: what differs, in words."""

    compared: int
    problems: tuple[str, ...]


def verify(plan: Plan, read: ReadBack) -> Comparison:
    """Compare the maps with the plan that is in force."""
    backends = read.backends()
    rings = plan.allocation.rings.items()
    parts = [
        _compare_vips(plan, read.vip_table()),
        _compare_entries(plan, backends),
        _compare_epochs(plan.written.epochs, backends),
        *(_compare_ring(pool, protocol, number, plan, read) for (pool, protocol), number in rings),
    ]
    return Comparison(sum(count for count, _ in parts), tuple(text for _, found in parts for text in _cut(found)))


def _cut(found: Iterable[str]) -> Iterator[str]:
    rest = 0
    for number, text in enumerate(found):
        if number < MAX_PROBLEMS:
            yield text
        else:
            rest += 1
    if rest:
        yield f"and {rest} more of the same kind"


def _compare_vips(plan: Plan, found: VipTable) -> tuple[int, Iterable[str]]:
    expected = build_vip_table(plan.written.vips or ())
    compared = 1 << expected.size_log2
    if found == expected:
        return compared, ()
    if len(found.elements) != len(expected.elements):
        return compared, [
            f"the VIP table has {len(found.elements) // VIP.size} places, not {compared}, or lies where it should not"
        ]
    return compared, _differing_places(found.elements, expected.elements)


def _differing_places(found: bytes, expected: bytes) -> Iterator[str]:
    pairs = zip(VIP.iter_unpack(found), VIP.iter_unpack(expected), strict=True)
    for place, (there, wanted) in enumerate(pairs):
        if there != wanted:
            yield f"VIP table, place {place}: {_vip_words(*there)}, not {_vip_words(*wanted)}"


def _vip_words(address: bytes, port: bytes, protocol: int, ring: int, index: int, flags: int, displacement: int) -> str:
    rest = f"displacement {displacement}"
    if flags & VIP_ADDRESS:
        return f"address {from_v4_mapped(address)} ({rest})"
    if not index:
        return f"no VIP ({rest})"
    key = f"{from_v4_mapped(address)} port {int.from_bytes(port, 'big')} protocol {protocol}"
    return f"{key} on ring {ring} (index {index}, flags {flags}, {rest})"


def _compare_entries(plan: Plan, found: bytes) -> tuple[int, Iterable[str]]:
    names = {index: "/".join(key[:2]) for key, index in plan.allocation.backends.items()}

    def problems() -> Iterator[str]:
        for index, entry in plan.written.entries.items():
            start = index * BACKEND.size
            wanted = pack_backend(entry, 0)
            # The epoch is compared apart.
            if found[start + 4 : start + BACKEND.size] != wanted[4:]:
                yield f"backend {names.get(index, '?')} (index {index}): {_entry_words(found[start:], wanted)}"

    return len(plan.written.entries), problems()


def _entry_words(found: bytes, wanted: bytes) -> str:
    pairs = zip(_BACKEND_FIELDS, BACKEND.unpack_from(found), BACKEND.unpack(wanted), strict=True)
    differing = [
        f"{name} {_value(name, there)}, not {_value(name, right)}"
        for name, there, right in pairs
        if name != "epoch" and there != right
    ]
    return "; ".join(differing) or "padding that is not zero"


def _value(name: str, value: bytes | int) -> str:
    if isinstance(value, int):
        return str(value)
    return str(from_v4_mapped(value)) if name in _ADDRESSES else value.hex(":")


def _compare_epochs(expected: Sequence[int], found: bytes) -> tuple[int, Iterable[str]]:
    epochs = memoryview(found).cast("I")[:: BACKEND.size // 4].tolist()
    if epochs == expected:
        return len(epochs), ()
    pairs = enumerate(zip(epochs, expected, strict=True))
    return len(epochs), (
        f"backend index {index}: epoch {there}, not {wanted}" for index, (there, wanted) in pairs if there != wanted
    )


def _compare_ring(pool: str, protocol: int, number: int, plan: Plan, read: ReadBack) -> tuple[int, Iterable[str]]:
    work = plan.written.rings[number]
    target = plan.written.pools[pool].ring.target
    name = f"ring {pool} {Protocol(protocol).name}"

    def problems() -> Iterator[str]:
        if not read.has_ring(number):
            yield f"{name}: packets do not find its slots (number {number})"
        seconds = read.settle_seconds(number)
        if seconds != work.settle_seconds:
            yield f"{name}: flows may be silent for {seconds} s, not {work.settle_seconds}"
        words = read.slots(number)
        for slot in _differing_slots(words, target, work):
            yield f"{name}, slot {slot}: {_slot_words(words[slot], slot, target[slot], work)}"

    return len(target) + 2, problems()


def _differing_slots(words: Words, target: array[int], work: RingWork) -> list[int]:
    halves = memoryview(words).cast("B").cast("H")
    bases = array("H", halves[1::2].tobytes())
    expected = array("H", target)
    for slot, moved in work.moves.items():
        # A move may lead away from any backend that accepts; nothing but the word itself says from which.
        expected[slot] = TRACKED if moved is None else _base_of_move(bases[slot], target[slot], work)
    if bases == expected and halves[0::2].tobytes() == target.tobytes():
        return []
    return [slot for slot, word in enumerate(words) if current(word) != target[slot] or base(word) != expected[slot]]


def _base_of_move(found: int, target: int, work: RingWork) -> int:
    """``found`` if a move may have it for a base; else another one."""
    return found if found in work.accepting and found != target else found ^ 1


def _slot_words(word: int, slot: int, target: int, work: RingWork) -> str:
    wanted = Kind.STABLE
    if slot in work.moves:
        wanted = Kind.TRACKED if work.moves[slot] is None else Kind.MOVING
    if wanted is kind(word) is Kind.MOVING and current(word) == target:
        return f"moves away from {base(word)}, which accepts no flows"
    return f"{kind(word).value} on {current(word)}, not {wanted.value} on {target}"
