# SPDX-License-Identifier: Apache-2.0
"""All cases of all topics: (topic, case)."""

from __future__ import annotations

from packets.cases import encap, fragments, guards, icmp_v4, icmp_v6, ipv4, ipv6, katran, mtu, policies, vlan

TABLE = [
    (topic.__name__.rpartition(".")[2], case)
    for topic in (ipv4, ipv6, encap, vlan, fragments, guards, icmp_v4, icmp_v6, mtu, policies, katran)
    for case in topic.CASES
]
