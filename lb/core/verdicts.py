# SPDX-License-Identifier: Apache-2.0
"""The data plane's verdicts: the same append-only list as ``xdp/verdicts.h``, with a sentence each for people."""

from __future__ import annotations

import enum


class Verdict(enum.IntEnum):
    """What became of a packet; every packet ends in exactly one."""

    description: str

    def __new__(cls, number: int, description: str) -> Verdict:
        member = int.__new__(cls, number)
        member._value_ = number
        member.description = description
        return member

    FORWARDED = 1, "wrapped and sent to a backend"
    FORWARDED_FRAGMENT = 2, "later fragment, sent after the first"
    FORWARDED_ICMP_ERROR = 3, "ICMP error about a flow, sent to the flow's backend"
    ANSWERED_ECHO = 4, "ping of a VIP, answered"
    ANSWERED_TTL_EXCEEDED = 5, "TTL or hop limit ran out here, as traceroute wants it: answered with ICMP"
    ANSWERED_TOO_BIG = 6, "does not fit the egress MTU once wrapped: sender told what fits; give backends' links room"

    PASS_NOT_IP = 16, "neither IPv4 nor IPv6 (ARP, LLDP ...): passed to the kernel"
    PASS_NOT_VIP = 17, "not for a VIP: passed to the kernel"
    PASS_MALFORMED = 18, "not for a VIP, and cut short or with lengths that contradict each other: passed to the kernel"
    PASS_ICMP = 19, "ICMP for a VIP's address, neither a ping nor about one of its flows: passed to the kernel"

    DROP_NO_BACKEND = 32, "for a VIP whose pool has no backend in its ring: enable or add one"
    DROP_ENCAP_FAILED = 33, "no room for the outer header: the driver leaves too little headroom"
    DROP_MALFORMED = 34, "for a VIP's address, with headers cut short or lengths that contradict each other"
    DROP_LAND = 35, "source address equals the VIP: forged"
    DROP_TCP_FLAGS = 36, "TCP flags that no TCP sends: none at all, SYN with FIN or RST, FIN without ACK: a scan"
    DROP_TTL_EXCEEDED = (
        37,
        "TTL ran out here, unanswered: over the rate, nobody to answer, or a later fragment",
    )
    DROP_TOO_BIG = (
        38,
        "too big once wrapped, unanswered: over the rate, nobody to answer, or ICMP itself",
    )
    DROP_FRAGMENT = 39, "later fragment whose first one was not seen within 30 s: reordered on the way, or forged"
    DROP_HEADERS = 40, "more IPv6 extension headers than the 6 that are walked"
    DROP_HELD = 41, "new flow that could not be tracked just when its slot settled: served when it is sent again"
