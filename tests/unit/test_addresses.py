# SPDX-License-Identifier: Apache-2.0
"""Addresses and prefixes: what is refused, and that the message says what to do."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core import addresses, validate
from lb.core.model import Address


def complaints(parse: Callable[..., object], raw: object) -> list[str]:
    found: validate.Found = []
    parse(found, "field", raw)
    assert all(violation.field == "field" for violation in found)
    return [violation.message for violation in found]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is required: an IP address such as 192.0.2.1"),
        ("10.0.0.0/24", "is a prefix: write one address, without '/'"),
        ("10.0.0.256", "is not an IP address: names are not looked up"),
        ("010.0.0.1", "is not an IP address"),
        ("b1.example.com", "names are not looked up, write an address such as 192.0.2.1"),
        (" 10.0.0.1", "is not an IP address"),
        ("224.0.0.1", "224.0.0.1 is a multicast address: use a unicast address"),
        ("0.0.0.0", "is unspecified"),
        ("0.1.2.3", "is unspecified"),
        ("127.0.0.1", "is a loopback address: it never leaves a host"),
        ("169.254.0.1", "is link-local: it means something else on every link and needs a zone"),
        ("255.255.255.255", "is the broadcast address"),
        ("2001:db8::1%eth0", "2001:db8::1 has a zone: write the address without '%'"),
        ("fe80::1", "fe80::1 is link-local: it means something else on every link and needs a zone, so use a routable"),
        ("fe80::1%eth0", "fe80::1 is link-local"),
        ("febf::1", "is link-local"),
        ("ff02::1", "ff02::1 is a multicast address: use a unicast address"),
        ("ff0e::1", "is a multicast address"),
        ("::1", "::1 is a loopback address: it never leaves a host"),
        ("::", ":: is the unspecified address: use the address that clients or packets go to"),
        ("::ffff:10.0.0.1", "is a mapped IPv4 address: write 10.0.0.1"),
    ],
)
@pytest.mark.parametrize("parse", [addresses.parse_vip_address, addresses.parse_backend_address])
def test_addresses_that_are_refused(parse: Callable[..., object], text: str, message: str) -> None:
    (found,) = complaints(parse, text)
    assert message in found


@pytest.mark.parametrize(
    "text", ["10.0.0.11:8080", "10.0.0.11:", "b1.example.com:80", "[2001:db8::1]:80", "[::1]", ":80"]
)
def test_an_address_with_a_port_says_why_not(text: str) -> None:
    """The mistake that everybody makes who comes from a proxy."""
    (message,) = complaints(addresses.parse_backend_address, text)
    assert "direct server return cannot change ports: write the address alone" in message
    (message,) = complaints(addresses.parse_vip_address, text)
    assert "the port of a VIP is a field of its own" in message


@pytest.mark.parametrize("text", ["10.0.0.11", "2001:db8::1", "fd00::1", "fec0::1", "64:ff9b::10.0.0.1"])
@pytest.mark.parametrize("parse", [addresses.parse_vip_address, addresses.parse_backend_address])
def test_addresses_of_both_families_are_accepted(parse: Callable[..., object], text: str) -> None:
    assert complaints(parse, text) == []


@given(st.ip_addresses().filter(lambda address: not addresses.why_unusable(address)))
def test_an_accepted_address_is_parsed_as_it_is(address: Address) -> None:
    found: validate.Found = []
    assert addresses.parse_backend_address(found, "field", str(address)) == address
    assert not found


def test_every_spelling_of_an_address_is_the_same_address() -> None:
    """Else one VIP could be there twice."""
    spellings = ("2001:db8::a", "2001:DB8::A", "2001:0db8:0:0:0:0:0:000a", "2001:db8::0.0.0.10")
    assert {addresses.parse_vip_address([], "field", text) for text in spellings} == {IPv6Address("2001:db8::a")}


@given(st.text(max_size=200) | st.text(max_size=200).map("fe80::1%{}".format) | st.text().map("100::%{}/64".format))
def test_no_text_breaks_a_parser(text: str) -> None:
    """Whatever comes over the wire ends in a value or a short ASCII violation, never in an exception."""
    for parse in (
        addresses.parse_vip_address,
        addresses.parse_backend_address,
        addresses.parse_outer_source_ipv4,
        addresses.parse_outer_source_ipv6,
    ):
        assert all(message.isascii() and len(message) < 800 for message in complaints(parse, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("172.16.0.0", "has the wrong length: write a prefix from /8 to /30"),
        ("172.16.0.0/31", "has the wrong length"),
        ("16.0.0.0/7", "has the wrong length"),
        ("172.16.0.1/16", "has host bits set or is in another form: write 172.16.0.0/16"),
        ("172.16.0.0/255.255.0.0", "write 172.16.0.0/16"),
        ("100::/64", "is not an IPv4 prefix"),
        ("on", "is not an IPv4 prefix: write a prefix from /8 to /30 such as 172.16.0.0/16, or off"),
        ("127.0.0.0/8", "is a loopback address"),
        ("224.0.0.0/8", "224.0.0.0/8 has an address that is a multicast address: write a prefix from /8 to /30"),
        ("255.255.255.0/24", "is the broadcast address"),
    ],
)
def test_ipv4_outer_sources_that_are_refused(text: str, message: str) -> None:
    (found,) = complaints(addresses.parse_outer_source_ipv4, text)
    assert message in found


def test_ipv4_outer_sources_that_are_accepted() -> None:
    assert addresses.parse_outer_source_ipv4([], "field", "off") is None
    for text in ("10.0.0.0/8", "172.16.0.0/16", "192.168.0.0/30"):
        assert addresses.parse_outer_source_ipv4([], "field", text) == IPv4Network(text)
        assert complaints(addresses.parse_outer_source_ipv4, text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("100::", "has the wrong length: write a prefix from /32 to /96 such as 100::/64, or off"),
        ("100::/97", "has the wrong length"),
        ("2000::/31", "has the wrong length"),
        ("100::1/64", "has host bits set or is in another form: write 100::/64"),
        ("0100::/64", "write 100::/64"),
        ("100::%eth0/64", "is not an IPv6 prefix"),
        ("172.16.0.0/16", "'172.16.0.0/16' is not an IPv6 prefix: write a prefix from /32 to /96"),
        ("on", "is not an IPv6 prefix: write a prefix from /32 to /96 such as 100::/64, or off"),
        ("::/64", "::/64 has an address that is the unspecified address: write a prefix from /32 to /96"),
        ("::ffff:0:0/96", "is a mapped IPv4 address: write a prefix"),
        ("::fffe:0:0/95", "is a mapped IPv4 address"),
        ("fe80::/64", "is link-local"),
        ("ff00::/32", "is a multicast address"),
    ],
)
def test_ipv6_outer_sources_that_are_refused(text: str, message: str) -> None:
    (found,) = complaints(addresses.parse_outer_source_ipv6, text)
    assert message in found


def test_ipv6_outer_sources_that_are_accepted() -> None:
    assert addresses.parse_outer_source_ipv6([], "field", "off") is None
    for text in ("2001:db8::/32", "100::/64", "fd00::/96"):
        assert addresses.parse_outer_source_ipv6([], "field", text) == IPv6Network(text)
        assert complaints(addresses.parse_outer_source_ipv6, text) == []
