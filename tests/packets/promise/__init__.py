# SPDX-License-Identifier: Apache-2.0
"""The promise of DESIGN §4.2, kept by the real program and the real planner together."""
