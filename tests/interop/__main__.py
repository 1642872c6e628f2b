# SPDX-License-Identifier: Apache-2.0
"""``python -m interop``: what ``make interop`` runs."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from testbed.host import TestbedError, inside
from testbed.signals import Interrupted, interruptible

from interop.backend import diagnosis, make_backend
from interop.client import FLOWS, talk
from interop.guest import Guest, qemu_command, started
from interop.initramfs import make_initramfs
from interop.packages import unpacked
from interop.recipe import RECIPE, Recipe, read_recipe
from interop.sender import Balancer, balancer
from interop.variants import all_variants, wire_problem
from interop.wire import GUEST_MAC, TAP, Wire, wire
from lb.core.errors import LbError

_ROW = "{:<14} {:<9} {:<13} {}"


def interop() -> int:
    """Build everything, try every variant, remove everything; returns how many variants work.

    Raises:
        TestbedError: Something can't be built, or a variant does not work.
    """
    recipe = read_recipe(RECIPE.read_text())
    packages = unpacked()
    with tempfile.TemporaryDirectory(prefix="lb-interop-") as folder, wire(recipe) as made:
        initramfs = make_initramfs(packages, recipe.script, Path(folder))
        qemu = inside(made.namespace, qemu_command(packages.kernel, initramfs, TAP, GUEST_MAC))
        with balancer(made, recipe) as sender, started(qemu) as guest:
            begun = time.monotonic()
            guest.wait_until_ready()
            print(f"guest up in {time.monotonic() - begun:.1f} s: {guest.run('uname -r')}", flush=True)
            make_backend(guest, recipe)
            return _try_all(made, recipe, sender, guest)


def _try_all(made: Wire, recipe: Recipe, sender: Balancer, guest: Guest) -> int:
    print(_ROW.format("encapsulation", "protocol", "outer source", "result"))
    good, bad = 0, 0
    with made.witness() as witness:
        for variant in all_variants():
            sender.use(variant)
            witness.to_guest()
            problem = talk(made, recipe, variant)
            problem = problem or wire_problem(variant, recipe, FLOWS[variant.protocol], witness.to_guest())
            result = f"FAILED: {problem}" if problem else "ok"
            names = variant.encapsulation.name, variant.protocol.name, variant.outer_source.value
            print(_ROW.format(*names, result), flush=True)
            good, bad = good + (not problem), bad + bool(problem)
        if bad:
            print(diagnosis(guest))
            raise TestbedError(f"{bad} of {good + bad} variants do not work")
        claimed = witness.claimed((recipe.vip4, recipe.vip6), (recipe.local4, recipe.local6))
    for vip in (recipe.vip4, recipe.vip6):
        if vip in claimed:
            raise TestbedError(f"the guest claims {vip} on the network; only the balancer may")
    return good


def main() -> int:
    """Exit code 0 when all variants work, 1 when not, 128 + N after signal N."""
    try:
        if os.geteuid() != 0:
            raise TestbedError("root is needed to make network namespaces and to load XDP programs")
        with interruptible():
            print(f"interop ok: {interop()} variants")
    except (TestbedError, LbError, OSError, ValueError) as error:
        first, *details = str(error).splitlines() or [type(error).__name__]
        print(*details, f"interop failed: {first}", sep="\n")
        return 1
    except Interrupted as interrupted:
        print(f"interop failed: {interrupted}")
        return 128 + interrupted.number
    return 0


if __name__ == "__main__":
    sys.exit(main())
