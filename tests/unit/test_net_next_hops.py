# SPDX-License-Identifier: Apache-2.0
"""The watcher when the kernel, a listener or lb itself fails."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address

import pytest

from lb.core.errors import UnavailableError
from lb.core.model import Address, NextHop
from lb.net import next_hops as module
from lb.net.facts import Fact, Link, LocalAddress, Neighbour, Route
from lb.net.next_hops import NetlinkNextHops
from lb.net.resolve import RTN_UNICAST

BOX, HOST = ip_address("10.0.0.1"), ip_address("10.0.0.9")
MAC, NEW_MAC = b"\x02aaaaa", b"\x02bbbbb"
DEADLINE_SECONDS = 5.0


class ScriptedKernel:
    """One resolved host. ``events`` raises what ``break_with`` was given."""

    def __init__(self, mac: bytes = MAC) -> None:
        self.mac = mac
        self.closed = False
        self.route_error: Exception | None = None
        self._error: OSError | None = None
        self._readable, self._writer = socket.socketpair()

    def break_with(self, error: OSError) -> None:
        self._error = error
        self._writer.send(b"x")

    def close(self) -> None:
        self.closed = True
        self._readable.close()
        self._writer.close()

    def fileno(self) -> int:
        return self._readable.fileno()

    def events(self) -> list[Fact]:
        assert self._error is not None
        raise self._error

    def links(self) -> list[Link]:
        return [Link(2, "eth0", 1500, b"\x02\0\0\0\0\1", up=True, running=True)]

    def addresses(self) -> list[LocalAddress]:
        return [LocalAddress(2, BOX, 24)]

    def route(self, address: Address) -> Route:  # noqa: ARG002
        if self.route_error:
            raise self.route_error
        return Route(RTN_UNICAST, 2, None, BOX)

    def neighbour(self, ifindex: int, address: Address) -> Neighbour:
        return Neighbour(ifindex, address, self.mac)

    def resolve(self, ifindex: int, address: Address) -> None:
        raise AssertionError((ifindex, address))


class Box:
    """A watcher and the kernels that it opened; ``refuse`` makes so many attempts to open one fail."""

    def __init__(self) -> None:
        self.kernels: list[ScriptedKernel] = []
        self.refuse = 0
        self.mac = MAC
        self.hops = NetlinkNextHops(self._connect)  # type: ignore[arg-type]

    def _connect(self) -> ScriptedKernel:
        if self.refuse:
            self.refuse -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        self.kernels.append(ScriptedKernel(self.mac))
        return self.kernels[-1]

    def mac_is(self, mac: bytes) -> bool:
        hop = self.hops.hop(HOST)
        return isinstance(hop, NextHop) and hop.mac == mac


@pytest.fixture
async def box(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Box]:
    monkeypatch.setattr(module, "REOPEN_SECONDS", 0.01)
    box = Box()
    await box.hops.start()
    box.hops.track([HOST])
    await box.hops.settle([HOST], DEADLINE_SECONDS)
    yield box
    await box.hops.stop()
    assert all(kernel.closed for kernel in box.kernels)


async def until(condition: Callable[[], object]) -> None:
    give_up_at = asyncio.get_running_loop().time() + DEADLINE_SECONDS
    while not condition():
        assert asyncio.get_running_loop().time() < give_up_at, "timed out"
        await asyncio.sleep(0.001)


async def test_start_fails_in_words_when_netlink_does() -> None:
    box = Box()
    box.refuse = 1
    with pytest.raises(UnavailableError, match=r"over netlink: .*Too many open files"):
        await box.hops.start()
    await box.hops.stop()


async def test_a_read_that_fails_at_start_closes_the_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: ScriptedKernel) -> list[Link]:
        raise TimeoutError("no answer")

    monkeypatch.setattr(ScriptedKernel, "links", fail)
    box = Box()
    with pytest.raises(UnavailableError, match="no answer"):
        await box.hops.start()
    assert box.kernels[0].closed


async def test_lost_events_are_made_good(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    box.mac = NEW_MAC
    box.kernels[0].break_with(OSError(errno.ENOBUFS, "No buffer space available"))
    await until(lambda: box.mac_is(NEW_MAC))
    assert "some are lost: reading all again" in caplog.text


async def test_a_broken_socket_is_replaced_as_soon_as_it_can_be(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    """Until then the last known hops stay: traffic goes on."""
    caplog.set_level(logging.INFO, "lb.net")
    box.mac, box.refuse = NEW_MAC, 2
    box.kernels[0].break_with(OSError(errno.EBADF, "Bad file descriptor"))
    await until(lambda: box.refuse == 0)
    assert box.mac_is(MAC)
    await until(lambda: box.mac_is(NEW_MAC))
    words = ["the netlink socket failed", "next hops may be out of date", "were read again"]
    assert all(word in caplog.text for word in words)


async def test_a_request_that_fails_replaces_the_sockets(box: Box) -> None:
    box.mac = NEW_MAC
    box.kernels[0].route_error = TimeoutError("no answer")
    box.hops.track([HOST, ip_address("10.0.0.10")])
    await until(lambda: box.mac_is(NEW_MAC))


async def test_many_addresses_leave_the_loop_its_turns(box: Box) -> None:
    """And sockets that break between two turns do not lose the rest."""
    many = [ip_address(f"10.0.1.{last}") for last in range(3 * module.BATCH)]
    box.hops.track(many)
    await until(lambda: isinstance(box.hops.hop(many[0]), NextHop) or isinstance(box.hops.hop(many[-1]), NextHop))
    box.kernels[0].break_with(OSError(errno.ENOBUFS, ""))
    await box.hops.settle(many, DEADLINE_SECONDS)
    assert all(isinstance(box.hops.hop(address), NextHop) for address in many)


async def test_many_new_addresses_are_waited_for_until_each_was_looked_at(box: Box) -> None:
    """The time that `settle` is given is for neighbours that are silent, not for the work that thousands make."""
    many = [ip_address(f"10.0.1.{last}") for last in range(3 * module.BATCH)]
    box.hops.track(many)
    await box.hops.settle(many, 0.0)
    assert all(isinstance(box.hops.hop(address), NextHop) for address in many)


async def test_addresses_that_cannot_be_looked_at_are_not_waited_for_for_ever(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Netlink is broken: an edit goes on without next hops."""
    monkeypatch.setattr(module, "FIRST_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "REOPEN_SECONDS", 60.0)
    box.refuse = 1
    box.kernels[0].route_error = OSError(errno.EBADF, "Bad file descriptor")
    new = ip_address("10.0.0.10")
    box.hops.track([new])
    async with asyncio.timeout(DEADLINE_SECONDS):
        await box.hops.settle([new], 0.01)
    assert not isinstance(box.hops.hop(new), NextHop)


async def test_what_changed_without_an_event_is_found_by_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AUDIT_SECONDS", 0.02)
    box = Box()
    await box.hops.start()
    box.hops.track([HOST])
    await box.hops.settle([HOST], DEADLINE_SECONDS)
    box.kernels[0].mac = NEW_MAC
    await until(lambda: box.mac_is(NEW_MAC))
    await box.hops.stop()


async def test_a_listener_that_fails_harms_nobody_else(box: Box) -> None:
    reported: list[object] = []
    told: list[None] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    box.hops.on_change(lambda: 1 // 0)  # type: ignore[func-returns-value]
    box.hops.on_change(lambda: told.append(None))
    box.hops.track([HOST, ip_address("10.0.0.10")])
    await until(lambda: told and reported)


async def test_a_bug_of_ours_is_loud(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    """A watcher that died silently would leave stale next hops for ever."""
    box.kernels[0].route_error = KeyError("bug")
    box.hops.track([ip_address("10.0.0.10")])
    await until(lambda: "this is a bug in lb" in caplog.text)


async def test_it_can_be_started_again(box: Box) -> None:
    await box.hops.stop()
    box.mac = NEW_MAC
    await box.hops.start()
    await until(lambda: box.mac_is(NEW_MAC))
