# SPDX-License-Identifier: Apache-2.0
"""What goes between lbd and its prober: nothing is lost in writing, and nothing grows without bound."""

from __future__ import annotations

import asyncio
import itertools
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.probe_time import run

from lb.core.checks import CheckKind, CheckVia, HealthCheck, Outcome, Target
from lb.probe import outbox as module
from lb.probe.outbox import ALIVE_SECONDS, GATHER_SECONDS, WARN_SECONDS, Outbox
from lb.probe.protocol import (
    MAX_LINE_BYTES,
    OUTCOMES_PER_LINE,
    TARGETS_PER_LINE,
    Change,
    Report,
    changes,
    decode_change,
    decode_report,
    encode_change,
    encode_report,
)

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
checks = st.builds(
    HealthCheck,
    st.sampled_from(CheckKind),
    via=st.none() | st.sampled_from(CheckVia),
    interval_ms=st.integers(100, 3_600_000),
    path=texts,
    expected_body=texts,
    verify_tls=st.booleans(),
    send=st.binary(max_size=20),
    expect=st.binary(max_size=20),
)
targets = st.builds(Target, checks, addresses, addresses, st.integers(0, 65_535), st.integers(0, 2**32 - 1))
numbered = st.dictionaries(st.integers(1, 10**6), targets, max_size=5)


# --- protocol


@given(numbered, numbered)
def test_changes_lead_from_one_set_of_targets_to_another(before: dict[int, Target], more: dict[int, Target]) -> None:
    """As the prober applies them, read back from lines."""
    after = dict(itertools.islice(before.items(), 2)) | {number + 10**6: target for number, target in more.items()}
    known = dict(before)
    for change in changes(before, after):
        line = encode_change(change)
        assert line.count(b"\n") == 1
        read = decode_change(line)
        for number in read.removed:
            del known[number]
        known.update(read.added)
    assert known == after


def test_a_thousand_targets_come_in_lines_of_bounded_length() -> None:
    """Even if each check has the longest texts that there may be."""
    long = "\N{GRINNING FACE}" * 1024
    address = IPv6Address("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")
    full = [
        HealthCheck(CheckKind.HTTPS, interval_ms=number, path=long, host=long, expected_body=long, ca_file=4 * long)
        for number in range(1000)
    ]
    lines = [
        encode_change(change) for change in changes({}, {n: Target(full[n], address, address, 1) for n in range(1000)})
    ]
    assert len(lines) == -(-1000 // TARGETS_PER_LINE)
    assert max(map(len, lines)) < MAX_LINE_BYTES


def test_a_check_that_many_targets_share_is_sent_once_a_line() -> None:
    """A pool has one check."""
    check = HealthCheck(CheckKind.HTTP, path="/marker")
    addresses = [IPv4Address(number) for number in range(50)]
    line = encode_change(Change([(n, Target(check, each, each, 80)) for n, each in enumerate(addresses)]))
    assert line.count(b"/marker") == 1


@given(st.lists(st.tuples(st.integers(1), st.builds(Outcome, texts, *[st.floats(0, 1e9)] * 2))), st.lists(texts))
def test_reports_are_read_as_they_were_written(outcomes: list[tuple[int, Outcome]], warnings: list[str]) -> None:
    report = Report(outcomes, warnings)
    assert decode_report(encode_report(report)) == report


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{}\n", b'{"outcomes": [[1]], "warnings": []}\n', b"\xff\n"])
def test_what_is_no_report_is_an_error(line: bytes) -> None:
    """Which has the prober replaced."""
    with pytest.raises(ValueError, match=r"."):
        decode_report(line)


# --- outbox


class Lbd(asyncio.WriteTransport):
    """Reads, or does not: then ``blocked``."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked = False
        self.lines: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.blocked, "written without room"
        self.lines.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 1 << 30 if self.blocked else 0

    def numbers(self) -> list[int]:
        """Of the targets whose outcomes came."""
        return [number for line in self.lines for number, _ in decode_report(line).outcomes]

    def warnings(self) -> list[str]:
        return [text for line in self.lines for text in decode_report(line).warnings]


PASSED = Outcome("", 1.0, 2.0)


def test_outcomes_travel_together_and_soon() -> None:
    """lbd wakes up a hundred times a second at most."""

    async def body() -> None:
        lbd = Lbd()
        outbox = Outbox(lbd)
        lbd.lines.clear()
        for number in range(10):
            outbox.outcome(number, PASSED)
        assert lbd.lines == []
        await asyncio.sleep(GATHER_SECONDS)
        assert len(lbd.lines) == 1
        assert lbd.numbers() == list(range(10))
        outbox.stop()

    run(body())


def test_something_is_said_at_once_and_each_second() -> None:
    """By which lbd knows that the prober is ready, and alive."""

    async def body() -> None:
        lbd = Lbd()
        outbox = Outbox(lbd)
        assert len(lbd.lines) == 1
        await asyncio.sleep(10 * ALIVE_SECONDS)
        assert len(lbd.lines) == 11
        outbox.stop()

    run(body())


def test_an_lbd_that_does_not_read_gets_all_when_it_does() -> None:
    """In order, in lines of bounded length."""

    async def body() -> None:
        lbd = Lbd()
        outbox = Outbox(lbd)
        lbd.blocked = True
        for number in range(1000):
            outbox.outcome(number, PASSED)
        await asyncio.sleep(60)
        lbd.blocked = False
        await asyncio.sleep(ALIVE_SECONDS)
        assert lbd.numbers() == list(range(1000))
        assert max(len(decode_report(line).outcomes) for line in lbd.lines) == OUTCOMES_PER_LINE
        assert lbd.warnings() == []
        outbox.stop()

    run(body())


def test_of_too_many_the_oldest_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, whatever lbd does."""
    monkeypatch.setattr(module, "MAX_BACKLOG", 100)

    async def body() -> None:
        lbd = Lbd()
        outbox = Outbox(lbd)
        lbd.blocked = True
        for number in range(150):
            outbox.outcome(number, PASSED)
        lbd.blocked = False
        await asyncio.sleep(ALIVE_SECONDS)
        assert lbd.numbers() == list(range(50, 150))
        assert lbd.warnings() == ["50 outcomes of probes were dropped: lbd did not read them for too long"]
        outbox.stop()

    run(body())


def test_warnings_are_few() -> None:
    """A thousand a second say no more than one."""

    async def body() -> None:
        lbd = Lbd()
        outbox = Outbox(lbd)
        for _ in range(int(2.5 * WARN_SECONDS)):
            for number in range(3):
                outbox.warn(f"cannot probe {number}")
            await asyncio.sleep(1)
        assert lbd.warnings()[0] == "cannot probe 0 (2 more probes could not be made)"
        assert len(lbd.warnings()) == 3
        outbox.stop()

    run(body())
