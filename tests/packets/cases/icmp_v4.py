# SPDX-License-Identifier: Apache-2.0
"""ICMP over IPv4: pings of a VIP, errors about its flows, and everything else, which passes."""

from __future__ import annotations

import struct
from typing import Any

from packets.case import CLIENT, SPORT, Case, ether, hash_of, ip
from packets.expect import echo_reply, wrapped
from packets.wire import checksum
from packets.world import BACKENDS, VIPS, pool_of
from scapy.layers.inet import ICMP, IP, TCP, UDP

from lb.core.verdicts import Verdict

V = Verdict
ROUTER = "203.0.113.1"


def ping(payload: bytes = b"", vip: str = "44", **fields: Any) -> bytes:
    """An echo request from the client."""
    return ether(ip(vip, **fields), ICMP(id=7, seq=1), payload)


def reply(vip: str, quoted_payload: bytes, **fields: Any) -> bytes:
    """What a backend sent to the client, as a router on its way saw it: from the VIP."""
    address, port, protocol, _ = VIPS[vip]
    header = IP(src=address, **{"dst": CLIENT, "ttl": 3, **fields})
    return bytes(header / (TCP if protocol == 6 else UDP)(sport=port or 8080, dport=SPORT) / quoted_payload)


def error(kind: int, code: int, quote: bytes, *, vip: str = "44", rest: bytes = bytes(4), **fields: Any) -> bytes:
    """An ICMP error from a router to the VIP."""
    message = struct.pack("!BBH", kind, code, 0) + rest + quote
    message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    return ether(ip(vip, **{"src": ROUTER, "proto": 1, **fields}), message)


def delivered(name: str, packet: bytes, vip: str = "44", **more: Any) -> Case:
    """To the backend of the flow that it quotes, with that flow's outer source."""
    return Case(name, packet, V.FORWARDED_ICMP_ERROR, wrapped(packet, BACKENDS[pool_of(vip)], hash_of(vip)), **more)


def passes(name: str, packet: bytes) -> Case:
    """Not about a flow of a VIP."""
    return Case(name, packet, V.PASS_ICMP)


def answered(name: str, packet: bytes, **more: Any) -> Case:
    """Echo reply."""
    return Case(name, packet, V.ANSWERED_ECHO, echo_reply(packet), **more)


LITERAL_IN = bytes.fromhex(
    "0200000000010200000000990800"
    "4500001f000100004001 8ea1 c6336407c0000201"
    "0800 3395 00070001 616263"
)  # fmt: skip
LITERAL_OUT = bytes.fromhex(
    "0200000000990200000000010800"
    "4500001f000100004001 8ea1 c0000201c6336407"
    "0000 3b95 00070001 616263"
)  # fmt: skip

QUOTE = reply("44", b"data")
SHORTEST = QUOTE[:28]
WRONG_PING = ping(b"abc")[:36] + b"\x12\x34" + ping(b"abc")[38:]
WRONG_REPLY = echo_reply(ping(b"abc"))[:36] + b"\x1a\x34" + echo_reply(ping(b"abc"))[38:]
WRONG_IP_PING = ping(b"abc")[:24] + b"\xbe\xef" + ping(b"abc")[26:]
WRONG_ERROR = error(3, 4, QUOTE)[:36] + b"\x12\x34" + error(3, 4, QUOTE)[38:]
QUOTED_FIRST = reply("44-udp", b"", flags="MF", id=5)
QUOTED_LAST = bytes(IP(src=VIPS["44-udp"][0], dst=CLIENT, frag=9, proto=17)) + bytes(8)
FROM_ELSEWHERE = bytes(IP(src="192.0.2.200", dst=CLIENT) / TCP(sport=80, dport=SPORT))
FROM_CLIENT = bytes(IP(src=CLIENT, dst=VIPS["44"][0]) / TCP(sport=SPORT, dport=80))
MTU_1400 = struct.pack("!HH", 0, 1400)

CASES = [
    Case("ping: literal", LITERAL_IN, V.ANSWERED_ECHO, LITERAL_OUT),
    *(
        answered(f"ping of {size} bytes", ping(bytes(i % 251 for i in range(size))))
        for size in (0, 1, 7, 11, 12, 56, 57, 1472)
    ),
    answered("ping with padding", ping().ljust(60, b"\0")),
    answered("ping with trailing bytes", ping(b"abc") + b"trailer"),
    answered("ping with options", ping(b"abc", options=[b"\x94\x04\0\0"])),
    answered("ping with 40 bytes of options", ping(b"abc", options=[b"\x01" * 40])),
    answered("ping keeps TOS", ping(b"abc", tos=0xB8)),
    answered("ping keeps identification and don't fragment", ping(b"abc", id=77, flags="DF")),
    *(answered(f"ping with TTL {ttl}", ping(b"abc", ttl=ttl)) for ttl in (0, 1, 64, 255)),
    answered("ping of any VIP's address", ping(b"abc", "any")),
    answered("ping of a VIP without backends", ping(b"abc", "empty")),
    answered("ping by the other interface", ping(b"abc"), interface="out0"),
    Case(
        "ping with a wrong checksum: the reply's is as wrong",
        WRONG_PING,
        V.ANSWERED_ECHO,
        WRONG_REPLY,
        defects=("ICMP: checksum",),
    ),
    Case(
        "ping with a wrong header checksum",
        WRONG_IP_PING,
        V.ANSWERED_ECHO,
        WRONG_IP_PING[6:12]
        + WRONG_IP_PING[:6]
        + WRONG_IP_PING[12:26]
        + WRONG_IP_PING[30:34]
        + WRONG_IP_PING[26:30]
        + echo_reply(ping(b"abc"))[34:],
        defects=("IPv4: header checksum",),
    ),
    passes("ping with code 1", ether(ip("44"), ICMP(code=1), b"abc")),
    passes("ping in a frame to a group", ether(ip("44"), ICMP(), dst="01:00:5e:00:00:01")),
    passes("ping in a broadcast frame", ether(ip("44"), ICMP(), dst="ff:ff:ff:ff:ff:ff")),
    *(
        passes(f"ping from {source}", ping(src=source))
        for source in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255")
    ),
    Case("ping of another address", ether(IP(dst="192.0.2.200"), ICMP()), V.PASS_NOT_VIP),
    Case("first fragment of a ping", ping(bytes(64), flags="MF"), V.PASS_NOT_VIP),
    Case("ping cut short by the length", ether(ip("44", len=27), ICMP()), V.DROP_MALFORMED),
    Case("ping cut short by the frame", ping()[:41], V.DROP_MALFORMED),
    Case("ICMPv6 echo over IPv4", ether(ip("44", proto=58), b"\x80\0" + bytes(6)), V.PASS_NOT_VIP),
    passes("echo reply", ether(ip("44"), ICMP(type=0))),
    passes("timestamp request", ether(ip("44"), ICMP(type=13))),
    passes("information request", ether(ip("44"), ICMP(type=15))),
    passes("address mask request", ether(ip("44"), ICMP(type=17))),
    passes("router advertisement", ether(ip("44"), ICMP(type=9))),
    passes("extended echo request", ether(ip("44", proto=1), b"\x2a\0" + bytes(6))),
    passes("redirect", error(5, 1, QUOTE)),
    passes("source quench", error(4, 0, QUOTE)),
    *(
        delivered(f"unreachable, code {code}", error(3, code, QUOTE, rest=MTU_1400 if code == 4 else bytes(4)))
        for code in range(16)
    ),
    *(delivered(f"time exceeded, code {code}", error(11, code, QUOTE)) for code in (0, 1)),
    *(delivered(f"parameter problem, code {code}", error(12, code, QUOTE)) for code in (0, 1, 2)),
    delivered("fragmentation needed with 8 bytes of TCP", error(3, 4, SHORTEST, rest=MTU_1400)),
    delivered(
        "fragmentation needed with 8 bytes of UDP", error(3, 4, reply("44-udp", b"")[:28], vip="44-udp"), "44-udp"
    ),
    delivered("port unreachable about UDP", error(3, 3, reply("44-udp", b"abc"), vip="44-udp"), "44-udp"),
    delivered("quoted with options", error(3, 4, reply("44", b"", options=[b"\x94\x04\0\0"])[:32])),
    delivered("quoted with 40 bytes of options", error(3, 4, reply("44", b"", options=[b"\x01" * 40])[:68])),
    delivered("quoted first fragment", error(11, 1, QUOTED_FIRST, vip="44-udp"), "44-udp"),
    delivered("quoted with a length that was changed on the way", error(3, 4, reply("44", b"", len=20)[:28])),
    delivered("quoted in 548 bytes", error(3, 4, reply("44", bytes(1000))[:548])),
    delivered(
        "with extensions behind the quote (RFC 4884)",
        error(11, 0, QUOTE.ljust(128, b"\0") + b"\x20\0\0\0" + bytes(8), rest=b"\0\x20\0\0"),
    ),
    delivered("with options", error(3, 4, SHORTEST, options=[b"\x94\x04\0\0"])),
    delivered("with padding", error(3, 4, SHORTEST).ljust(90, b"\0")),
    delivered("about a flow of an any-port VIP", error(3, 4, reply("any", b""), vip="any"), "any"),
    delivered("about a flow to an IPv6 backend", error(3, 4, reply("46", b""), vip="46"), "46"),
    delivered("about a flow with an outer source of the hash", error(3, 4, reply("rss4", b""), vip="rss4"), "rss4"),
    delivered(
        "about a flow to a narrow outer source",
        error(3, 4, reply("rss4-narrow", b""), vip="rss4-narrow"),
        "rss4-narrow",
    ),
    delivered("TTL 2", error(3, 4, QUOTE, ttl=2)),
    Case(
        "wrong checksum is left alone",
        WRONG_ERROR,
        V.FORWARDED_ICMP_ERROR,
        wrapped(WRONG_ERROR, BACKENDS["44"]),
        defects=("inner ICMP: checksum",),
    ),
    Case("with TTL 1 is dropped, never answered", error(3, 4, QUOTE, ttl=1), V.DROP_TTL_EXCEEDED),
    Case("too big is dropped, never answered", error(3, 4, QUOTE + bytes(1500)), V.DROP_TOO_BIG),
    Case("about a VIP without backends", error(3, 4, reply("empty", b""), vip="empty"), V.DROP_NO_BACKEND),
    Case("about a flow of the VIP with itself", error(3, 4, reply("44", b"", dst=VIPS["44"][0])), V.DROP_LAND),
    passes(
        "about a port that is no VIP's",
        error(3, 4, bytes(IP(src=VIPS["44"][0], dst=CLIENT) / TCP(sport=81, dport=SPORT))),
    ),
    passes("about another protocol", error(3, 4, bytes(IP(src=VIPS["44"][0], dst=CLIENT, proto=47)) + bytes(8))),
    passes("about a ping", error(3, 1, bytes(IP(src=VIPS["44"][0], dst=CLIENT) / ICMP()))),
    passes("quoted from another address", error(3, 4, FROM_ELSEWHERE)),
    passes("quoted the wrong way round", error(3, 4, FROM_CLIENT)),
    passes("quoted later fragment", error(11, 1, QUOTED_LAST, vip="44-udp")),
    passes("quoted version 6", error(3, 4, b"\x65" + QUOTE[1:])),
    passes("quoted header length 4 words", error(3, 4, b"\x44" + QUOTE[1:])),
    passes("quoted header cut short", error(3, 4, QUOTE[:19])),
    passes("quoted ports cut short", error(3, 4, QUOTE[:23])),
    passes("quoted ports only in the padding", error(3, 4, QUOTE[:23]) + QUOTE[23:]),
    passes("quoted options beyond the end", error(3, 4, b"\x4f" + QUOTE[1:])),
    passes("nothing quoted", error(3, 4, b"")),
    Case("elsewhere: about a flow of its own", error(3, 4, FROM_ELSEWHERE, dst="192.0.2.200"), V.PASS_NOT_VIP),
    Case("elsewhere: about a VIP's flow", error(3, 4, QUOTE, dst="192.0.2.200"), V.PASS_NOT_VIP),
    Case("first fragment of an error", error(3, 4, QUOTE, flags="MF"), V.PASS_NOT_VIP),
    Case("error header cut short", ether(ip("44", proto=1, len=24), b"\x03\x04\0\0"), V.DROP_MALFORMED),
]
