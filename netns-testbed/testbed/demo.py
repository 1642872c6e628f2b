# SPDX-License-Identifier: Apache-2.0
"""The demo: real clients, real servers, one balancer; shows the commands, counts, and judges."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from testbed.bed import Served, Testbed
from testbed.guide import command_line, in_namespace
from testbed.host import TestbedError, wait_until
from testbed.lbd import Lbd
from testbed.scenario import counter_problems, lbctl_commands, share_problems, tolerance, weights
from testbed.servers import ECHO_PORT
from testbed.topology import BALANCER, CLIENT

REQUESTS = 400
ECHOES = 400
_CONCURRENCY = 16
_COUNTERS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Result:
    """What the demo found: ``problems`` is empty when all is well."""

    requests: int
    backends: int
    failed: int
    problems: tuple[str, ...]


def run_demo(bed: Testbed, console: Console) -> Result:
    """Build ``bed``, balance, measure, remove it. Raises ``TestbedError``."""
    started = time.monotonic()
    bed.close()  # what a demo that was killed has left
    _say(console, "Building a client, a balancer and backends out of network namespaces")
    with bed:
        for node in (CLIENT, BALANCER, *bed.backends):
            console.print(f"    {node:<9} {bed.address(node)}")
        lbd = Lbd(bed)
        _say(console, "Starting lbd in the balancer's namespace")
        _show(console, in_namespace(bed, BALANCER, lbd.argv))
        with lbd:
            result = _balance(bed, lbd, console)
        _say(console, f"Removing everything (it took {time.monotonic() - started:.0f} s)")
    return result


def _balance(bed: Testbed, lbd: Lbd, console: Console) -> Result:
    _say(console, f"Configuring VIP {bed.vip}")
    _show(console, f"export LB_TARGET={lbd.target}")
    for args in lbctl_commands(bed.topology):
        _show(console, command_line(["lbctl", *args]))
        lbd.lbctl(*args)
    url = f"http://{bed.vip}/"
    _say(console, f"{REQUESTS} HTTP requests to {url} and {ECHOES} UDP echoes to {bed.vip}:{ECHO_PORT}")
    web = bed.http(url, REQUESTS, _CONCURRENCY)
    echo = bed.udp(bed.vip, ECHO_PORT, ECHOES, _CONCURRENCY)
    console.print(_table(bed, web, echo))
    stats = _settled_stats(lbd)
    _show(console, "lbctl stats")
    console.print(lbd.lbctl_run("stats").stdout, markup=False, highlight=False, soft_wrap=True)
    problems = [f"a request failed: {error}" for error in (*web.errors, *echo.errors)]
    problems += share_problems("HTTP", web.served, weights(bed.topology))
    problems += share_problems("UDP", echo.served, weights(bed.topology))
    problems += counter_problems(stats, REQUESTS, ECHOES)
    return Result(
        requests=REQUESTS + ECHOES,
        backends=len({*web.served, *echo.served}),
        failed=web.failed + echo.failed,
        problems=tuple(problems),
    )


def _settled_stats(lbd: Lbd) -> Any:
    """The counters, once they agree with what was sent; whatever they are when they never do."""
    with suppress(TestbedError):
        wait_until(
            lambda: not counter_problems(lbd.lbctl("stats"), REQUESTS, ECHOES),
            _COUNTERS_SECONDS,
            "the counters do not agree",
        )
    return lbd.lbctl("stats")


def _table(bed: Testbed, web: Served, echo: Served) -> Table:
    table = Table("backend", "weight", "HTTP", "UDP", f"expected of {REQUESTS}", title="Who answered the client")
    for column in table.columns[1:]:
        column.justify = "right"
    total = sum(weights(bed.topology).values())
    for name, weight in weights(bed.topology).items():
        share = weight / total
        expected = f"{REQUESTS * share:.0f} ± {tolerance(REQUESTS, share):.0f}"
        table.add_row(name, str(weight), str(web.served.get(name, 0)), str(echo.served.get(name, 0)), expected)
    table.add_row("(failed)", "", str(web.failed), str(echo.failed), "0")
    return table


def _say(console: Console, text: str) -> None:
    console.print(f"[bold]==>[/bold] {text}", highlight=False)


def _show(console: Console, command: str) -> None:
    console.print(f"    $ {command}", markup=False, highlight=False, soft_wrap=True)
