# SPDX-License-Identifier: Apache-2.0
"""Tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from rich import box
from rich.console import Console
from rich.table import Table

from bench.results import Results, Settings, Spread
from bench.targets import Outcome, targets
from bench.workloads import FLOWS, Program, Workload

_STYLES = {Outcome.REACHED: "green", Outcome.MISSED: "bold red", Outcome.REPORTED: "", Outcome.ABSENT: "dim"}
_WIDTH = 110
_NOISY = 0.1


def console() -> Console:
    """Standard output; plain and of fixed width when it is not a terminal."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=_WIDTH)


def print_report(out: Console, machine: Mapping[str, str], settings: Settings, results: Results) -> None:
    """Everything, most wanted last."""
    out.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    out.print(
        f"medians of {settings.rounds} interleaved rounds of {settings.repeat:,} packets, ± half the distance of the "
        f"quartiles; {results.disturbed:.0%} of the samples were disturbed, and a row's lie ±{results.noise:.1%} apart"
    )
    if results.disturbed > _NOISY:
        out.print("[bold red]DISTURBED[/]: this machine was not idle, or its cores are shared: do not quote this.")
    out.print(_costs(settings, results))
    out.print(_throughput(results))
    out.print(_judged(results))


def _costs(settings: Settings, results: Results) -> Table:
    table = Table(
        title="\nNanoseconds a packet, net of the empty program",
        caption="absent: not in this build" if not all(results.samples.values()) else None,
        box=box.SIMPLE,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("traffic")
    table.add_column("program")
    for flows in FLOWS:
        table.add_column(f"{flows:,} flow{'s' if flows > 1 else ''}", justify="right")
    for workload in settings.workloads:
        for number, program in enumerate(workload.programs):
            name = "empty, gross" if program is Program.EMPTY else program.value
            cells = [_cost(settings, results, workload, program, flows) for flows in FLOWS]
            table.add_row(workload.name if number == 0 else "", name, *cells)
        table.add_section()
    return table


def _cost(settings: Settings, results: Results, workload: Workload, program: Program, flows: int) -> str:
    if flows not in workload.flows or flows > settings.max_flows:
        return "-"
    found = (
        results.gross(workload, program, flows) if program is Program.EMPTY else results.net(workload, program, flows)
    )
    return "absent" if found is None else _cell(found)


def _cell(value: Spread, digits: int = 1) -> str:
    return f"{value.median:.{digits}f} ±{value.half:.{digits}f}"


def _throughput(results: Results) -> Table:
    table = Table(title="Throughput", box=box.SIMPLE, title_justify="left")
    for column in ("what", "flows", "ratio", "detail"):
        table.add_column(column, justify="right" if column in ("flows", "ratio") else "left")
    for cpus in results.two_cpus:
        detail = f"wall clock, driver included; without it {_cell(cpus.net, 2)}"
        table.add_row("two CPUs / one", f"{cpus.flows:,}", _cell(cpus.gross, 2), detail)
    if not results.two_cpus:
        table.add_row("two CPUs / one", "", "-", "this process may use one CPU only")
    for live in results.live:
        detail = (
            f"{_cell(live.balancer_mpps, 2)} against {_cell(live.bare_mpps, 2)} Mpps, "
            f"{live.delivered:.2%} of the frames came back"
        )
        table.add_row("through veth / bare XDP_TX", f"{live.flows:,}", _cell(live.ratio, 2), detail)
    return table


def _judged(results: Results) -> Table:
    table = Table(title="Targets", box=box.SIMPLE, title_justify="left")
    for column in ("what", "ratio", "limit", ""):
        table.add_column(column, justify="right" if column in ("ratio", "limit") else "left")
    for target in targets(results):
        figure = "" if target.figure is None else f"{target.figure:.2f}"
        limit = "" if target.limit is None else f"{'≥' if target.at_least else '≤'} {target.limit:.2f}"
        table.add_row(target.text, figure, limit, target.outcome.value, style=_STYLES[target.outcome])
    return table


def to_json(machine: Mapping[str, str], settings: Settings, results: Results) -> dict[str, object]:
    """The report as plain data; nanoseconds a packet, ratios, millions of frames a second."""
    return {
        "machine": dict(machine),
        "settings": {"repeat": settings.repeat, "rounds": settings.rounds, "live_frames": settings.live_frames},
        "disturbed": results.disturbed,
        "noise": results.noise,
        "rows": [
            {
                "workload": case.workload.name,
                "program": case.program.value,
                "flows": case.flows,
                "vips": case.workload.vips,
                "pools": case.workload.pools,
                "status": "measured" if samples else "not in this build",
                "gross_ns": _plain(results.gross(case.workload, case.program, case.flows)),
                "net_ns": _plain(results.net(case.workload, case.program, case.flows)),
            }
            for case, samples in results.samples.items()
        ],
        "flow_entries": dict(results.flow_entries),
        "two_cpus": [asdict(found) for found in results.two_cpus],
        "live": [asdict(found) for found in results.live],
        "targets": [
            {
                "text": target.text,
                "figure": target.figure,
                "limit": target.limit,
                "at_least": target.at_least,
                "outcome": target.outcome.value,
            }
            for target in targets(results)
        ],
    }


def _plain(value: Spread | None) -> dict[str, float] | None:
    return None if value is None else asdict(value)
