# SPDX-License-Identifier: Apache-2.0
"""Sends the probes of health checks, from a process of its own."""
