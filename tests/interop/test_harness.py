# SPDX-License-Identifier: Apache-2.0
"""The harness itself, without a guest. `make interop` runs this first: a harness that can't fail proves nothing."""

from __future__ import annotations

import signal
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether
from testbed.host import TestbedError
from testbed.signals import Interrupted

import interop.__main__ as command
from interop import guest, packages
from interop.guest import Guest, started
from interop.initramfs import needed_modules
from interop.packages import unpacked
from interop.recipe import RECIPE, read_recipe
from interop.variants import ENCAPSULATIONS, OuterSource, Variant, all_variants, wire_problem
from interop.witness import Header, parse_claim, parse_header
from lb.core.errors import LbError
from lb.core.model import Protocol

_DOCUMENT = RECIPE.read_text()
_RECIPE = read_recipe(_DOCUMENT)

_ANSWERING = 'echo @ready; while read -r c; do sh -c "$c" </dev/null; echo "@exit $?"; done'


# --- recipe ---------------------------------------------------------------------------------------------------------


def test_the_recipe_is_the_documents_block_to_the_byte() -> None:
    """What operators copy is what the guest runs."""
    assert f"```sh\n{_RECIPE.script}```\n" in _DOCUMENT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no block", "found 0"),
        (_DOCUMENT * 2, "found 2"),
        (_DOCUMENT.replace("\nvip6=", "\nvip="), "does not set vip6"),
        (_DOCUMENT.replace("\nvip4=192.0.2.1", "\nvip4=192.0.2.256"), "192.0.2.256"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_refused(text: str, message: str) -> None:
    """An edit of the document must not silently take the recipe out of the test."""
    with pytest.raises(ValueError, match=message):
        read_recipe(text)


# --- packages and modules -------------------------------------------------------------------------------------------


def test_modules_come_with_what_they_depend_on() -> None:
    """Also what their dependencies depend on."""
    listed = "a/x.ko: a/y.ko\na/y.ko: b/z.ko\nb/z.ko:\nb/other.ko:\n"
    assert needed_modules(listed, ["x"]) == {"a/x.ko", "a/y.ko", "b/z.ko"}
    with pytest.raises(TestbedError, match="no module nope"):
        needed_modules(listed, ["x", "nope"])


def test_a_broken_cache_says_what_to_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emptied build folder, or one with two kernels in it."""
    monkeypatch.setattr(packages, "CACHE", tmp_path)
    with pytest.raises(TestbedError, match="remove it, and it is made anew"):
        unpacked()


def test_a_system_without_debians_kernel_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distribution, or another architecture. Nothing half-made stays behind."""
    calls = []

    def run(argv: list[str], **_: object) -> CompletedProcess[str]:
        calls.append(argv[:2])
        return CompletedProcess(argv, 0, stdout="", stderr="")

    monkeypatch.setattr(packages, "run", run)
    monkeypatch.setattr(packages, "CACHE", tmp_path / "build" / "interop")
    with pytest.raises(TestbedError, match="Debian for amd64"):
        unpacked()
    assert ["apt-get", "update"] in calls
    assert not list((tmp_path / "build").iterdir())


# --- guest ----------------------------------------------------------------------------------------------------------


def test_a_command_in_the_guest_gives_its_output() -> None:
    """Of the command only, without the marks."""
    with started(["sh", "-c", _ANSWERING]) as stand_in:
        stand_in.wait_until_ready()
        assert stand_in.run("echo one; echo two") == "one\ntwo"
        assert stand_in.run("true") == ""


def test_a_command_that_fails_shows_what_the_guest_said() -> None:
    """The line of the recipe that failed is in there."""
    with started(["sh", "-c", _ANSWERING]) as stand_in:
        stand_in.wait_until_ready()
        with pytest.raises(TestbedError, match=r"failed: echo no such device; false\n(.*\n)* +no such device"):
            stand_in.run("echo no such device; false")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo Kernel panic", "ended during: boot\n    Kernel panic"),
        ("echo no newline | tr -d '\\n'; exec sleep 60", "no end in time: boot\n    no newline"),
    ],
)
def test_a_guest_that_does_not_boot_is_quoted(script: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, or it hangs; the console says why."""
    monkeypatch.setattr(guest, "_BOOT_SECONDS", 0.5)
    with started(["sh", "-c", script]) as stand_in, pytest.raises(TestbedError, match=message):
        stand_in.wait_until_ready()


def test_a_guest_that_is_gone_is_an_error_of_ours() -> None:
    """Not a broken pipe."""
    with started(["sh", "-c", "echo @ready"]) as stand_in:
        stand_in.wait_until_ready()
        stand_in._process.wait(5)
        with pytest.raises(TestbedError, match="ended before: true"):
            stand_in.run("true")


def test_the_guest_is_killed_when_the_block_fails() -> None:
    """Also when it does not listen to anybody."""
    seen: list[Guest] = []

    def fail() -> None:
        with started(["sleep", "60"]) as stand_in:
            seen.append(stand_in)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen[0]._process.returncode == -signal.SIGKILL


# --- wire -----------------------------------------------------------------------------------------------------------


def test_the_witness_reads_outer_headers() -> None:
    """Outermost only, in both families; ARP and stumps have none."""
    inner = IP(src="1.1.1.1", dst="2.2.2.2") / UDP()
    outer4 = bytes(Ether() / IP(src="172.16.1.2", dst="10.0.0.11") / inner)
    outer6 = bytes(Ether() / IPv6(src="100::5", dst="2001:db8::11") / inner)
    assert parse_header(outer4) == Header(ip_address("172.16.1.2"), ip_address("10.0.0.11"), 4, 48)
    assert parse_header(outer6) == Header(ip_address("100::5"), ip_address("2001:db8::11"), 4, 68)
    assert parse_header(outer4[:33]) is None
    assert parse_header(outer6[:53]) is None
    assert parse_header(bytes(Ether() / ARP())) is None


def test_the_witness_reads_claims() -> None:
    """Whoever sends ARP claims its sender address; whoever advertises claims the target; asking is no claim in IPv6."""
    assert parse_claim(bytes(Ether() / ARP(op="who-has", psrc="192.0.2.1"))) == ip_address("192.0.2.1")
    assert parse_claim(bytes(Ether() / ARP(op="is-at", psrc="192.0.2.1"))) == ip_address("192.0.2.1")
    assert parse_claim(bytes(Ether() / IPv6() / ICMPv6ND_NA(tgt="2001:db8::1"))) == ip_address("2001:db8::1")
    assert parse_claim(bytes(Ether() / IPv6() / ICMPv6ND_NS(tgt="2001:db8::1"))) is None
    assert parse_claim(bytes(Ether() / IP() / UDP())) is None


_GOOD = [Header(ip_address(f"172.16.0.{n}"), _RECIPE.local4, 4, 1500) for n in range(4)]
_RANDOM = Variant(ENCAPSULATIONS[0], OuterSource.RANDOM, Protocol.UDP)
_OWN = replace(_RANDOM, outer_source=OuterSource.OWN)


def test_packets_as_they_should_be_are_no_problem() -> None:
    """Neighbour discovery and the like between the guest and its network do not matter."""
    noise = Header(ip_address("fe80::1"), _RECIPE.local6, 58, 72)
    own = [replace(header, source=ip_address("10.0.0.2")) for header in _GOOD]
    assert wire_problem(_RANDOM, _RECIPE, 4, [noise, *_GOOD]) == ""
    assert wire_problem(_OWN, _RECIPE, 4, [*own, noise]) == ""


@pytest.mark.parametrize(
    ("variant", "seen", "problem"),
    [
        (_RANDOM, [*_GOOD, replace(_GOOD[0], destination=_RECIPE.vip4)], "unwrapped"),
        (_RANDOM, [*_GOOD, replace(_GOOD[0], protocol=41)], "outer protocol 41, expected 4"),
        (_RANDOM, _GOOD[:3], "only 3 wrapped packets"),
        (_RANDOM, [], "only 0 wrapped packets"),
        (_RANDOM, [*_GOOD, replace(_GOOD[0], size_bytes=1501)], "1501 bytes, MTU 1500"),
        (_RANDOM, [*_GOOD, replace(_GOOD[0], source=ip_address("10.0.0.2"))], "10.0.0.2 outside 172.16.0.0/16"),
        (_RANDOM, _GOOD[:2] * 2, "only 2 outer sources"),
        (_OWN, _GOOD, "expected 10.0.0.2"),
    ],
)
def test_packets_that_are_wrapped_otherwise_are_a_problem(variant: Variant, seen: list[Header], problem: str) -> None:
    """An answer alone does not prove that the tunnel was used."""
    assert problem in wire_problem(variant, _RECIPE, 4, seen)


def test_every_combination_is_tried() -> None:
    """Four encapsulations, two protocols, two outer sources."""
    assert len(set(all_variants())) == 16


# --- command --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "code", "last_line"),
    [
        (TestbedError("no"), 1, "interop failed: no"),
        (TestbedError("guest: no\n    a line of its console"), 1, "interop failed: guest: no"),
        (LbError("no"), 1, "interop failed: no"),
        (Interrupted(signal.SIGINT), 130, "interop failed: interrupted by SIGINT"),
    ],
)
def test_a_failure_ends_in_one_line_and_a_code(
    failure: BaseException,
    code: int,
    last_line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No traceback, and never exit code 0."""

    def fail() -> int:
        raise failure

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(command, "interop", fail)
    assert command.main() == code
    assert capsys.readouterr().out.splitlines()[-1] == last_line


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is downloaded or made."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert command.main() == 1
    assert "root is needed" in capsys.readouterr().out
