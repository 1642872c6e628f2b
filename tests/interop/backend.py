# SPDX-License-Identifier: Apache-2.0
"""Makes a backend of the guest: a plain host first, then the recipe, then the services."""

from __future__ import annotations

from dataclasses import asdict

from interop.client import ECHO_PORT
from interop.guest import Guest
from interop.recipe import Recipe
from interop.wire import PREFIX4_BITS, PREFIX6_BITS

_PLAIN_HOST = (
    # The strictest defaults that distributions have.
    "sysctl -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1 net.ipv4.conf.{device}.rp_filter=1",
    "ip link set {device} mtu {mtu_bytes} up",
    f"ip address add {{local4}}/{PREFIX4_BITS} dev {{device}}",
    f"ip address add {{local6}}/{PREFIX6_BITS} dev {{device}} nodad",
    "ip -4 route add default via {router4} dev {device}",
    "ip -6 route add default via {router6} dev {device}",
)
_RECIPE = ("sh -eux /recipe.sh",)
_ECHO_SERVICES = (
    f"setsid socat UDP4-RECVFROM:{ECHO_PORT},bind={{vip4}},fork EXEC:cat &",
    f"setsid socat UDP6-RECVFROM:{ECHO_PORT},bind=[{{vip6}}],fork EXEC:cat &",
    f"setsid socat TCP4-LISTEN:{ECHO_PORT},bind={{vip4}},fork EXEC:cat &",
    f"setsid socat TCP6-LISTEN:{ECHO_PORT},bind=[{{vip6}}],fork EXEC:cat &",
    f"until [ $(netstat -lntu | grep -c ':{ECHO_PORT} ') -eq 4 ]; do usleep 20000; done",
)


def make_backend(guest: Guest, recipe: Recipe) -> None:
    """Raises ``TestbedError`` when a command fails, also one of the recipe's."""
    for command in (*_PLAIN_HOST, *_RECIPE, *_ECHO_SERVICES):
        guest.run(command.format(**asdict(recipe)))


def diagnosis(guest: Guest) -> str:
    """The guest's view, for a person who has to find out why an answer did not come."""
    return guest.run("ip -s link; ip -4 route; ip -6 route; netstat -s 2>/dev/null | head -60; true")
