# SPDX-License-Identifier: Apache-2.0
"""What the outside world must offer: the interfaces between the pure core and kernel, network, disk and daemon.

Each has a fake in ``tests/fakes`` that passes the same contract tests as the real thing.
"""

from __future__ import annotations

import enum
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lb.core.allocation import Allocation
from lb.core.audit import Caller, Difference, Record
from lb.core.checks import Outcome, Target
from lb.core.events import Event
from lb.core.flows import Entry, FlowCounts
from lb.core.health_readings import Readings
from lb.core.impact import Impact
from lb.core.model import Address, Config, Hop, View
from lb.core.operations import Operation
from lb.core.vip_table import VipTable

Change = Callable[[Config], Config]
"""A pure edit: raises an ``LbError`` to refuse; called inside the reconciler's lock with the current configuration."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds: revision 0 and an empty configuration when it is new."""

    revision: int
    config: Config
    allocation: Allocation


class Store(Protocol):
    """Durable home of the configuration. One writer."""

    def load(self) -> Stored:
        """Read everything. Raises ``UnavailableError`` when the file is unreadable or of a newer version."""

    def commit(self, config: Config, allocation: Allocation, caller: Caller, note: str = "") -> int:
        """Replace the configuration in one transaction, with its record; returns the new revision (old + 1).

        Writes only the objects that differ from the last load or commit. When it raises ``UnavailableError`` (disk
        full, read-only), nothing has changed.
        """

    def deny(self, caller: Caller, note: str) -> None:
        """Record a call that was denied; raises ``UnavailableError``.

        Too many a minute are counted only: the next one that is recorded says how many.
        """

    def history(self, before: int, limit: int) -> Sequence[Record]:
        """The newest records first: at most ``limit``, of those numbered below ``before`` (0 = from the newest).

        Fewer come when they are long; none come only when there are no more. Denied calls stand between the revisions
        that they came between. Raises ``UnavailableError``.
        """

    def at(self, revision: int) -> Config:
        """The configuration as it was at a revision: any that the history has, and the one before the oldest of them.

        Raises ``NotFoundError`` for a revision that never was or is no longer kept, ``UnavailableError``.
        """

    def close(self) -> None:
        """Release the file."""


class NextHops(Protocol):
    """Routes and neighbours of the backends, watched."""

    async def start(self) -> None:
        """Read the kernel's tables and begin to watch them."""

    async def stop(self) -> None:
        """Stop watching; idempotent."""

    def track(self, addresses: Collection[Address]) -> None:
        """Keep exactly these addresses resolved from now on; asks the kernel to resolve unknown neighbours."""

    def hop(self, address: Address) -> Hop:
        """The present state of a tracked address."""

    async def settle(self, addresses: Collection[Address], timeout_seconds: float) -> None:
        """Wait until each of these tracked addresses is resolved, at most ``timeout_seconds``.

        That time begins when all of them were looked at once, which may take seconds when thousands came together.
        """

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the event loop after any tracked address's hop or a local address changed."""

    def local_addresses(self) -> frozenset[Address]:
        """Addresses of the box itself (this network namespace), all interfaces."""


@dataclass(frozen=True, slots=True)
class Count:
    """Packets, and bytes of whole Ethernet frames as they arrived."""

    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class VipCount:
    """Of one VIP; ``too_big``: packets that did not fit the egress MTU once wrapped."""

    received: Count = Count()
    forwarded: Count = Count()
    too_big: int = 0


@dataclass(frozen=True, slots=True)
class FlowTableCount:
    """The flow table of moving slots: ``capacity`` and ``entries`` now, the rest since the table was made.

    ``inserted_*`` and ``refused_*``: new flows (SYN) and flows older than the move (old). ``expired``: entries that the
    collector removed since the daemon started.
    """

    capacity: int = 0
    entries: int = 0
    inserted_syn: int = 0
    inserted_old: int = 0
    refused_syn: int = 0
    refused_old: int = 0
    expired: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """Sums over all CPUs since the counters were made.

    ``vips``: by VIP name. ``backends``: by (pool name, backend name). ``verdicts``: by number.
    """

    vips: Mapping[str, VipCount]
    backends: Mapping[tuple[str, str], Count]
    verdicts: Mapping[int, Count]
    flow_table: FlowTableCount = FlowTableCount()


class XdpMode(enum.Enum):
    """How a program is attached: in the driver, or in the network stack (slow, works everywhere)."""

    NATIVE = "native"
    GENERIC = "generic"


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """One of the daemon's interfaces; ``reason`` says why it is not attached ("" if it is)."""

    interface: str
    attached: bool
    mode: XdpMode | None
    reason: str


class FlowTable(Protocol):
    """Tracked flows. Its methods block."""

    def refill(self, syn: int, old: int) -> None:
        """Set how many flows may be entered until the next refill: new ones, and ones older than the move."""

    def counts(self) -> FlowCounts:
        """What happened to the table since it was made."""

    def settle_seconds(self, ring: int) -> int:
        """How long an established flow of a ring may be silent."""

    def refused_at(self, ring: int) -> int:
        """CLOCK_MONOTONIC second of a ring's last refusal."""

    def refusals(self, ring: int) -> int:
        """Flows of a ring that were refused since its map was made; wraps at 32 bits."""

    def hold(self, ring: int, on: bool) -> None:
        """Drop new flows of a ring that cannot be tracked, while its moves end."""

    def mark_refused(self, ring: int, now: int) -> None:
        """Stamp a refusal, as after a restart: what was refused meanwhile is not known."""

    def scan(self) -> Iterator[list[Entry]]:
        """Every entry, in pieces. Entries that come or go meanwhile may be missed or not."""

    def delete(self, keys: Sequence[bytes]) -> None:
        """Remove entries by key; those that are gone already are passed over."""


class DataPlane(Protocol):
    """The maps and the program. Written by the reconciler alone; its methods block."""

    @property
    def flows(self) -> FlowTable:
        """The flow table."""

    def load(self, hash_key: bytes) -> None:
        """Make the program ready for a hash key of 16 bytes. Raises ``UnavailableError``."""

    def attach(self) -> None:
        """Have every interface run the loaded program. Raises ``UnavailableError``."""

    def epochs(self) -> Sequence[int]:
        """Epochs of all backend indices."""

    def slots(self, ring: int) -> array[int]:
        """Slot words of a ring, RING_SIZE of them (typecode "I"); zeros when it was never written."""

    def has_ring(self, ring: int) -> bool:
        """Whether packets find the slot words of a ring."""

    def vip_table(self) -> VipTable:
        """The VIP table in force."""

    def backends(self) -> bytes:
        """All backend entries, ``layout.BACKEND.size`` bytes each, epochs included."""

    def apply(self, operations: Iterable[Operation]) -> None:
        """Carry out operations in order. Raises ``OSError`` when the kernel refuses one."""

    def fence(self) -> None:
        """Wait until every run of the program that saw older words has ended."""

    def vip_count(self, index: int) -> VipCount:
        """Of a VIP index."""

    def backend_count(self, index: int) -> Count:
        """Forwarded to a backend index."""

    def verdict_counts(self) -> Mapping[int, Count]:
        """By verdict number."""

    def interfaces(self) -> tuple[InterfaceState, ...]:
        """What is attached now."""

    def self_check(self) -> str:
        """What is wrong with the program that is attached, in words; "" when nothing is. Disturbs no counter."""


class Prober(Protocol):
    """Sends the probes of health checks."""

    async def start(self) -> None:
        """Make ready. Raises ``UnavailableError``."""

    async def stop(self) -> None:
        """Stop probing; idempotent."""

    def watch(self, targets: Collection[Target]) -> None:
        """Probe exactly these targets from now on, each at its own interval; those that stay keep their schedule."""

    def on_outcome(self, callback: Callable[[Target, Outcome], None]) -> None:
        """Call ``callback`` in the event loop for each probe that ended."""


class HealthChecks(Protocol):
    """What the reconciler needs of the health checks."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the event loop when a verdict or a weight in force changed: a new plan is due."""

    def update(self, config: Config, allocation: Allocation, epochs: Sequence[int]) -> None:
        """A configuration is in force; ``epochs`` of all backend indices tell who has flows. Costs what changed."""

    def readings(self) -> Readings:
        """What they say now, for any configuration; does not change while a plan is worked out."""

    def tick(self) -> None:
        """To be called each second: slow starts go on."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a change did, or would do.

    ``differences``: the objects that changed. ``predicted``: impact on each ring that the plan touches. ``measured``:
    the same, counted in the maps after they were written; empty when nothing was.
    """

    view: View
    differences: tuple[Difference, ...]
    predicted: tuple[Impact, ...]
    measured: tuple[Impact, ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """A full read-back of the maps against what the planner derives: ``compared`` words and entries.

    ``problems``: what differs, in words.
    """

    revision: int
    compared: int
    problems: tuple[str, ...]


class Subscription(Protocol):
    """A bounded stream of events."""

    snapshot: View | None
    """What was so before the first event; None for one that goes on from a revision."""

    async def next(self) -> Event:
        """The next event.

        Raises ``LimitError`` when the reader was too slow and has to list anew, ``UnavailableError`` when it ended.
        """

    def close(self) -> None:
        """No more events are kept for it; a ``next`` that waits ends."""


class Severity(enum.Enum):
    """Of a finding. WARNING: works, but not as well as it could."""

    OK = "OK"
    WARNING = "WARNING"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found: ``subject`` "interface eth0", ``check`` "XDP mode", what was seen, what to do."""

    severity: Severity
    subject: str
    check: str
    observation: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class DaemonState:
    """What ``lbctl status`` shows; ``started_at``: seconds since the epoch (UTC)."""

    ready: bool
    reason: str
    started_at: float
    bpf_dir: str
    interfaces: tuple[InterfaceState, ...]


class Controller(Protocol):
    """The daemon as the API sees it."""

    def view(self) -> View:
        """Latest consistent snapshot."""

    async def mutate(self, change: Change, by: Caller, *, validate_only: bool = False) -> View:
        """Apply one edit: validate, store, write the maps; returns the snapshot after it.

        Waits up to a second for the next hops of backends that the edit added or changed. Raises an ``LbError`` and
        changes nothing when the edit is refused. With ``validate_only`` returns the snapshot that would come of it.
        """

    async def apply(
        self,
        change: Change,
        by: Caller,
        *,
        base_revision: int = 0,
        max_move_percent: float = 100.0,
        validate_only: bool = False,
        note: str = "",
    ) -> Applied:
        """Like ``mutate``, and says what the change does to flows.

        Args:
            change: The edit.
            by: Whose it is.
            base_revision: Raise ``StaleError`` when another one is in force by now; 0 = whatever is in force.
            max_move_percent: Raise ``RefusedError`` when more of a ring's slots or a VIP's flows would move or be cut.
            validate_only: Predict, change nothing.
            note: For the history.
        """

    async def history(self, before: int, limit: int) -> Sequence[Record]:
        """See ``Store.history``."""

    async def at(self, revision: int) -> Config:
        """See ``Store.at``."""

    async def denied(self, by: Caller, note: str) -> None:
        """Record a call that was denied; what goes wrong with that is logged."""

    def subscribe(self, start_revision: int = 0) -> Subscription:
        """Events from now on, or (not 0) all that came since ``start_revision`` was in force.

        Raises ``GoneError`` when those are no longer kept, ``LimitError`` when there are too many subscriptions.
        """

    async def verify(self) -> Verification:
        """Read all maps back and compare them with what the planner derives from the configuration."""

    async def diagnose(self) -> Sequence[Finding]:
        """Look at the machine and at each backend for what is known to go wrong."""

    async def counters(self) -> Counters:
        """Read the data plane's counters."""

    async def state(self) -> DaemonState:
        """Look at the data plane now."""
