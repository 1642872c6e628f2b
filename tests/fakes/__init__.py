# SPDX-License-Identifier: Apache-2.0
"""Fakes of the ports; each passes the contract tests of the real thing."""
