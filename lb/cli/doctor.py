# SPDX-License-Identifier: Apache-2.0
"""``lbctl doctor``: works, as far as it can, without the daemon."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lb.cli.exits import Exit, Failure
from lb.cli.options import Command, bpf_dir_option, settings
from lb.cli.output import emit, note, to_data
from lb.cli.session import connect

if TYPE_CHECKING:
    from lb.cli.views import Sheet
    from lb.v1.system_pb2 import DiagnoseResponse, Finding


@click.command(cls=Command, examples=["lbctl doctor", "lbctl doctor --all", "lbctl doctor -o json"])
@click.option("--all", "show_all", is_flag=True, help="Show also what is as it should be.")
@bpf_dir_option("Where lbd pins the data plane; of use while it is not running.")
def doctor(show_all: bool, bpf_dir: Path) -> None:
    """Look for what is known to go wrong, and say what to do about it.

    lbd looks at the kernel, its interfaces and next hops, and asks each backend (at most 200) through the tunnel and
    directly, and how large a packet reaches it. When lbd is not running, only this machine is looked at.

    Exit code 0 when there is no problem, else 1; 5 when lbd is not running.
    """
    found, exit_code = _diagnose(bpf_dir)
    shown = _filter(found, show_all)
    emit(lambda: to_data(shown), lambda: [_sheet(shown.findings)])
    note(_count(found.findings))
    if exit_code is Exit.OK and any(finding.severity == finding.PROBLEM for finding in found.findings):
        exit_code = Exit.FAILED
    click.get_current_context().exit(exit_code)


def _diagnose(bpf_dir: Path) -> tuple[DiagnoseResponse, Exit]:
    """What lbd found or, when it is not running on this machine, what can be found without it."""
    try:
        # lbd asks backends, some of which will not answer.
        with connect(patient=True) as client:
            return client.call("System", "Diagnose"), Exit.OK
    except Failure as failure:
        # The machine of a TCP target is another one than this.
        if failure.exit_code != Exit.UNAVAILABLE or settings().target.path is None:
            raise
        return _look_here(bpf_dir, failure), Exit.UNAVAILABLE


def _look_here(bpf_dir: Path, failure: Failure) -> DiagnoseResponse:
    from lb.api.present_findings import finding_to_proto
    from lb.observe.findings import worst_first
    from lb.observe.local import examine_without_lbd
    from lb.v1.system_pb2 import DiagnoseResponse

    found = worst_first(examine_without_lbd(bpf_dir, failure.format_message()))
    return DiagnoseResponse(findings=map(finding_to_proto, found))


def _filter(found: DiagnoseResponse, show_all: bool) -> DiagnoseResponse:
    from lb.v1.system_pb2 import DiagnoseResponse

    return DiagnoseResponse(findings=[each for each in found.findings if show_all or each.severity != each.OK])


def _sheet(findings: Iterable[Finding]) -> Sheet:
    from lb.cli.views import NOTHING, Sheet, enum_name
    from lb.v1.system_pb2 import Finding

    return Sheet(
        ("SEVERITY", "SUBJECT", "CHECK", "SEEN", "REMEDY"),
        tuple(
            (
                enum_name(Finding.Severity, each.severity),
                each.subject,
                each.check,
                each.observation,
                each.remedy or NOTHING,
            )
            for each in findings
        ),
    )


def _count(findings: Iterable[Finding]) -> str:
    """For people: "1 problem, 2 warnings, 31 ok"."""
    from lb.v1.system_pb2 import Finding

    severities = [finding.severity for finding in findings]
    problems, warnings = severities.count(Finding.PROBLEM), severities.count(Finding.WARNING)
    fine = len(severities) - problems - warnings
    return f"{_plural(problems, 'problem')}, {_plural(warnings, 'warning')}, {fine} ok"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
