# SPDX-License-Identifier: Apache-2.0
"""Random and mutated packets through the real program: ``python -m packets.fuzz --packets 2000000 --seed 1``.

Never XDP_ABORTED; never a packet sent out malformed (oracle.py); what passes is as it was; counters add up.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from packets.box import Box, box
from packets.case import XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX, ether, ip
from packets.mutate import packets
from packets.oracle import check_sent
from packets.runner import LONGEST, Runner
from packets.table import TABLE
from packets.world import BACKEND_INDEX, POOLS, VIP_INDEX, build, per_cpu_sum, pool_of, refill_budgets, set_icmp_tokens
from scapy.layers.inet import TCP

from lb.core.layout import COUNTER, VIP_COUNTER
from lb.core.verdicts import Verdict

BATCH = 2000
"""Packets between two looks at the counters: fewer errors are sent in between than the rate allows."""

_KINDS = {
    Verdict.FORWARDED: "tunnel",
    Verdict.FORWARDED_FRAGMENT: "tunnel",
    Verdict.FORWARDED_ICMP_ERROR: "tunnel",
    Verdict.ANSWERED_ECHO: "echo",
    Verdict.ANSWERED_TTL_EXCEEDED: "error",
    Verdict.ANSWERED_TOO_BIG: "error",
}

Summary = Counter[Verdict]


def segment(flags: str, sport: int) -> bytes:
    """Of a flow to the VIP whose slots move, so that the flow table is read and written, too."""
    return ether(ip("moving"), TCP(sport=sport, dport=80, flags=flags))


class Fuzzer:
    """Feeds a box that holds the world."""

    def __init__(self, made: Box, seed: int) -> None:
        self._box = made
        random = Random(seed)
        self._random = random
        corpus = [packet for _, case in TABLE for packet in (case.packet, *case.before) if len(packet) <= LONGEST]
        corpus += [segment(flags, sport) for flags in ("S", "A", "FA", "R") for sport in range(40000, 40010)]
        self._packets = packets(corpus, random)
        self._runners = {name: Runner(made.program, made.ifindex[name]) for name in ("in0", "out0")}

    def batch(self) -> Summary:
        """Run BATCH packets and compare all counters with what was seen; returns packets by verdict."""
        set_icmp_tokens(self._box, 1000)
        # Now and then no flow can be entered, so that refusals are tried, too.
        refused = self._random.random() < 0.2
        refill_budgets(self._box, 0 if refused else 1_000_000, hold=refused)
        verdicts, vips, backends = self._counters()
        seen: Counter[str] = Counter()
        for packet in (next(self._packets) for _ in range(BATCH)):
            seen[self._one(packet, "out0" if self._random.random() < 0.1 else "in0")] += 1
        verdicts_after, vips_after, backends_after = self._counters()
        moved = Counter({verdict: verdicts_after[verdict] - verdicts[verdict] for verdict in Verdict})
        expected: Counter[str] = Counter()
        for verdict, count in moved.items():
            expected[_KINDS.get(verdict, "drop" if verdict >= 32 else "pass")] += count
        assert +expected == seen, f"verdicts say {dict(expected)}, actions {dict(seen)}"
        for pool, members in POOLS.items():
            by_vip = sum(vips_after[name] - vips[name] for name in VIP_INDEX if pool_of(name) == pool)
            by_backend = sum(backends_after[name] - backends[name] for name in members)
            assert by_vip == by_backend, f"pool {pool}: VIPs forwarded {by_vip}, backends got {by_backend}"
        return +moved

    def _one(self, packet: bytes, interface: str) -> str:
        action, frame = self._runners[interface].run(packet)
        try:
            if action == XDP_DROP:
                return "drop"
            if action == XDP_PASS:
                assert frame == packet, "changed a packet that passes"
                return "pass"
            assert action in (XDP_TX, XDP_REDIRECT), f"action {action}"
            return check_sent(packet, interface, action, frame)
        except (AssertionError, IndexError, ValueError) as error:
            raise AssertionError(
                f"{type(error).__name__} {error} on {interface}\n in {packet.hex()}\nout {frame.hex()}"
            ) from error

    def _counters(self) -> tuple[dict[int, int], dict[str, int], dict[str, int]]:
        vips = {name: per_cpu_sum(self._box, "vip_counters", i, VIP_COUNTER)[2] for name, i in VIP_INDEX.items()}
        backends = {
            name: per_cpu_sum(self._box, "backend_counters", i, COUNTER)[0] for name, i in BACKEND_INDEX.items()
        }
        return dict(self._box.counts()), vips, backends


@contextmanager
def fuzzer(seed: int) -> Iterator[Fuzzer]:
    """A fuzzer with a box of its own."""
    with box() as made:
        build(made)
        yield Fuzzer(made, seed)


def run(seed: int, count: int) -> Summary:
    """Run at least ``count`` packets; raises ``AssertionError`` with the packet that broke a rule."""
    total: Summary = Counter()
    with fuzzer(seed) as made:
        while total.total() < count:
            total += made.batch()
    return total


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="packets.fuzz", description=__doc__)
    parser.add_argument("--packets", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.monotonic()
    total = run(arguments.seed, arguments.packets)
    for verdict, count in sorted(total.items()):
        print(f"{count:>10}  {verdict.name}")
    seconds = time.monotonic() - began
    print(f"fuzz ok: {total.total()} packets, seed {arguments.seed}, {seconds:.0f} s")


if __name__ == "__main__":
    main()
