# SPDX-License-Identifier: Apache-2.0
"""From configuration to probes, and from their outcomes to verdicts, events and a wake-up of the reconciler."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, ValuesView
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from lb.core import edit
from lb.core.allocation import Allocation, allocate
from lb.core.checks import PROBE_MARK, PROBE_MARK_MASK, CheckKind, CheckVia, HealthCheck, Outcome, Target
from lb.core.events import Body, HealthChanged
from lb.core.health import UNCHECKED, Health, Status
from lb.core.health_readings import DISABLED, PENDING
from lb.core.limits import MAX_BACKENDS
from lb.core.model import AdminState, Backend, Config, Pool, Protocol, Vip
from lb.daemon.health_monitor import HealthMonitor

TCP = HealthCheck(CheckKind.TCP)
ICMP = HealthCheck(CheckKind.ICMP)
UDP = HealthCheck(CheckKind.UDP)
REFUSED = "connection refused: is the service running?"
PROBLEM = "clsact is missing in this kernel: load sch_ingress"
UTC = 1_700_000_000.0


def backend(number: int, **fields: Any) -> Backend:
    """b{number} at 10.0.0.{number}."""
    return replace(Backend(f"b{number}", ip_address(f"10.0.0.{number}")), **fields)


def pool(name: str, *backends: Backend, check: HealthCheck | None = TCP, slow_start_seconds: int = 0) -> Pool:
    """A pool with a check."""
    members = {member.name: member for member in backends}
    return Pool(name, backends=members, health_check=check, slow_start_seconds=slow_start_seconds)


def vip(name: str, address: str, port: int = 80, uses: str = "web", protocol: Protocol = Protocol.TCP) -> Vip:
    """A VIP of a pool."""
    return Vip(name, ip_address(address), port, protocol, uses)


WEB = vip("web", "192.0.2.1")


def config(*pools: Pool, vips: Collection[Vip] = (WEB,)) -> Config:
    """Pools and VIPs by name."""
    return Config(pools={one.name: one for one in pools}, vips={one.name: one for one in vips})


class FakeProber:
    """``targets``: what is probed now. ``watches``: how often that changed."""

    def __init__(self) -> None:
        self.targets: tuple[Target, ...] = ()
        self.watches = 0
        self.running = False
        self._tell: Callable[[Target, Outcome], None]

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    def watch(self, targets: Collection[Target]) -> None:
        self.targets = tuple(targets)
        self.watches += 1

    def on_outcome(self, callback: Callable[[Target, Outcome], None]) -> None:
        self._tell = callback

    def finish(self, target: Target, error: str, at: float) -> None:
        """A probe of the target ends."""
        self._tell(target, Outcome(error, at, at))


class Daemon:
    """A monitor among fakes, and what it said. ``accepting``: names of the backends that have flows."""

    def __init__(self, tunnel_problem: str = "") -> None:
        self.now = 1000.0
        self.wakes = 0
        self.events: list[Body] = []
        self.prober = FakeProber()
        self.config = Config()
        self.allocation = Allocation()
        self.accepting: set[str] = set()
        self.monitor = HealthMonitor(
            self.prober,
            self.events.append,
            tunnel_problem=tunnel_problem,
            monotonic=lambda: self.now,
            utc=lambda: UTC + self.now,
        )
        self.monitor.on_change(self._wake)

    def _wake(self) -> None:
        self.wakes += 1

    async def begin(self, config: Config) -> None:
        """Start with a configuration."""
        await self.monitor.start()
        self.update(config)

    def update(self, config: Config) -> None:
        """Another configuration is in force."""
        self.allocation = allocate(config, self.allocation)
        self.config = config
        epochs = [4] * (MAX_BACKENDS + 1)
        for (_, name, _), index in self.allocation.backends.items():
            epochs[index] += name in self.accepting
        self.monitor.update(config, self.allocation, epochs)

    def put(self, pool: Pool) -> None:
        """One pool changes."""
        self.update(edit.put_pool(self.config, pool))

    def target(self, number: int) -> Target:
        """What is probed of b{number}; there must be one."""
        [found] = [target for target in self.prober.targets if target.backend == backend(number).address]
        return found

    def probe(self, number: int, *errors: str) -> None:
        """Probes of b{number} end."""
        for error in errors:
            self.prober.finish(self.target(number), error, self.now)

    def health(self, pool: str, number: int) -> Health:
        """As a plan sees it."""
        members = self.config.pools[pool]
        return self.monitor.readings().health(members, members.backends[f"b{number}"])

    def status(self, pool: str, number: int) -> Status:
        """As a plan sees it."""
        return self.health(pool, number).status


@pytest.fixture
def daemon() -> Daemon:
    """Not started."""
    return Daemon()


# --- targets


async def test_a_pool_with_a_vip_is_probed_through_the_tunnel(daemon: Daemon) -> None:
    """The VIP's address and port, with a mark that leads to this backend."""
    await daemon.begin(config(pool("web", backend(1))))
    index = daemon.allocation.backends["web", "b1", "10.0.0.1"]
    found = daemon.target(1)
    assert (found.address, found.port, found.mark) == (ip_address("192.0.2.1"), 80, PROBE_MARK | index)
    assert found.mark & PROBE_MARK_MASK == PROBE_MARK


@pytest.mark.parametrize(
    ("check", "vips", "address", "port"),
    [
        (TCP, [vip("b", "192.0.2.2", 90), vip("a", "192.0.2.1", 0)], "192.0.2.2", 90),
        (replace(TCP, port=7), [vip("b", "192.0.2.2", 90), vip("a", "192.0.2.1", 0)], "192.0.2.1", 7),
        (replace(TCP, via=CheckVia.TUNNEL), [vip("b", "192.0.2.2", 90), vip("a", "192.0.2.1", 80)], "192.0.2.1", 80),
        (ICMP, [vip("a", "192.0.2.1", 0)], "192.0.2.1", 0),
        (replace(ICMP, port=7), [vip("a", "192.0.2.1", 80)], "192.0.2.1", 0),
        (TCP, [vip("a", "2001:db8::1", 80)], "2001:db8::1", 80),
        # A service of the other protocol would not understand the question, and all members would be DOWN.
        (TCP, [vip("a", "192.0.2.1", 53, protocol=Protocol.UDP), vip("b", "192.0.2.2", 90)], "192.0.2.2", 90),
        (UDP, [vip("a", "192.0.2.1", 80), vip("b", "192.0.2.2", 53, protocol=Protocol.UDP)], "192.0.2.2", 53),
        (TCP, [vip("a", "192.0.2.1", 53, protocol=Protocol.UDP)], "192.0.2.1", 53),
        (UDP, [vip("a", "192.0.2.1", 80)], "192.0.2.1", 80),
    ],
)
async def test_the_first_vip_by_name_is_probed_that_has_what_it_takes(
    daemon: Daemon, check: HealthCheck, vips: list[Vip], address: str, port: int
) -> None:
    """A port goes with the address of its VIP; ICMP has none."""
    await daemon.begin(config(pool("web", backend(1), check=check), vips=vips))
    found = daemon.target(1)
    assert (found.address, found.port) == (ip_address(address), port)
    assert found.mark


@pytest.mark.parametrize(
    ("check", "vips", "port"),
    [
        (replace(TCP, via=CheckVia.DIRECT), [WEB], 80),
        (replace(TCP, via=CheckVia.DIRECT, port=7), [WEB], 7),
        (replace(TCP, port=7), [], 7),
        (ICMP, [], 0),
        (replace(ICMP, via=CheckVia.DIRECT), [WEB], 0),
    ],
)
async def test_a_direct_probe_goes_to_the_backend_itself(
    daemon: Daemon, check: HealthCheck, vips: list[Vip], port: int
) -> None:
    """On request, and where no VIP uses the pool."""
    await daemon.begin(config(pool("web", backend(1), check=check), vips=vips))
    found = daemon.target(1)
    assert (found.address, found.port, found.mark) == (ip_address("10.0.0.1"), port, 0)


@pytest.mark.parametrize(
    ("check", "vips", "words"),
    [
        (TCP, [], "not checked: no port is known: set the health check's port"),
        (TCP, [vip("a", "192.0.2.1", 0)], "not checked: no port is known: set the health check's port"),
        (replace(TCP, via=CheckVia.TUNNEL, port=7), [], "not checked: no VIP uses the pool"),
    ],
)
async def test_a_pool_that_cannot_be_probed_says_what_to_do(
    daemon: Daemon, check: HealthCheck, vips: list[Vip], words: str
) -> None:
    """Its members have no verdict; guessing a port would make a wrong one."""
    await daemon.begin(config(pool("web", backend(1), check=check), vips=vips))
    assert daemon.prober.targets == ()
    assert daemon.status("web", 1) is Status.UNKNOWN
    assert daemon.health("web", 1).reason.startswith(words)


async def test_without_a_tunnel_the_default_is_direct(caplog: pytest.LogCaptureFixture) -> None:
    """Some check is better than none; that it proves less is logged."""
    daemon = Daemon(tunnel_problem=PROBLEM)
    await daemon.begin(config(pool("web", backend(1))))
    assert (daemon.target(1).address, daemon.target(1).mark) == (ip_address("10.0.0.1"), 0)
    assert f"the tunnel cannot be used: {PROBLEM}" in caplog.text


async def test_without_a_tunnel_a_check_that_asks_for_it_says_why_there_is_none() -> None:
    """The operator said what must be proved."""
    daemon = Daemon(tunnel_problem=PROBLEM)
    await daemon.begin(config(pool("web", backend(1), check=replace(TCP, via=CheckVia.TUNNEL))))
    assert daemon.prober.targets == ()
    assert daemon.health("web", 1).reason == (
        f"not checked: the tunnel cannot be used: {PROBLEM}; or set the health check's via to DIRECT"
    )


async def test_disabled_members_are_not_probed_draining_and_weightless_ones_are(daemon: Daemon) -> None:
    """Those have flows that a check may still save."""
    members = [
        backend(1, admin_state=AdminState.DISABLED),
        backend(2, admin_state=AdminState.DRAINING),
        backend(3, weight=0),
    ]
    await daemon.begin(config(pool("web", *members)))
    assert [str(target.backend) for target in daemon.prober.targets] == ["10.0.0.2", "10.0.0.3"]
    assert daemon.health("web", 1) == DISABLED


async def test_pools_that_share_a_host_and_a_check_share_its_probes(daemon: Daemon) -> None:
    """Also when they judge differently: each counts for itself."""
    direct = replace(TCP, port=22, via=CheckVia.DIRECT)
    web, api = pool("web", backend(1), check=direct), pool("api", backend(1), check=replace(TCP, port=22, fall=1))
    await daemon.begin(config(web, api))
    assert len(daemon.prober.targets) == 1
    daemon.probe(1, "", REFUSED)
    assert (daemon.status("web", 1), daemon.status("api", 1)) == (Status.UP, Status.DOWN)


async def test_pools_that_share_a_host_and_a_vip_share_its_probes_through_the_tunnel(daemon: Daemon) -> None:
    """The mark is that of the smallest backend index with the address, whichever pool it is in."""
    checks = replace(TCP, port=80)
    vips = [WEB, vip("api", "192.0.2.1", 443, "api")]
    first = config(pool("aaa", backend(1), check=None), pool("web", backend(1), check=checks), vips=vips)
    await daemon.begin(first)
    daemon.put(pool("api", backend(1), check=checks))
    [target] = daemon.prober.targets
    indices = sorted(daemon.allocation.backends.values())
    assert target.mark == PROBE_MARK | indices[0]
    daemon.probe(1, "")
    assert (daemon.status("web", 1), daemon.status("api", 1)) == (Status.UP, Status.UP)

    daemon.update(edit.delete_pool(daemon.config, "aaa"))
    [target] = daemon.prober.targets
    assert target.mark == PROBE_MARK | indices[1]
    assert (daemon.status("web", 1), daemon.status("api", 1)) == (Status.UP, Status.UP)


async def test_it_does_not_matter_whose_number_is_the_smallest(daemon: Daemon) -> None:
    """Numbers come round again: a younger member may have a smaller one."""
    daemon.allocation = Allocation(cursors={"backend": MAX_BACKENDS - 1})
    await daemon.begin(config(pool("web", backend(1))))
    assert daemon.target(1).mark == PROBE_MARK | MAX_BACKENDS
    daemon.put(pool("api", backend(1), check=None))
    assert daemon.target(1).mark == PROBE_MARK | 1


async def test_how_a_port_was_found_makes_no_difference(daemon: Daemon) -> None:
    """Named in the check, or the VIP's."""
    explicit = replace(TCP, port=80, via=CheckVia.TUNNEL)
    vips = [WEB, vip("api", "192.0.2.1", 443, "api")]
    await daemon.begin(config(pool("web", backend(1)), pool("api", backend(1), check=explicit), vips=vips))
    assert len(daemon.prober.targets) == 1


async def test_different_checks_are_different_probes(daemon: Daemon) -> None:
    slow = replace(TCP, interval_ms=60_000)
    vips = [WEB, vip("api", "192.0.2.1", 443, "api")]
    await daemon.begin(config(pool("web", backend(1)), pool("api", backend(1), check=slow), vips=vips))
    assert len(daemon.prober.targets) == 2


# --- changes of the configuration


async def test_a_vip_that_comes_first_now_is_probed(daemon: Daemon) -> None:
    """The verdicts stay: the same backend is asked elsewhere."""
    await daemon.begin(config(pool("web", backend(1))))
    daemon.probe(1, "", REFUSED, REFUSED)
    daemon.update(edit.create_vip(daemon.config, vip("a", "192.0.2.7", 8080)))
    assert (daemon.target(1).address, daemon.target(1).port) == (ip_address("192.0.2.7"), 8080)
    assert daemon.status("web", 1) is Status.UP
    daemon.probe(1, REFUSED)
    assert daemon.status("web", 1) is Status.DOWN


async def test_what_changes_no_probe_is_not_sent_to_the_prober(daemon: Daemon) -> None:
    """It has thousands of targets to compare."""
    await daemon.begin(config(pool("web", backend(1)), pool("api", check=None)))
    watches = daemon.prober.watches
    daemon.put(pool("web", backend(1, weight=7)))
    daemon.put(pool("api", backend(9), check=None))
    daemon.update(edit.create_vip(daemon.config, vip("z", "192.0.2.9")))
    daemon.update(daemon.config)
    assert daemon.prober.watches == watches


async def test_an_edit_of_a_pool_does_not_look_at_the_vips(daemon: Daemon) -> None:
    """There may be thousands of them."""

    class Once(dict[str, Vip]):
        """Fails when it is gone through again."""

        looks = 0

        def values(self) -> ValuesView[Vip]:
            self.looks += 1
            assert self.looks == 1
            return super().values()

    web = pool("web", backend(1))
    vips = Once(web=WEB)
    # Numbers are not this part's business.
    daemon.allocation = allocate(config(web, pool("web2", backend(2))), Allocation())
    await daemon.monitor.start()
    for pools in ({"web": web}, {"web": web, "web2": pool("web2", backend(2))}):
        daemon.monitor.update(Config(pools=pools, vips=vips), daemon.allocation, [4] * 9)
    assert vips.looks == 1


async def test_an_outcome_that_nobody_wants_any_more_is_dropped(daemon: Daemon) -> None:
    """The probe was under way when its backend went."""
    await daemon.begin(config(pool("web", backend(1), backend(2))))
    gone = daemon.target(2)
    daemon.put(pool("web", backend(1)))
    daemon.prober.finish(gone, "", daemon.now)
    daemon.update(edit.delete_pool(edit.delete_vip(daemon.config, "web"), "web"))
    assert daemon.prober.targets == ()
    daemon.prober.finish(gone, REFUSED, daemon.now)
    assert (daemon.wakes, daemon.events) == (0, [])


async def test_another_check_keeps_the_verdict_until_it_decides(daemon: Daemon) -> None:
    await daemon.begin(config(pool("web", backend(1))))
    daemon.probe(1, *[REFUSED] * 3)
    old = daemon.target(1)
    daemon.put(pool("web", backend(1), check=replace(TCP, kind=CheckKind.HTTP)))
    daemon.prober.finish(old, "", daemon.now)
    assert daemon.status("web", 1) is Status.DOWN
    daemon.probe(1, "", "")
    assert daemon.status("web", 1) is Status.UP


async def test_a_pool_that_loses_its_check_counts_as_up(daemon: Daemon) -> None:
    """It never was checked, and no event says that something was found."""
    await daemon.begin(config(pool("web", backend(1))))
    daemon.probe(1, *[REFUSED] * 3)
    events = list(daemon.events)
    daemon.put(pool("web", backend(1), check=None))
    assert daemon.health("web", 1) == UNCHECKED
    assert (daemon.prober.targets, daemon.events) == ((), events)


async def test_a_pool_that_gets_a_check_keeps_its_members_until_their_verdicts(daemon: Daemon) -> None:
    """All at once, and without a slow start: they had their flows."""
    members = backend(1), backend(2)
    await daemon.begin(config(pool("web", *members, check=None)))
    daemon.accepting = {"b1", "b2"}
    daemon.put(pool("web", *members, slow_start_seconds=60))
    daemon.probe(1, *[REFUSED] * 3)
    assert (daemon.status("web", 1), daemon.wakes) == (Status.UNKNOWN, 0)
    daemon.probe(2, "")
    assert (daemon.status("web", 1), daemon.status("web", 2), daemon.wakes) == (Status.DOWN, Status.UP, 1)
    assert daemon.health("web", 2).ramp == 100


async def test_a_pool_that_can_no_longer_be_probed_has_no_verdict(daemon: Daemon) -> None:
    """An old one, for ever, would be a lie. It is an event; then everything begins anew."""
    await daemon.begin(config(pool("web", backend(1), backend(2))))
    daemon.probe(1, "")
    daemon.events.clear()
    wakes = daemon.wakes
    daemon.update(edit.delete_vip(daemon.config, "web"))
    [event] = daemon.events
    assert event == HealthChanged("web", "b1", Status.UNKNOWN, daemon.health("web", 1).reason)
    assert "no port is known" in event.reason
    assert daemon.wakes == wakes + 1
    daemon.update(edit.create_vip(daemon.config, WEB))
    assert daemon.health("web", 1).reason == "no probe has ended yet"


async def test_a_member_that_goes_together_with_the_vip_is_no_event(daemon: Daemon) -> None:
    """It is gone, not UNKNOWN."""
    await daemon.begin(config(pool("web", backend(1), backend(2))))
    daemon.probe(1, "")
    daemon.probe(2, "")
    daemon.events.clear()
    daemon.update(config(pool("web", backend(1)), vips=[]))
    assert [event.backend for event in daemon.events if isinstance(event, HealthChanged)] == ["b1"]


async def test_a_backend_that_is_enabled_again_is_new(daemon: Daemon) -> None:
    """With a first verdict of its own, and a slow start."""
    await daemon.begin(config(pool("web", backend(1), slow_start_seconds=60)))
    daemon.probe(1, *[REFUSED] * 3)
    daemon.put(pool("web", backend(1, admin_state=AdminState.DISABLED), slow_start_seconds=60))
    assert daemon.health("web", 1) == DISABLED
    daemon.put(pool("web", backend(1), slow_start_seconds=60))
    assert daemon.health("web", 1) == Health(Status.UNKNOWN, UTC + daemon.now, "no probe has ended yet")
    daemon.probe(1, "")
    assert (daemon.status("web", 1), daemon.health("web", 1).ramp) == (Status.UP, 10)


async def test_a_change_is_planned_before_its_members_are_known(daemon: Daemon) -> None:
    """A new address under an old name is a new backend: the old one's verdict does not let it in."""
    await daemon.begin(config(pool("web", backend(1))))
    daemon.probe(1, "")
    moved = backend(1, address=ip_address("10.0.0.99"))
    planned = pool("web", moved, backend(2), backend(3, admin_state=AdminState.DISABLED))
    readings = daemon.monitor.readings()
    assert readings.health(planned, moved) == PENDING
    assert readings.health(planned, planned.backends["b2"]) == PENDING
    assert readings.health(planned, planned.backends["b3"]) == DISABLED
    assert readings.health(replace(planned, health_check=None), moved) == UNCHECKED
    assert readings.health(pool("other", moved), moved) == PENDING


async def test_what_a_plan_reads_does_not_change_under_it(daemon: Daemon) -> None:
    """Half of the verdicts of a pool that come together would be planned for."""
    await daemon.begin(config(pool("web", backend(1))))
    before = daemon.monitor.readings()
    daemon.probe(1, "")
    daemon.update(edit.delete_vip(daemon.config, "web"))
    web = daemon.config.pools["web"]
    assert before.health(web, web.backends["b1"]).reason == "no probe has ended yet"


# --- what is told


async def test_each_verdict_is_an_event_and_a_line_in_the_log(daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    """DOWN with its reason; an operator greps for it at night."""
    caplog.set_level(logging.INFO)
    await daemon.begin(config(pool("web", backend(1))))
    daemon.probe(1, "", *[REFUSED] * 4, "", "")
    assert daemon.events == [
        HealthChanged("web", "b1", Status.UP, ""),
        HealthChanged("web", "b1", Status.DOWN, REFUSED),
        HealthChanged("web", "b1", Status.UP, ""),
    ]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "backend web/b1 is UP"),
        ("WARNING", f"backend web/b1 is DOWN: {REFUSED}"),
        ("INFO", "backend web/b1 is UP"),
    ]


async def test_an_up_that_was_held_back_tells_no_error(daemon: Daemon) -> None:
    """It failed since, but not for long enough: it is UP."""
    daemon.accepting = {"b1", "b2"}
    await daemon.begin(config(pool("web", backend(1), backend(2))))
    daemon.probe(1, "", REFUSED)
    daemon.probe(2, "")
    assert HealthChanged("web", "b1", Status.UP, "") in daemon.events
    assert daemon.health("web", 1).reason == REFUSED


async def test_the_reconciler_is_woken_by_the_deciding_probe_only(daemon: Daemon) -> None:
    """At once; a probe that changes nothing costs nothing."""
    await daemon.begin(config(pool("web", backend(1))))
    woken = []
    for error in ("", "", REFUSED, REFUSED, REFUSED, REFUSED):
        daemon.probe(1, error)
        woken.append(daemon.wakes)
    assert woken == [1, 1, 1, 1, 2, 2]


async def test_one_probe_that_decides_for_many_wakes_once(daemon: Daemon) -> None:
    """One plan for all of them."""
    direct = replace(TCP, port=22, via=CheckVia.DIRECT)
    await daemon.begin(config(*(pool(name, backend(1), check=direct) for name in ("web", "api", "www"))))
    daemon.probe(1, "")
    assert (len(daemon.events), daemon.wakes) == (3, 1)


async def test_slow_starts_go_on_with_the_ticks(daemon: Daemon) -> None:
    """Each step wakes the reconciler once, all members' steps together, and is no event: the verdict is the same."""
    await daemon.begin(config(pool("web", backend(1), backend(2), slow_start_seconds=90)))
    daemon.probe(1, "")
    daemon.probe(2, "")
    events, ramps = list(daemon.events), []
    daemon.wakes = 0
    for _ in range(100):
        daemon.now += 1
        daemon.monitor.tick()
        ramps.append((daemon.health("web", 1).ramp, daemon.health("web", 2).ramp))
    assert list(dict.fromkeys(ramps)) == [(percent, percent) for percent in range(10, 101, 10)]
    assert (daemon.wakes, daemon.events) == (9, events)


async def test_a_tick_ends_a_hold(daemon: Daemon) -> None:
    """After a restart, a member that never gets a verdict keeps the others' back for one check cycle."""
    daemon.accepting = {"b1", "b2"}
    await daemon.begin(config(pool("web", backend(1), backend(2))))
    daemon.probe(1, "")
    daemon.now += 21
    daemon.monitor.tick()
    assert daemon.events == [HealthChanged("web", "b1", Status.UP, "")]
    assert daemon.wakes == 1


async def test_the_prober_starts_and_stops_with_the_monitor(daemon: Daemon) -> None:
    await daemon.begin(config())
    assert daemon.prober.running
    await daemon.monitor.stop()
    await daemon.monitor.stop()
    assert not daemon.prober.running


async def test_nothing_is_kept_of_what_is_gone(daemon: Daemon) -> None:
    """A daemon that runs for years through a million backends."""
    await daemon.begin(config(pool("web", backend(1))))
    for number in range(2, 60):
        daemon.put(pool("web", backend(number)))
        daemon.probe(number, "")
    daemon.update(Config())
    register = daemon.monitor._register
    assert not register.wanted
    assert not register.members
    assert not register.problems
    assert not register._indices
    assert not daemon.monitor._pools
