# SPDX-License-Identifier: Apache-2.0
"""The pure part: model, validation, Maglev, planner, packing. No I/O, clock, logging, threads or randomness."""
