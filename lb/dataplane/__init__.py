# SPDX-License-Identifier: Apache-2.0
"""Compiles, loads, attaches and writes the XDP program and its maps. The only package that imports bcc."""
