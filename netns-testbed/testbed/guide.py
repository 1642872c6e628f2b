# SPDX-License-Identifier: Apache-2.0
"""What to type, for somebody who plays with a testbed. Every line is a command that works as it stands."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from testbed.bed import Testbed
from testbed.host import PACKAGE_ROOT, inside
from testbed.lbd import Lbd, script
from testbed.scenario import POOL, lbctl_commands
from testbed.servers import ECHO_PORT
from testbed.topology import BALANCER, CLIENT


def guide(bed: Testbed) -> str:
    """The text that ``python -m testbed up`` ends with; commands are indented by two spaces."""
    lbd = Lbd(bed)
    lbctl = [str(script("lbctl"))]
    python = [sys.executable, "-m"]
    client = [*python, "testbed.client"]
    path = f"PYTHONPATH={_shown(str(PACKAGE_ROOT))} "
    addresses = ", ".join(f"{node} {bed.address(node)}" for node in (CLIENT, BALANCER, *bed.backends))
    vips = ", ".join(bed.topology.vips)
    sections = {
        f"Testbed {bed.prefix} is up: {addresses}; VIPs {vips}.\n\nStart the balancer; it runs until Ctrl-C, "
        "so give it a terminal of its own:": [in_namespace(bed, BALANCER, lbd.argv)],
        "Tell it what to balance:": [
            f"export LB_TARGET={lbd.target}",
            *(command_line([*lbctl, *args]) for args in lbctl_commands(bed.topology)),
        ],
        "Send traffic from the client, and see who answers:": [
            path + in_namespace(bed, CLIENT, [*client, "http", f"http://{bed.vip}/", "100"]),
            path + in_namespace(bed, CLIENT, [*client, "udp", bed.vip, str(ECHO_PORT), "100"]),
        ],
        "Look:": [
            command_line([*lbctl, "stats"]),
            command_line([*lbctl, "backend", "list", POOL]),
            in_namespace(bed, BALANCER, ["ip", "-d", "link", "show", "eth0"]),
        ],
        "Remove every trace, lbd included:": [
            path + command_line([*python, "testbed", "down", "--prefix", bed.prefix])
        ],
    }
    return "\n".join(
        f"{title}\n" + "".join(f"  {command}\n" for command in commands) for title, commands in sections.items()
    )


def in_namespace(bed: Testbed, node: str, argv: Sequence[str]) -> str:
    """The command line, to be typed on the host, that runs ``argv`` in a node's namespace."""
    return command_line(inside(bed.namespace(node), argv))


def command_line(argv: Sequence[str]) -> str:
    """``argv`` as a shell wants it, with paths below the working directory made short."""
    return shlex.join(_shown(word) for word in argv)


def _shown(word: str) -> str:
    here = Path.cwd()
    path = Path(word)
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else word
