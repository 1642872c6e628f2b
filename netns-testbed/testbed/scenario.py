# SPDX-License-Identifier: Apache-2.0
"""The configuration of the demo: one pool, a web VIP and an echo VIP. Pure: commands, expectations, judgement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from testbed.servers import ECHO_PORT, HTTP_PORT
from testbed.topology import Topology

POOL = "web"
WEB_VIP = "web"
ECHO_VIP = "echo"

SIGMAS = 5
"""How far from its expected share a backend may be; by chance alone it is further off once in two million runs."""
PACKETS_PER_REQUEST = 3
"""At least that many come from the client: SYN, the request with the ACK, FIN."""


def weights(topology: Topology) -> dict[str, int]:
    """1 for each backend, 2 for the last."""
    return {name: 2 if name == topology.backends[-1] else 1 for name in topology.backends}


def lbctl_commands(topology: Topology) -> list[list[str]]:
    """Arguments of the `lbctl` commands that configure the balancer."""
    address = topology.vips[0]
    return [
        ["pool", "create", POOL],
        *(
            ["backend", "create", f"{POOL}/{name}", "--address", topology.address(name), "--weight", str(weight)]
            for name, weight in weights(topology).items()
        ),
        _vip(WEB_VIP, address, HTTP_PORT, "tcp"),
        _vip(ECHO_VIP, address, ECHO_PORT, "udp"),
    ]


def _vip(name: str, address: str, port: int, protocol: str) -> list[str]:
    options = {"--address": address, "--port": str(port), "--protocol": protocol, "--pool": POOL}
    return ["vip", "create", name, *(word for option in options.items() for word in option)]


def tolerance(count: int, share: float) -> float:
    """``SIGMAS`` standard deviations of the binomial distribution."""
    return SIGMAS * math.sqrt(count * share * (1 - share))


def share_problems(what: str, served: Mapping[str, int], weight: Mapping[str, int]) -> list[str]:
    """What is wrong with who served how many; nothing when each is within ``SIGMAS`` of its weight's share."""
    count, total = sum(served.values()), sum(weight.values())
    problems = [f"{what}: unknown backend {name!r} answered" for name in served if name not in weight]
    for name, mine in weight.items():
        share = mine / total
        expected, slack = count * share, tolerance(count, share)
        if abs(served.get(name, 0) - expected) > slack:
            problems.append(f"{what}: {name} served {served.get(name, 0)}, expected {expected:.0f} ± {slack:.0f}")
    return problems


def counter_problems(stats: Mapping[str, Any], requests: int, echoes: int) -> list[str]:
    """Where the counters of ``lbctl stats`` disagree with what was sent; nothing when they agree."""
    received = {vip["vip"]: _packets(vip, "received") for vip in stats.get("vips", [])}
    forwarded = {vip["vip"]: _packets(vip, "forwarded") for vip in stats.get("vips", [])}
    to_backends = sum(_packets(backend, "forwarded") for backend in stats.get("backends", []))
    verdicts = sum(_packets(verdict, "count") for verdict in stats.get("verdicts", []))
    web, echo = f"vips/{WEB_VIP}", f"vips/{ECHO_VIP}"
    problems = [
        f"{name}: received {count} packets, forwarded {forwarded[name]}"
        for name, count in received.items()
        if forwarded[name] != count
    ]
    if sum(forwarded.values()) != to_backends:
        problems.append(f"the VIPs forwarded {sum(forwarded.values())} packets, the backends were sent {to_backends}")
    if received.get(echo, 0) != echoes:
        problems.append(f"{echo}: received {received.get(echo, 0)} packets, the client sent {echoes}")
    if received.get(web, 0) < PACKETS_PER_REQUEST * requests:
        problems.append(f"{web}: received {received.get(web, 0)} packets, less than {PACKETS_PER_REQUEST} a request")
    if _packets(stats, "received") != verdicts:
        problems.append(f"the program saw {_packets(stats, 'received')} packets, the verdicts sum up to {verdicts}")
    return problems


def _packets(of: Mapping[str, Any], counter: str) -> int:
    # The JSON mapping writes 64-bit numbers as strings and leaves out what is 0.
    return int(of.get(counter, {}).get("packets", 0))
