# SPDX-License-Identifier: Apache-2.0
"""What the program counts: one value a CPU, summed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lb.core.verdicts import Verdict
from lb.dataplane import libbpf
from lb.dataplane.map_set import MapSet
from lb.dataplane.maps import BACKEND_COUNTERS, VERDICT_COUNTERS, VIP_COUNTERS, MapSpec
from lb.ports import Count, VipCount


class CounterMaps:
    """Reads and resets the counters."""

    def __init__(self, maps: MapSet) -> None:
        self._maps = maps

    def vip(self, index: int) -> VipCount:
        """Of a VIP index."""
        sums = self._sum(VIP_COUNTERS, index, 6)
        return VipCount(Count(sums[0], sums[1]), Count(sums[2], sums[3]), sums[4])

    def backend(self, index: int) -> Count:
        """Packets forwarded to a backend index."""
        return Count(*self._sum(BACKEND_COUNTERS, index, 2))

    def verdicts(self) -> Mapping[int, Count]:
        """By verdict number."""
        return {int(verdict): Count(*self._sum(VERDICT_COUNTERS, verdict, 2)) for verdict in Verdict}

    def reset(self, vips: Iterable[int], backends: Iterable[int]) -> None:
        """Begin at zero for these indices."""
        for spec, indices in ((VIP_COUNTERS, vips), (BACKEND_COUNTERS, backends)):
            zero = bytes(_percpu_size(spec))
            for index in indices:
                libbpf.map_update(self._maps[spec.name].fd, index.to_bytes(4, "little"), zero)

    def _sum(self, spec: MapSpec, index: int, words: int) -> list[int]:
        raw = libbpf.map_lookup(self._maps[spec.name].fd, index.to_bytes(4, "little"), _percpu_size(spec))
        values = memoryview(raw).cast("Q")
        return [sum(values[word::words]) for word in range(words)]


def _percpu_size(spec: MapSpec) -> int:
    # Each CPU's value is padded to 8 bytes; ours are multiples of it.
    return spec.value_size * libbpf.possible_cpus()
