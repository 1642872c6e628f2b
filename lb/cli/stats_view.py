# SPDX-License-Identifier: Apache-2.0
"""Counters as tables. Numbers have separators here, for people; scripts read JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lb.cli.names import short
from lb.cli.views import NOTHING, Sheet, enum_name
from lb.v1.stats_pb2 import Counter, FlowTableStats, Stats, VerdictStats

RATE = "PACKETS/S"
TOTAL = "total"
_NUMERIC = frozenset({RATE, "PACKETS", "BYTES", "FORWARDED", "TOO-BIG", "FLOWS"})


def stats_sheets(stats: Stats, rates: Mapping[str, float] | None = None) -> list[Sheet]:
    """Per VIP, per backend, per verdict, the flow table; with ``rates`` (see ``packet_rates``) a column for them."""
    vips = [
        (vip.vip, short(vip.vip), *_cells(vip.received), f"{vip.forwarded.packets:,}", f"{vip.too_big_packets:,}")
        for vip in stats.vips
    ]
    backends = [(item.backend, short(item.backend), *_cells(item.forwarded)) for item in stats.backends]
    verdicts = [
        (_verdict(item), _verdict(item), *_cells(item.count), item.description or NOTHING) for item in stats.verdicts
    ]
    verdicts.append((TOTAL, TOTAL, *_cells(stats.received), "every packet that the program saw"))
    return [
        _sheet(("VIP", "PACKETS", "BYTES", "FORWARDED", "TOO-BIG"), vips, rates),
        _sheet(("BACKEND", "PACKETS", "BYTES"), backends, rates),
        _sheet(("VERDICT", "PACKETS", "BYTES", "MEANING"), verdicts, rates),
        *([_flow_table(stats.flow_table)] if stats.HasField("flow_table") else []),
    ]


def _flow_table(table: FlowTableStats) -> Sheet:
    rows = (
        ("entries", table.entries, f"of {table.capacity:,}: flows tracked now, in slots that change hands"),
        ("inserted-syn", table.inserted_syn, "new flows (TCP SYN) entered"),
        ("inserted-old", table.inserted_old, "flows older than the change entered"),
        ("refused-syn", table.refused_syn, "new flows not entered: the table was too full"),
        ("refused-old", table.refused_old, "flows older than the change not entered"),
        ("expired", table.expired, "entries removed after their flow's end, since lbd started"),
    )
    return Sheet(
        ("FLOW-TABLE", "FLOWS", "MEANING"), tuple((n, f"{count:,}", what) for n, count, what in rows), _NUMERIC
    )


def packet_rates(before: Stats | None, now: Stats) -> dict[str, float]:
    """Packets per second by resource name and verdict; nothing for what is new or began again at 0."""
    if before is None:
        return {}
    seconds = (now.time.ToNanoseconds() - before.time.ToNanoseconds()) / 1e9
    then = _packets(before)
    return {
        key: (packets - then[key]) / seconds
        for key, packets in _packets(now).items()
        if seconds > 0 and key in then and packets >= then[key]
    }


def _packets(stats: Stats) -> dict[str, int]:
    return {
        TOTAL: stats.received.packets,
        **{vip.vip: vip.received.packets for vip in stats.vips},
        **{item.backend: item.forwarded.packets for item in stats.backends},
        **{_verdict(item): item.count.packets for item in stats.verdicts},
    }


def _sheet(headers: tuple[str, ...], rows: Iterable[tuple[str, ...]], rates: Mapping[str, float] | None) -> Sheet:
    """``rows``: the key in ``rates``, then the cells. The rate comes second, next to the name."""
    name, *others = headers
    if rates is None:
        return Sheet(headers, tuple(cells[1:] for cells in rows), _NUMERIC)
    return Sheet(
        (name, RATE, *others),
        tuple((first, _rate(rates.get(key)), *rest) for key, first, *rest in rows),
        _NUMERIC,
    )


def _cells(counter: Counter) -> tuple[str, str]:
    return f"{counter.packets:,}", f"{counter.bytes:,}"


def _rate(rate: float | None) -> str:
    return NOTHING if rate is None else f"{rate:,.0f}"


def _verdict(item: VerdictStats) -> str:
    """The name that C, metrics and documents use too."""
    return enum_name(VerdictStats.Verdict, item.verdict).upper()
