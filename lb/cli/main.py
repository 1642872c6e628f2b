# SPDX-License-Identifier: Apache-2.0
"""Entry point of ``lbctl``."""

from __future__ import annotations

import click

from lb import __version__
from lb.cli.apply import apply, diff
from lb.cli.backend import backend
from lb.cli.completion import COMPLETE_VARIABLE, PROGRAM, completion
from lb.cli.detach import detach
from lb.cli.doctor import doctor
from lb.cli.export import export
from lb.cli.history import history, rollback, show
from lb.cli.options import Group
from lb.cli.pool import pool
from lb.cli.stats import stats
from lb.cli.status import status, version
from lb.cli.verify import verify
from lb.cli.vip import vip
from lb.cli.watch import watch


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples=[
        "lbctl pool create web",
        "lbctl backend create web/b1 --address 10.0.0.11 --weight 2",
        "lbctl vip create web --address 192.0.2.1 --port 80 --protocol tcp --pool web",
        "lbctl apply -f lb.yaml --dry-run",
        "lbctl status",
    ],
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def cli() -> None:
    """Control the load balancer lbd.

    Data goes to stdout, messages to stderr. Exit codes: 0 ok, 1 failed, 2 wrong usage or input, 3 not found,
    4 conflict, 5 lbd unavailable, 6 permission denied, 10 differences (diff --exit-code).
    """


COMMANDS = (
    *(vip, pool, backend),
    *(diff, apply, export, history, show, rollback),
    *(stats, status, watch, verify, doctor),
    *(detach, completion, version),
)
for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Run ``lbctl`` and exit."""
    cli.main(prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE)


if __name__ == "__main__":
    main()
