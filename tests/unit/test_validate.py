# SPDX-License-Identifier: Apache-2.0
"""Validation: what is refused, and that the message says what to do."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core import validate
from lb.core.errors import InvalidError, LimitError, RefusedError, Violation
from lb.core.limits import MAX_BACKENDS, MAX_BACKENDS_PER_POOL, MAX_POOLS, MAX_VIPS
from lb.core.model import MAX_WEIGHT, AdminState, Backend, Config, HashPolicy, Pool, Protocol, Vip

VIP = Vip("web", IPv4Address("192.0.2.1"), 80, Protocol.TCP, "web")
B1 = Backend("b1", IPv4Address("10.0.0.11"))


def complaints(parse: Callable[..., object], raw: object) -> list[str]:
    found: validate.Found = []
    parse(found, "field", raw)
    assert all(violation.field == "field" for violation in found)
    return [violation.message for violation in found]


def config(*members: Backend, vips: tuple[Vip, ...] = ()) -> Config:
    pool = Pool("web", backends={member.name: member for member in members})
    return Config(pools={"web": pool}, vips={vip.name: vip for vip in vips})


@pytest.mark.parametrize("name", ["a", "web", "web-1", "a" * 63, "a-"])
def test_names_that_are_accepted(name: str) -> None:
    assert complaints(validate.parse_name, name) == []


@pytest.mark.parametrize("name", ["Web", "1web", "-web", "we_b", "web/b1", "a" * 64, "wéb", "web\n", "web "])
def test_names_that_are_refused(name: str) -> None:
    (message,) = complaints(validate.parse_name, name)
    assert "use lower-case letters, digits and '-', at most 63, starting with a letter" in message


@given(st.text(max_size=200))
def test_no_text_breaks_a_parser(text: str) -> None:
    """Whatever comes over the wire ends in a value or a short ASCII violation, never in an exception."""
    for parse in (
        validate.parse_name,
        validate.parse_protocol,
        validate.parse_hash_policy,
        validate.parse_admin_state,
        validate.parse_description,
        validate.parse_hash_key,
    ):
        assert all(message.isascii() and len(message) < 800 for message in complaints(parse, text))


@pytest.mark.parametrize(("port", "fine"), [(0, True), (65535, True), (65536, False), (70000, False), (-1, False)])
def test_ports(port: int, fine: bool) -> None:
    wrong = [f"{port} is not a port: 1 to 65535, or 0 for every port"]
    assert complaints(validate.parse_port, port) == ([] if fine else wrong)


@pytest.mark.parametrize(("weight", "fine"), [(0, True), (MAX_WEIGHT, True), (MAX_WEIGHT + 1, False), (-1, False)])
def test_weights(weight: int, fine: bool) -> None:
    wrong = [f"{weight} is not a weight: 0 (no new flows) to 65535"]
    assert complaints(validate.parse_weight, weight) == ([] if fine else wrong)


def test_protocol_is_required_and_one_of_two() -> None:
    assert complaints(validate.parse_protocol, "") == ["is required: TCP or UDP"]
    assert complaints(validate.parse_protocol, "SCTP") == [
        "'SCTP' is not a protocol that is balanced: choose TCP or UDP"
    ]
    assert validate.parse_protocol([], "field", "UDP") is Protocol.UDP


def test_hash_policies() -> None:
    assert validate.parse_hash_policy([], "field", "SOURCE") is HashPolicy.SOURCE
    assert complaints(validate.parse_hash_policy, "source") == [
        "'source' is not a hash policy: choose one of FIVE_TUPLE, SOURCE, SOURCE_AND_DESTINATION_PORT, DESTINATION_PORT"
    ]


@pytest.mark.parametrize(
    ("parse", "most", "zero"),
    [
        (validate.parse_settle_seconds, 604_800, "flows are not protected"),
        (validate.parse_udp_settle_seconds, 86_400, "flows are not protected"),
        (validate.parse_drain_idle_seconds, 604_800, "silent clients are not waited for"),
    ],
)
def test_seconds(parse: Callable[..., int], most: int, zero: str) -> None:
    for fine in (0, most):
        assert complaints(parse, fine) == []
        assert parse([], "field", fine) == fine
    for wrong in (-1, most + 1):
        assert complaints(parse, wrong) == [f"{wrong} is out of range: give seconds from 0 ({zero}) to {most}"]


def test_admin_states() -> None:
    assert validate.parse_admin_state([], "field", "DRAINING") is AdminState.DRAINING
    assert complaints(validate.parse_admin_state, "OFF") == [
        "'OFF' is not an admin state: choose one of ENABLED, DRAINING, DISABLED"
    ]


def test_deadlines_are_times_to_come() -> None:
    assert complaints(lambda *args: validate.parse_drain_deadline(*args, known=0, now=1_000.5), 1_001) == []
    assert complaints(lambda *args: validate.parse_drain_deadline(*args, known=0, now=1_000.5), 1_000) == [
        "1000 has passed, it is 1000 now: give a later time, or set admin_state DISABLED to cut the flows now"
    ]


@pytest.mark.parametrize(("number", "known", "now"), [(0, 500, 1_000.0), (500, 500, 1_000.0), (500, 0, None)])
def test_a_deadline_that_has_passed_is_accepted_where_nobody_asks_for_it(
    number: int, known: int, now: float | None
) -> None:
    """None; one that is sent back; one of a file."""
    assert complaints(lambda *args: validate.parse_drain_deadline(*args, known, now), number) == []
    assert validate.parse_drain_deadline([], "field", number, known, now) == number


@pytest.mark.parametrize("number", [-1, 253_402_300_800])
def test_deadlines_that_are_no_times(number: int) -> None:
    assert complaints(lambda *args: validate.parse_drain_deadline(*args, number, None), number) == [
        f"{number} is not a time: give seconds since the epoch, or 0 for no deadline"
    ]


def test_how_long_a_drain_may_take() -> None:
    assert complaints(validate.parse_deadline_seconds, 604_800) == []
    assert complaints(validate.parse_deadline_seconds, 604_801) == [
        "604801 is out of range: give seconds from 0 (no deadline) to 604800"
    ]


def test_descriptions_are_one_bounded_line() -> None:
    assert complaints(validate.parse_description, "The shop, größer" + "!" * 240) == []
    assert complaints(validate.parse_description, "x" * 257) == ["has 257 characters: shorten it to 256"]
    (message,) = complaints(validate.parse_description, "a\x1b[31m")
    assert "unprintable" in message


def test_hash_keys() -> None:
    key = bytes(range(16))
    assert validate.parse_hash_key([], "field", key.hex().upper()) == key
    assert complaints(validate.parse_hash_key, "0" * 32) == [
        "is all zeros, which means none: leave it out to have one made"
    ]
    for text in ("ab", "x" * 32, "ab" * 17):
        (message,) = complaints(validate.parse_hash_key, text)
        assert message == f"needs 32 hexadecimal digits, this has {len(text)} characters"


def test_all_violations_at_once() -> None:
    found: validate.Found = []
    validate.parse_protocol(found, "vip.protocol", "SCTP")
    validate.parse_port(found, "vip.port", 70000)
    with pytest.raises(InvalidError) as caught:
        validate.raise_if_any(found)
    assert [violation.field for violation in caught.value.violations] == ["vip.protocol", "vip.port"]
    validate.raise_if_any([])


# Between objects.


def test_an_ipv6_address_of_the_box_needs_force_too() -> None:
    vip = Vip("web", IPv6Address("2001:db8::1"), 80, Protocol.TCP, "web")
    with pytest.raises(RefusedError, match="2001:db8::1 is an address of this balancer"):
        validate.check_edit(Config(), config(vips=(vip,)), [IPv6Address("2001:db8:0::1")])


def test_any_mix_of_families_is_accepted() -> None:
    """The data plane has all four encapsulations."""
    members = (B1, Backend("b2", IPv6Address("2001:db8:1::12")))
    vips = (VIP, Vip("web6", IPv6Address("2001:db8::1"), 80, Protocol.TCP, "web"))
    validate.check_edit(Config(), config(*members, vips=vips), [])


def test_an_address_of_the_box_needs_force() -> None:
    """Otherwise one typo hijacks the balancer's own SSH."""
    local = [IPv4Address("192.0.2.1")]
    with pytest.raises(RefusedError) as caught:
        validate.check_edit(Config(), config(vips=(VIP,)), local)
    assert caught.value.message == (
        "192.0.2.1 is an address of this balancer: its own traffic to port 80 would be balanced; "
        "say so with --force (in a file, force: true) if that is wanted"
    )
    assert caught.value.violations == (
        Violation("vip.address", "is an address of this balancer: set force (--force) if that is wanted"),
    )
    with pytest.raises(RefusedError, match="all its own traffic would be balanced"):
        validate.check_vip_address(Vip("web", VIP.address, 0, Protocol.TCP, "web"), local)
    validate.check_edit(Config(), config(vips=(Vip("web", VIP.address, 80, Protocol.TCP, "web", force=True),)), local)


def test_an_address_that_the_box_got_later_does_not_block_other_edits() -> None:
    before = config(vips=(VIP,))
    validate.check_edit(before, config(B1, vips=(VIP,)), [VIP.address])


def test_a_backend_that_is_a_vip_would_loop() -> None:
    loop = Backend("b1", VIP.address)
    for before in (config(vips=(VIP,)), config(loop)):
        with pytest.raises(RefusedError, match=r"192\.0\.2\.1 is vip 'web' and backend web/b1: packets to the backend"):
            validate.check_edit(before, config(loop, vips=(VIP,)), [])
    both = config(loop, vips=(VIP,))
    validate.check_edit(both, config(loop, B1, vips=(VIP,)), [])  # not this edit's fault


def test_limits_name_what_is_full() -> None:
    vips = {f"v{number}": VIP for number in range(MAX_VIPS + 1)}
    with pytest.raises(LimitError, match="4,097 VIPs would exceed the data plane's limit of 4,096: delete some first"):
        validate.check_edit(Config(), Config(vips=vips), [])
    pools = {f"p{number}": Pool(f"p{number}") for number in range(MAX_POOLS + 1)}
    with pytest.raises(LimitError, match="513 pools"):
        validate.check_edit(Config(), Config(pools=pools), [])
    with pytest.raises(LimitError, match="4,097 backends in pool 'web'"):
        validate.check_edit(Config(), Config(pools={"web": members("web", MAX_BACKENDS_PER_POOL + 1)}), [])
    full = {f"p{number}": members(f"p{number}", MAX_BACKENDS_PER_POOL) for number in range(16)}
    assert len(full) * MAX_BACKENDS_PER_POOL > MAX_BACKENDS
    with pytest.raises(LimitError, match="65,536 backends over all pools"):
        validate.check_edit(Config(), Config(pools=full), [])
    validate.check_edit(Config(pools=full), Config(pools=full), [])  # the way back stays open


def members(pool: str, count: int) -> Pool:
    return Pool(pool, backends={f"b{number}": Backend(f"b{number}", IPv4Address(number)) for number in range(count)})
