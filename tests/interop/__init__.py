# SPDX-License-Identifier: Apache-2.0
"""Our packets against a real kernel's decapsulators: ``make interop``. Not collected by pytest's default run.

A QEMU guest (emulated: no KVM needed) runs Debian's cloud kernel and the recipe of RECIPE.md, word for word. A client
in a network namespace talks to the VIP through the balancer, also in a namespace::

    client, router: br0 ──┬── in0p ── in0 (XDP)        the balancer wraps and sends back by XDP_TX
    namespace lb-interop  └── tap0 ── eth0             the guest unwraps and answers the client directly
"""
