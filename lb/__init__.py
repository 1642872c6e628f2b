# SPDX-License-Identifier: Apache-2.0
"""An XDP layer-4 load balancer appliance."""

__version__ = "0.1.0"
