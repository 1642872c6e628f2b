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
    PASS_NOT_IP = 2, "not IPv4 (ARP, IPv6, VLAN tags ...): passed to the kernel"
    PASS_NOT_VIP = 3, "not for a VIP: passed to the kernel"
    PASS_MALFORMED = 4, "headers cut short or lengths that contradict each other: passed to the kernel"
    PASS_FRAGMENT = 5, "IPv4 fragment: passed to the kernel"
    PASS_PROTOCOL = 6, "neither TCP nor UDP: passed to the kernel"
    DROP_NO_BACKEND = 7, "for a VIP whose pool has no backend in its ring: enable or add one"
    DROP_ENCAP_FAILED = 8, "no room for the outer header: the driver leaves too little headroom"
