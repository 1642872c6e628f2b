# SPDX-License-Identifier: Apache-2.0
"""``lbctl status`` and ``lbctl version``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lb import __version__
from lb.cli.exits import Exit, Failure
from lb.cli.options import Command
from lb.cli.output import emit, note, to_data
from lb.cli.session import connect

if TYPE_CHECKING:
    from lb.cli.views import Sheet
    from lb.v1.system_pb2 import SystemStatus


@click.command(cls=Command, examples=["lbctl status", "lbctl status -o json"])
def status() -> None:
    """Show whether the balancer works.

    Exit code 0 only while it is ready and attached to every interface; else 1, with the reason on stderr, or 5 when
    lbd is not running.
    """
    with connect() as client:
        found = client.call("System", "GetStatus")
    emit(lambda: to_data(found), lambda: [_sheet(found)])
    problems = _problems(found)
    if problems:
        raise Failure(Exit.FAILED, "the balancer does not work:", problems)
    for interface in found.interfaces:
        if interface.mode == interface.GENERIC:
            note(
                f"warning: {interface.interface} runs XDP in generic mode, which is slow: its driver has no native XDP"
            )


def _problems(found: SystemStatus) -> tuple[str, ...]:
    problems = [
        f"{interface.interface}: not attached" + (f": {interface.reason}" if interface.reason else "")
        for interface in found.interfaces
        if not interface.attached
    ]
    if not found.ready:
        problems.insert(0, f"not ready: {found.reason or 'lbd does not say why'}")
    return tuple(problems)


def _sheet(found: SystemStatus) -> Sheet:
    from lb.cli.views import NOTHING, Sheet, enum_name
    from lb.v1.system_pb2 import InterfaceStatus

    def interface_row(item: InterfaceStatus) -> tuple[str, str]:
        if not item.attached:
            return "INTERFACE", f"{item.interface} not attached"
        return "INTERFACE", f"{item.interface} {enum_name(InterfaceStatus.Mode, item.mode)}"

    return Sheet(
        (),
        (
            ("READY", "yes" if found.ready else "no"),
            ("REASON", found.reason or NOTHING),
            ("VERSION", found.version),
            ("STARTED", f"{found.start_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC"),
            ("REVISION", str(found.revision)),
            *map(interface_row, found.interfaces),
            ("VIPS", str(found.vips)),
            ("POOLS", str(found.pools)),
            ("BACKENDS", f"{found.backends} ({found.backends_in_ring} in the ring)"),
            ("BPF-DIR", found.bpf_dir),
        ),
    )


@click.command(cls=Command, examples=["lbctl version"])
def version() -> None:
    """Show the versions of lbctl and lbd."""
    try:
        with connect() as client:
            daemon = client.call("System", "GetStatus").version
    except Failure as failure:
        daemon = ""
        note(failure.format_message())
    versions = {"lbctl": __version__, **({"lbd": daemon} if daemon else {})}
    emit(lambda: versions, lambda: [_versions_sheet(versions)])


def _versions_sheet(versions: dict[str, str]) -> Sheet:
    from lb.cli.views import Sheet

    return Sheet((), tuple(versions.items()))
