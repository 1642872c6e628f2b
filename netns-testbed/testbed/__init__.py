# SPDX-License-Identifier: Apache-2.0
"""Clients, balancers and backends out of network namespaces: for tests, demos and play."""

from testbed.background import Background
from testbed.bed import Served, Testbed
from testbed.host import TestbedError, wait_until
from testbed.lbd import Lbd
from testbed.servers import ECHO_PORT, HTTP_PORT
from testbed.topology import BALANCER, CLIENT, HOST_INTERFACE, ROUTER, SWITCH

__all__ = [
    "BALANCER",
    "CLIENT",
    "ECHO_PORT",
    "HOST_INTERFACE",
    "HTTP_PORT",
    "ROUTER",
    "SWITCH",
    "Background",
    "Lbd",
    "Served",
    "Testbed",
    "TestbedError",
    "wait_until",
]
